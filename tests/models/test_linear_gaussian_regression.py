"""Posterior and evidence against closed forms, exact fractions and finite differences."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import finite_differences

from statespace.models import linear_gaussian_regression as regression

SHAPES = [(7, 3), (3, 7), (4, 4), (6, 1), (1, 6), (5, 0)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))


def problem(shape, batch=(), seed=0):
    rng = np.random.default_rng(seed)
    n, d = shape
    return {
        "x": rng.normal(size=(*batch, n, d)),
        "y": rng.normal(size=(*batch, n)),
        "noise_scale": rng.uniform(0.5, 2.0, size=(*batch, n)),
        "prior_scale": rng.uniform(0.5, 2.0, size=(*batch, d)),
        "prior_mean": rng.normal(size=(*batch, d)),
    }


def expected(x, y, noise_scale, prior_scale, prior_mean):
    """Evidence, mean and covariance by the textbook's formulas."""
    covariance = np.diag(noise_scale**2) + x @ np.diag(prior_scale**2) @ x.T
    evidence = scipy.stats.multivariate_normal(x @ prior_mean, covariance).logpdf(y)
    precision = np.diag(prior_scale**-2.0) + x.T @ np.diag(noise_scale**-2.0) @ x
    moment = x.T @ (y / noise_scale**2) + prior_mean / prior_scale**2
    return evidence, np.linalg.solve(precision, moment), np.linalg.inv(precision)


@shapes
def test_equals_closed_form(shape, native):
    arguments = problem(shape)
    evidence, mean, covariance = expected(**arguments)
    post = regression.posterior(**arguments)
    np.testing.assert_allclose(post.log_evidence, evidence, rtol=1e-12)
    np.testing.assert_allclose(regression.log_evidence(**arguments), evidence, rtol=1e-12)
    np.testing.assert_allclose(post.mean, mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(regression.weight_covariance(post), covariance, atol=1e-13)
    at = np.random.default_rng(1).normal(size=(4, shape[1]))
    got_mean, got_variance = regression.predict(post, at)
    np.testing.assert_allclose(got_mean, at @ mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got_variance, np.diag(at @ covariance @ at.T), atol=1e-13)


def test_the_form_follows_the_shape():
    assert regression.posterior(**problem((3, 7))).directions.shape == (3, 10)
    assert regression.posterior(**problem((7, 3))).factor.shape == (3, 3)


@settings(max_examples=25)
@given(
    n=st.integers(1, 6),
    d=st.integers(1, 6),
    batch=st.sampled_from([(), (3,), (2, 3)]),
    shared=st.sets(st.sampled_from(["x", "y", "noise_scale", "prior_scale", "prior_mean"])),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 1000),
)
def test_batches_are_loops(n, d, batch, shared, dtype, seed):
    arguments = {k: v.astype(dtype) for k, v in problem((n, d), batch, seed).items()}
    for name in shared:  # without batch axes, for all members
        core = 2 if name == "x" else 1
        arguments[name] = arguments[name].reshape(-1, *arguments[name].shape[-core:])[0]
    post = regression.posterior(**arguments)
    evidence = regression.log_evidence(**arguments)
    cores = {name: 2 if name == "x" else 1 for name in arguments}
    whole = np.broadcast_shapes(
        *(arguments[k].shape[: arguments[k].ndim - r] for k, r in cores.items())
    )
    assert evidence.shape == post.log_evidence.shape == whole
    assert post.mean.shape == (*whole, d)
    assert post.mean.dtype == evidence.dtype == dtype
    tolerance = {np.float32: 2e-4, np.float64: 1e-11}[dtype]
    for index in np.ndindex(*whole):
        one = {
            k: np.broadcast_to(v, (*whole, *v.shape[v.ndim - cores[k] :]))[index]
            for k, v in arguments.items()
        }
        want, mean, _ = expected(**{k: v.astype(np.float64) for k, v in one.items()})
        np.testing.assert_allclose(post.log_evidence[index], want, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(evidence[index], want, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(post.mean[index], mean, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7)])
def test_weights_scale_the_noise_and_zero_removes(shape, native):
    arguments = problem(shape)
    weights = np.random.default_rng(2).uniform(0.5, 2.0, size=shape[0])
    scaled = arguments | {"noise_scale": arguments["noise_scale"] / np.sqrt(weights)}
    got = regression.posterior(**arguments, weights=weights)
    want = regression.posterior(**scaled)
    np.testing.assert_allclose(got.log_evidence, want.log_evidence, rtol=1e-13)
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-12)

    weights[1] = 0.0
    fewer = {k: np.delete(v, 1, 0) if k in ("x", "y") else v for k, v in scaled.items()}
    fewer["noise_scale"] = np.delete(scaled["noise_scale"], 1)
    variable = tf.constant(weights)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        got = regression.log_evidence(**arguments, weights=variable)
    np.testing.assert_allclose(got, regression.log_evidence(**fewer), rtol=1e-13)
    assert np.all(np.isfinite(tape.gradient(got, variable)))


@pytest.mark.parametrize("flat", [[0], [1, 2], [0, 1, 2]])
def test_flat_priors_give_the_restricted_likelihood(flat, native):
    arguments = problem((7, 3))
    x, y, noise = arguments["x"], arguments["y"], arguments["noise_scale"]
    prior_scale, mean = arguments["prior_scale"].copy(), arguments["prior_mean"]
    others = np.setdiff1d(np.arange(3), flat)
    covariance = np.diag(noise**2) + (x[:, others] * prior_scale[others] ** 2) @ x[:, others].T
    prior_scale[flat] = np.inf
    inverse = np.linalg.inv(covariance)
    information = x[:, flat].T @ inverse @ x[:, flat]
    residual = y - x[:, others] @ mean[others]
    weights = np.linalg.solve(information, x[:, flat].T @ inverse @ residual)
    residual = residual - x[:, flat] @ weights
    evidence = -0.5 * (
        (7 - len(flat)) * np.log(2 * np.pi)
        + np.linalg.slogdet(covariance)[1]
        + np.linalg.slogdet(information)[1]
        + residual @ inverse @ residual
    )
    post = regression.posterior(**(arguments | {"prior_scale": prior_scale}))
    np.testing.assert_allclose(post.log_evidence, evidence, rtol=1e-12)
    np.testing.assert_allclose(tf.gather(post.mean, flat), weights, rtol=1e-11)


def test_a_flat_prior_for_more_weights_than_observations():
    arguments = problem((3, 4))
    prior_scale = np.array([np.inf, 1.0, 1.0, 1.0])
    post = regression.posterior(**(arguments | {"prior_scale": prior_scale}))
    vague = regression.posterior(**(arguments | {"prior_scale": np.minimum(prior_scale, 1e7)}))
    np.testing.assert_allclose(post.mean, vague.mean, rtol=1e-6)


def test_a_weight_of_no_prior_scale_keeps_its_mean():
    arguments = problem((7, 3))
    arguments["prior_scale"][1] = 0.0
    post = regression.posterior(**arguments)
    assert post.mean[1] == arguments["prior_mean"][1]
    assert regression.weight_covariance(post)[1, 1] == 0.0


def dependent(shape):
    """A design of rank one, of which every row and every column repeats."""
    arguments = problem(shape)
    rng = np.random.default_rng(3)
    column = np.repeat(rng.normal(size=shape[0] // 2), 2)[:, np.newaxis]
    return arguments | {"x": np.repeat(column, shape[1], axis=1)}


CASES = {
    "tall": problem((5, 2)),
    "wide": problem((2, 4)),
    "tall, rank 1": dependent((4, 3)),
    "wide, rank 1": dependent((2, 4)),
}


@pytest.mark.parametrize("quantity", ["evidence", "moments"])
@pytest.mark.parametrize("case", CASES)
def test_two_derivatives(case, quantity, native):
    names, arguments = list(CASES[case]), list(CASES[case].values())

    def function(*arguments):
        named = dict(zip(names, arguments, strict=True))
        if quantity == "evidence":
            return regression.log_evidence(**named)
        post = regression.posterior(**named)
        mean, variance = regression.predict(post, named["x"] + 0.3)
        return tf.reduce_sum(tf.sin(mean)) + tf.reduce_sum(variance**2) + post.log_evidence

    def slope(*arguments):
        arguments = [tf.convert_to_tensor(v) for v in arguments]
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        return tape.gradient(value, arguments)

    got = slope(*arguments)
    for gradient, wanted in zip(
        got, finite_differences.gradient(function, arguments, step=1e-4), strict=True
    ):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-7, atol=1e-8)

    variables = [tf.constant(v) for v in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        square = tf.add_n([tf.reduce_sum(g**2) for g in slope(*variables)])
    rng = np.random.default_rng(4)
    directions = [rng.normal(size=v.shape) for v in arguments]
    second = sum(
        np.sum(g * d) for g, d in zip(tape.gradient(square, variables), directions, strict=True)
    )
    wanted = finite_differences.directional(
        lambda *v: tf.add_n([tf.reduce_sum(g**2) for g in slope(*v)]), arguments, directions
    )
    np.testing.assert_allclose(second, wanted, rtol=2e-6)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7)])
@pytest.mark.parametrize("jit", [False, True])
def test_graphs_and_unknown_shapes(shape, jit):
    arguments = problem(shape)

    def run(x, y):
        post = regression.posterior(**(arguments | {"x": x, "y": y}))
        return post.log_evidence, post.mean, regression.predict(post, x)[1]

    want = run(arguments["x"], arguments["y"])
    if jit:
        graph = tf.function(run, jit_compile=True)
    else:
        unknown = [tf.TensorSpec([None, None], tf.float64), tf.TensorSpec([None], tf.float64)]
        graph = tf.function(run, input_signature=unknown)
    for got, value in zip(graph(arguments["x"], arguments["y"]), want, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", [(8, 3), (3, 8)])
@pytest.mark.parametrize("units", [(1e8, 1.0), (1e-8, 1.0), (1.0, 1e8), (1.0, 1e-8), (1e8, 1e-8)])
def test_units_do_not_matter(shape, units):
    x_unit, y_unit = units
    arguments = problem(shape)
    post = regression.posterior(**arguments)
    other = regression.posterior(
        x=arguments["x"] * x_unit,
        y=arguments["y"] * y_unit,
        noise_scale=arguments["noise_scale"] * y_unit,
        prior_scale=arguments["prior_scale"] * y_unit / x_unit,
        prior_mean=arguments["prior_mean"] * y_unit / x_unit,
    )
    np.testing.assert_allclose(other.mean * x_unit / y_unit, post.mean, rtol=1e-12)
    shifted = other.log_evidence + shape[0] * np.log(y_unit)
    np.testing.assert_allclose(shifted, post.log_evidence, rtol=1e-12)


def solve_exactly(matrix, side):
    """The solution in fractions, by elimination."""
    rows = [[*row, value] for row, value in zip(matrix, side, strict=True)]
    for i, row in enumerate(rows):
        rows[i] = row = [value / row[i] for value in row]
        for j, other in enumerate(rows):
            if j != i:
                rows[j] = [u - other[i] * v for u, v in zip(other, row, strict=True)]
    return np.array([float(row[-1]) for row in rows])


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_ill_conditioned_design_against_exact_fractions(shape):
    """Condition number 1e8: the normal equations would have no digit right."""
    rng = np.random.default_rng(5)
    x = 1.0 + 1e-8 * rng.normal(size=shape)
    y = rng.normal(size=shape[0])
    exact_x = [[Fraction(v) for v in row] for row in x]
    exact_y = [Fraction(v) for v in y]
    columns = list(zip(*exact_x, strict=True))
    variance = Fraction(1, 2**60)  # of the noise, over that of the weights
    gram = [
        [sum(a * b for a, b in zip(u, v, strict=True)) + variance * (i == j)
         for j, v in enumerate(columns)]
        for i, u in enumerate(columns)
    ]  # fmt: skip
    moment = [sum(a * b for a, b in zip(u, exact_y, strict=True)) for u in columns]
    exact = solve_exactly(gram, moment)
    post = regression.posterior(x, y, 2.0**-30, 1.0)
    error = np.linalg.norm(post.mean - exact) / np.linalg.norm(exact)
    assert error < 1e-6
    variance_at = regression.predict(post, x[:1])[1]
    solved = solve_exactly(gram, exact_x[0])
    wanted = float(variance * sum(a * Fraction(b) for a, b in zip(exact_x[0], solved, strict=True)))
    np.testing.assert_allclose(variance_at, wanted, rtol=1e-6)


def test_leave_one_out_equals_leaving_out():
    arguments = problem((6, 3))
    x, y, noise = arguments["x"], arguments["y"], arguments["noise_scale"]
    mean, variance = regression.predict(regression.posterior(**arguments), x)
    got = regression.leave_one_out(y, mean, variance, noise**-2.0)
    for i in range(6):
        rest = arguments | {
            name: np.delete(arguments[name], i, 0) for name in ("x", "y", "noise_scale")
        }
        want = regression.predict(regression.posterior(**rest), x[i : i + 1])
        np.testing.assert_allclose([v[i] for v in got], np.ravel(want), rtol=1e-12)


def test_rejects_wrong_arguments_by_name():
    arguments = problem((5, 2))
    with pytest.raises(ValueError, match=r"y has shape \(4,\); it must be .* N = 5"):
        regression.posterior(**(arguments | {"y": arguments["y"][:4]}))
    with pytest.raises(ValueError, match="prior_scale is float32 and x is float64"):
        regression.posterior(
            **(arguments | {"prior_scale": arguments["prior_scale"].astype(np.float32)})
        )
    for name, shape in (
        ("noise_scale", (3,)),
        ("prior_scale", (5,)),
        ("prior_mean", (3,)),
        ("weights", (4,)),
    ):
        with pytest.raises(ValueError, match=rf"{name} has shape \({shape[0]},\); it must broad"):
            regression.log_evidence(**(arguments | {name: np.ones(shape)}))
    for name in ("x", "y", "prior_scale"):
        with pytest.raises(ValueError, match=f"{name} is no array of numbers"):
            regression.log_evidence(**(arguments | {name: None}))
    batches = {"x": np.ones((3, 5, 2)), "y": np.ones((2, 5))}
    with pytest.raises(ValueError, match=r"x has shape .* and y .*; their batch axes do not"):
        regression.posterior(**(arguments | batches))
    post = regression.posterior(**arguments)
    with pytest.raises(ValueError, match=r"predict: x has shape \(4, 3\); .* D = 2"):
        regression.predict(post, np.ones((4, 3)))
    with pytest.raises(ValueError, match="predict: x is float32; the posterior is float64"):
        regression.predict(post, np.ones((4, 2), np.float32))
    with pytest.raises(ValueError, match="x is int"):
        regression.posterior(**(arguments | {"x": np.ones((5, 2), int)}))


@pytest.mark.parametrize("wrong", [-1.0, np.nan])
def test_what_is_no_weight_does_not_pass_for_zero(wrong):
    arguments = problem((5, 2), batch=(2,))
    weights = np.ones((2, 5))
    weights[1, 2] = wrong
    with pytest.raises(ValueError, match=r"weights\[1, 2\] is .*; it must not be negative"):
        regression.log_evidence(**arguments, weights=weights)
    graph = tf.function(lambda weights: regression.log_evidence(**arguments, weights=weights))
    np.testing.assert_array_equal(np.isnan(graph(tf.constant(weights))), [False, True])
