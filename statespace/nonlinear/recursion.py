"""The recursions over time: forwards through the data, and back."""

from typing import NamedTuple

import tensorflow as tf

from statespace.kalman.reference import sort_by_time, time_first
from statespace.kalman.step import all_finite, batch_shape, is_observed, zeros_of_step
from statespace.linalg_ops.arguments import to_tensor, with_shape
from statespace.linalg_ops.failure import append_axes
from statespace.linalg_ops.lq import lq
from statespace.nonlinear.methods import Method
from statespace.nonlinear.model import PARAMETERS, NonlinearGaussianSSM
from statespace.nonlinear.step import predict, usable
from statespace.ssm import ParameterSpec, check_shapes

CONTROLS = ParameterSpec("controls", ("c",), True)


class Forward(NamedTuple):
    """What the pass through the data leaves, with time first; the names are those of the steps."""

    log_density: tf.Tensor  # [T, ...]
    predicted_mean: tf.Tensor  # [T, ..., n]
    predicted_scale: tf.Tensor  # [T, ..., n, n]
    filtered_mean: tf.Tensor  # [T, ..., n]
    filtered_scale: tf.Tensor  # [T, ..., n, n]
    innovation: tf.Tensor  # [T, ..., m]
    spread: tf.Tensor  # [T, ..., m, r + q + n]
    shift: tf.Tensor  # [T, ..., n]
    factor: tf.Tensor  # [T, ..., n, n]
    back: tf.Tensor  # of the transition to t+1, [T, ..., n, n]; [T, ..., n, 0] without smoother
    rest: tf.Tensor  # [T, ..., n, k + q]; [T, ..., n, 0] without smoother
    failed: tf.Tensor  # bool [T, ...]


class Problem(NamedTuple):
    """A model and data, ready to be scanned: time first, everything of the full batch shape."""

    model: NonlinearGaussianSSM
    method: Method
    y: tf.Tensor  # [T, ..., m]
    constant: dict  # parameters of each step by name
    varying: dict  # the same with time first
    mean: tf.Tensor  # of the first state, [..., n]
    scale: tf.Tensor  # lower triangular, [..., n, n]


def pose(op: str, model, method: Method, y, controls) -> Problem:
    """Checks shapes and broadcasts.

    Raises:
      ValueError: a shape does not fit; names the argument, or the function that returned it.
    """
    specs, tensors = list(PARAMETERS), list(model.parameters())
    takes = model.transition.takes | model.observation.takes
    if "controls" in takes and controls is None:
        raise ValueError(f"{op}: a function of the model takes controls, and controls is None.")
    if controls is not None:
        if "controls" not in takes:
            raise ValueError(f"{op}: controls is given, but no function of the model takes it.")
        specs.append(CONTROLS)
        tensors.append(to_tensor(op, "controls", controls, model.dtype))
    if y.shape.rank is None or any(x.shape.rank is None for x in tensors):
        raise ValueError(f"{op}: y and the model's parameters must have a known number of axes.")
    check_shapes(tuple(specs), tuple(tensors), model.observation_dim, y)
    static, dynamic = batch_shape(y, tensors, specs)
    per_step = [(s, x) for s, x in zip(specs, tensors, strict=True) if s.per_step]
    steps = (y.shape[-2:-1], tf.shape(y)[-2])

    # Where closures of the functions have batch axes of their own, these join.
    constant, varying = sort_by_time(per_step, static, dynamic, *steps)
    mean = _full(model.initial_mean, static, dynamic, 1)
    first = {name: _first(x) for name, x in varying.items()}
    for function in (model.transition, model.observation):
        known, sizes = function.batch_shape(mean, inputs(0, constant | first))
        static = tf.broadcast_static_shape(static, known)
        dynamic = tf.broadcast_dynamic_shape(dynamic, sizes)

    constant, varying = sort_by_time(per_step, static, dynamic, *steps)
    scale = model.initial_scale
    n = model.state_dim
    scale = lq(tf.pad(scale, [[0, 0]] * (scale.shape.rank - 1) + [[0, n]]), mode="l")
    y = _full(y, static, dynamic, 2)
    return Problem(
        model=model,
        method=method,
        y=time_first(y, 1),
        constant=constant,
        varying=varying,
        mean=_full(model.initial_mean, static, dynamic, 1),
        scale=_full(scale, static, dynamic, 2),
    )


def inputs(step, named: dict) -> dict:
    """What functions may ask for beside the state, and where to linearise them if that is said."""
    number = tf.convert_to_tensor(step, tf.int32)
    return {"step": number, "controls": named.get("controls"), "path": named.get("path")}


def forward(problem: Problem, smoothing: bool) -> Forward:
    """Runs the filter; with ``smoothing`` it keeps what ``backward`` needs."""
    model, method = problem.model, problem.method

    def step(carry, elements):
        mean, scale, bad = carry[:3]
        y, number, varying = elements
        named = problem.constant | varying
        noise, extra = named["observation_scale"], inputs(number, named)
        # A function is differentiated at no point where it failed, since the NaN in its derivative
        # would reach what it shares with other series: tried first, then called at a safe place.
        bad |= ~(all_finite(mean, 1) & all_finite(scale, 2))
        trial = method.match(model.observation, *_safe(problem, bad, mean, scale), extra)
        known = trial.usable() & all_finite(noise, 1)
        bad |= tf.reduce_any(is_observed(y) & ~known, axis=-1)
        mean, scale = _safe(problem, bad, mean, scale)
        matched = method.match(model.observation, mean, scale, extra)
        update = method.update(model.observation, y, noise, mean, scale, extra, bad, matched)
        filtered_mean = mean + tf.linalg.matvec(scale, update.shift)
        filtered_scale = tf.matmul(scale, update.factor)

        noise = named["transition_scale"]
        trial = method.match(model.transition, filtered_mean, filtered_scale, extra)
        trial = predict(noise, trial, smoothing=False)
        next_bad = update.failed | ~usable(trial)
        place = _safe(problem, next_bad, filtered_mean, filtered_scale)
        noise = tf.where(append_axes(next_bad, noise), tf.zeros_like(noise), noise)
        following = predict(noise, method.match(model.transition, *place, extra), smoothing)
        outputs = Forward(
            log_density=update.log_density,
            predicted_mean=mean,
            predicted_scale=scale,
            filtered_mean=filtered_mean,
            filtered_scale=filtered_scale,
            innovation=update.innovation,
            spread=update.spread,
            shift=update.shift,
            factor=update.factor,
            back=following.back,
            rest=following.rest,
            failed=update.failed,
        )
        result = (following.mean, following.scale, next_bad, *outputs)
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    numbers = tf.range(tf.shape(problem.y)[0], dtype=tf.int32)
    elements = (problem.y, numbers, problem.varying)
    return Forward(*tf.scan(step, elements, _start(problem, smoothing))[3:])


class Backward(NamedTuple):
    """Smoothed states, with time first."""

    mean: tf.Tensor  # [T, ..., n]
    factor: tf.Tensor  # F with F F' the covariance, [T, ..., n, n]
    lag_one: tf.Tensor  # Cov[x_{t+1}, x_t | y], of no meaning at T-1, [T, ..., n, n]


def backward(passed: Forward) -> Backward:
    """Runs the smoother, in the normalised coordinates of each step (``step.py``).

    With xi' of t+1 smoothed to s' + T' e, e ~ N(0, I):

    1. The filtered coordinates are xi = V xi' + B e: s = V s', T T' = V T' T'' V' + B B'.
    2. x = m + S xi gives mean and covariance, and with x' = m' + S' xi' the covariance between
       them, S' T' T'' V' S'.
    3. The predicted coordinates of t are shift + W xi.
    """
    # Of what comes after the data nothing is known: N(0, I).
    start_mean, square = zeros_of_step(passed.shift), zeros_of_step(passed.factor)
    start_factor = square + tf.eye(square.shape[-1], dtype=square.dtype)

    def step(carry, elements):
        later_mean, later_factor = carry[:2]
        later_scale = elements[-1]
        now = Forward(*elements[:-1])
        through = tf.matmul(now.back, later_factor)
        mean = tf.linalg.matvec(now.back, later_mean)
        factor = lq(tf.concat([through, now.rest], axis=-1), mode="l")
        smoothed_mean = now.filtered_mean + tf.linalg.matvec(now.filtered_scale, mean)
        left = tf.matmul(later_scale, later_factor)
        right = tf.matmul(now.filtered_scale, through)
        result = (
            now.shift + tf.linalg.matvec(now.factor, mean),
            tf.matmul(now.factor, factor),
            smoothed_mean,
            tf.matmul(now.filtered_scale, factor),
            tf.matmul(left, right, transpose_b=True),
        )
        return tuple(with_shape(x, old.shape) for x, old in zip(result, carry, strict=True))

    later_scale = tf.concat([passed.predicted_scale[1:], passed.predicted_scale[:1]], axis=0)
    start = (start_mean, start_factor, start_mean, square, square)
    return Backward(*tf.scan(step, (*passed, later_scale), start, reverse=True)[2:])


def _start(problem, smoothing):
    """The first state, and zeros of the shapes that a step returns."""
    batch, static = tf.shape(problem.mean)[:-1], problem.mean.shape[:-1]
    dtype, n, m = problem.y.dtype, problem.model.state_dim, problem.model.observation_dim

    def zeros(*core, of=dtype):
        return with_shape(tf.zeros(tf.concat([batch, core], 0), of), static.concatenate(core))

    named = problem.constant | problem.varying
    k, r = (named[f"{kind}_scale"].shape[-1] for kind in ("transition", "observation"))
    q = problem.method.residuals
    none = with_shape(tf.zeros(batch, tf.bool), static)
    outputs = Forward(
        log_density=with_shape(tf.zeros(batch, dtype), static),
        predicted_mean=zeros(n),
        predicted_scale=zeros(n, n),
        filtered_mean=zeros(n),
        filtered_scale=zeros(n, n),
        innovation=zeros(m),
        spread=zeros(m, r + q + n),
        shift=zeros(n),
        factor=zeros(n, n),
        back=zeros(n, n if smoothing else 0),
        rest=zeros(n, min(k + q, n) if smoothing else 0),
        failed=none,
    )
    return (problem.mean, problem.scale, none, *outputs)


def _safe(problem, bad, mean, scale):
    """The moments, with those of the first state where a series is ``bad``."""
    return (
        tf.where(bad[..., tf.newaxis], problem.mean, mean),
        tf.where(append_axes(bad, scale), problem.scale, scale),
    )


def _full(x, static, dynamic, core_rank):
    """x with all batch axes."""
    core = x.shape.rank - core_rank
    full = tf.broadcast_to(x, tf.concat([dynamic, tf.shape(x)[core:]], 0))
    return with_shape(full, static.concatenate(x.shape[core:]))


def _first(x):
    """The first of ``[T, ...]``, zeros if there is none."""
    return tf.concat([x, zeros_of_step(x)[tf.newaxis]], axis=0)[0]
