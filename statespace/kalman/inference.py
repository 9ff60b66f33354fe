"""What filter, smoother and forecast share: checking arguments, choosing the implementation."""

import math

import tensorflow as tf

from statespace.kalman import (
    covariance,
    parallel,
    reference,
    square_root,
    univariate,
    univariate_reference,
)
from statespace.kalman.forms import Form
from statespace.linalg_ops.arguments import broadcasts_to, check_choice, to_tensor
from statespace.linalg_ops.failure import ON_FAILURE, raise_where_failed
from statespace.ssm import LinearGaussianSSM, check_broadcasting

_FORMS = {
    "covariance": covariance.FORM,
    "square_root": square_root.FORM,
    "univariate": univariate.FORM,
    "parallel": parallel.FORM,
    "reference": reference.FORM,
}
_DIFFUSE_FORMS = {"univariate": univariate.FORM, "reference": univariate_reference.FORM}
ALGORITHMS = ("auto", *_FORMS)
DIFFUSE_CONSTANT = ("include", "exclude")


def prepare(
    op: str, ssm, y, mask, lengths, algorithm: str, on_failure: str
) -> tuple[Form, tuple[tf.Tensor, ...]]:
    """Checks the arguments of an inference function.

    Returns:
      The form of the recursion that will run, and its inputs: y with NaN at every missing
      component, the model's parameters, and its diffuse states if it has any.

    Raises:
      ValueError: an argument has the wrong type, shape or dtype.
    """
    check_choice(op, "algorithm", algorithm, ALGORITHMS)
    check_choice(op, "on_failure", on_failure, ON_FAILURE)
    y = masked_data(op, ssm, y, mask, lengths)
    check_broadcasting(ssm, y)
    algorithm = _choose(ssm) if algorithm == "auto" else algorithm
    parameters = proper_part(ssm)
    if ssm.diffuse is None:
        return _FORMS[algorithm], (y, *parameters)
    form = _DIFFUSE_FORMS.get(algorithm)
    if form is None:
        raise ValueError(
            f"{op}: algorithm {algorithm!r} knows no diffuse start, and the model has diffuse "
            f"states. Use one of: auto, {', '.join(_DIFFUSE_FORMS)}."
        )
    return form, (y, *parameters, tf.cast(ssm.diffuse, ssm.dtype))


def _choose(ssm):
    """What "auto" stands for.

    A diffuse start takes the one form that knows it. float32 takes the form that is exact in spite
    of it: the covariance form is three times as fast, and wrong on ill-conditioned models. The
    parallel form, which asks for more processors than a CPU has, is for those who ask for it.
    """
    if ssm.diffuse is not None:
        return "univariate"
    return "square_root" if ssm.dtype == tf.float32 else "covariance"


def proper_part(ssm) -> tuple[tf.Tensor, ...]:
    """The parameters, with zeros in what a diffuse start leaves without influence."""
    *others, mean, scale = ssm.parameters()
    if ssm.diffuse is not None:
        mean = tf.where(ssm.diffuse, tf.zeros_like(mean), mean)
        scale = tf.where(ssm.diffuse[:, tf.newaxis], tf.zeros_like(scale), scale)
    return (*others, mean, scale)


def masked_data(op: str, ssm, y, mask, lengths=None) -> tf.Tensor:
    """y as a tensor of the model's dtype, NaN at every missing component."""
    if not isinstance(ssm, LinearGaussianSSM):
        raise ValueError(f"{op}: ssm is a {type(ssm).__name__}; it must be a LinearGaussianSSM.")
    return missing_as_nan(op, ssm.dtype, y, mask, lengths)


def missing_as_nan(op: str, dtype: tf.DType, y, mask, lengths) -> tf.Tensor:
    """``masked_data`` for a model of this dtype, of whatever kind."""
    y = _data(op, dtype, y)
    if lengths is None and mask is None:
        return y
    nan = tf.constant(float("nan"), y.dtype)
    if lengths is not None:
        y = tf.where(_length_mask(op, lengths, y), y, nan)
    return y if mask is None else tf.where(_component_mask(op, mask, y), y, nan)


def with_constant(op: str, choice: str, values: tf.Tensor, diffuse_observations=None) -> tf.Tensor:
    """Log-likelihoods in the convention ``choice``, from those that include the constant.

    Args:
      choice: "include" or "exclude" the -1/2 log(2 pi) of each diffuse observation.
      diffuse_observations: their number, of the shape of ``values``; None for a proper start.
    """
    check_choice(op, "diffuse_constant", choice, DIFFUSE_CONSTANT)
    if choice == "include" or diffuse_observations is None:
        return values
    return values + 0.5 * math.log(2.0 * math.pi) * tf.cast(diffuse_observations, values.dtype)


def finish_result(op: str, constant: str, on_failure: str, result):
    """A filter's or smoother's result in the convention ``constant``; raises where asked to."""
    total = with_constant(op, constant, result.log_likelihood, result.diffuse_observations)
    return apply_on_failure(op, on_failure, result.info, result._replace(log_likelihood=total))


def apply_on_failure(op: str, on_failure: str, info: tf.Tensor, outputs):
    """Raises where a series failed and ``on_failure`` is "raise", else returns ``outputs``."""
    if on_failure == "nan":
        return outputs
    reason = (
        "failed (innovation covariance not positive definite, or a number not finite); step + 1 ="
    )
    return raise_where_failed(op, info, reason, outputs)


def _data(op, dtype, y):
    if not tf.is_tensor(y):
        y = to_tensor(op, "y", y, None if hasattr(y, "dtype") else dtype)
    if y.dtype == dtype:
        return y
    if y.dtype.is_integer:
        y = tf.cast(y, dtype)
    else:
        raise ValueError(
            f"{op}: mixed dtypes: y is {y.dtype.name}, the model is {dtype.name}. Cast one of them."
        )
    return y


def _length_mask(op, lengths, y):
    """bool ``[..., T, 1]``: the steps before each series' own end."""
    lengths = tf.convert_to_tensor(lengths, name="lengths")
    if not lengths.dtype.is_integer:
        raise ValueError(f"{op}: lengths is {lengths.dtype.name}; it must be whole numbers.")
    if None not in (lengths.shape.rank, y.shape.rank):
        if not broadcasts_to(lengths.shape, y.shape[:-2]):
            raise ValueError(
                f"{op}: lengths has shape {lengths.shape}; it must broadcast against the batch "
                f"axes {y.shape[:-2]} of y, which has shape {y.shape}."
            )
    steps = tf.range(tf.shape(y)[-2], dtype=tf.int32)[:, tf.newaxis]
    return steps < tf.cast(lengths, tf.int32)[..., tf.newaxis, tf.newaxis]


def _component_mask(op, mask, y):
    """mask ``[..., T]`` or ``[..., T, m]`` as bool that broadcasts against y."""
    mask = tf.convert_to_tensor(mask, name="mask")
    if mask.dtype != tf.bool:
        raise ValueError(f"{op}: mask is {mask.dtype.name}; it must be bool, True = observed.")
    if y.shape.rank is None or mask.shape.rank is None:
        raise ValueError(f"{op}: with a mask, y and mask must have a known number of axes.")
    by_step, by_component = mask[..., tf.newaxis], mask
    fits = [
        candidate
        for candidate in (by_step, by_component)
        if mask.shape.rank > 0 and broadcasts_to(candidate.shape, y.shape)
    ]
    if len(fits) == 2 and mask.shape.rank < y.shape.rank:
        if not (mask.shape.is_fully_defined() and y.shape.is_fully_defined()):
            return by_step
        raise ValueError(
            f"{op}: mask has shape {mask.shape}, which fits y {y.shape} both as [..., T] and as "
            f"[..., T, m]. Give it as many axes as y has."
        )
    if not fits:
        raise ValueError(
            f"{op}: mask has shape {mask.shape}; it must be [..., T] or [..., T, m] to fit y, "
            f"which has shape {y.shape}."
        )
    return fits[-1]
