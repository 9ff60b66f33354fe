"""Moments of functions of a Gaussian in closed form, and Gauss-Newton against a minimiser."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf
from nonlinear.problems import PROBLEMS, NumPy
from oracles import nonlinear as oracle

import statespace as ss
from statespace.nonlinear import matching


class Function:
    """A plain function in the place of a model's."""

    def __init__(self, function):
        self.function = function

    def __call__(self, x, inputs):
        return self.function(x)


def moments(rule, function, mean, scale):
    matched = rule(Function(function), tf.constant(mean), tf.constant(scale), {})
    root = np.concatenate([matched.slope, matched.residual], axis=-1)
    return matched.mean.numpy(), root @ root.T, matched.slope.numpy() @ np.transpose(scale)


MEAN = np.array([0.3, -1.2])
SCALE = np.array([[0.8, 0.0], [0.5, 0.6]])
P = SCALE @ SCALE.T


@pytest.mark.parametrize(
    ("alpha", "beta", "kappa"), [(1.0, 0.0, None), (1e-3, 2.0, 0.0), (1e-2, 2.0, 1.0)]
)
def test_variance_of_a_square(alpha, beta, kappa):
    """Var[x^2] = 4 m^2 p + 2 p^2: with fourth moments matched, or beta = 2 and alpha small."""
    rule = matching.unscented(1, alpha, beta, kappa)
    mean, variance, cross = moments(rule, tf.square, np.array([0.7]), np.array([[1.3]]))
    p = 1.3**2
    np.testing.assert_allclose(mean, [0.49 + p], rtol=1e-9)
    np.testing.assert_allclose(variance, [[4 * 0.49 * p + 2 * p**2]], rtol=3e-4)
    np.testing.assert_allclose(cross, [[2 * 0.7 * p]], rtol=1e-9)


@pytest.mark.parametrize(
    "rule",
    [matching.cubature(2), matching.unscented(2, 1.0, 0.0, None)],
    ids=["cubature", "unscented"],
)
def test_mean_and_cross_covariance_are_exact_for_polynomials_of_degree_three(rule):
    """E[x_1^2 x_2] and E[x_1 x_2], by Isserlis; covariances with the state up to degree two."""

    def function(x):
        return tf.stack([x[..., 0] ** 2 * x[..., 1], x[..., 0] * x[..., 1]], axis=-1)

    mean, _, cross = moments(rule, function, MEAN, SCALE)
    a, b = MEAN
    expected = [a**2 * b + b * P[0, 0] + 2 * a * P[0, 1], a * b + P[0, 1]]
    np.testing.assert_allclose(mean, expected, rtol=1e-12)
    np.testing.assert_allclose(cross[1], b * P[0] + a * P[1], rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_default_points_are_those_of_the_cubature_from_three_states_on(n):
    rng = np.random.default_rng(0)
    scale = np.tril(rng.normal(size=(n, n)))
    function = lambda x: tf.exp(0.3 * x)  # noqa: E731
    results = [
        moments(rule, function, np.zeros(n), scale)
        for rule in (matching.unscented(n, 1.0, 0.0, None), matching.cubature(n))
    ]
    same = [np.allclose(x, z, rtol=1e-13) for x, z in zip(*results, strict=True)]
    assert all(same) == (n >= 3)


@pytest.mark.parametrize("beta", [0.6, 0.65, 2.0])
def test_bound_on_the_centre_weight_is_sharp(beta):
    """alpha = 1, n = 5, kappa = -3: from beta = 3/5 on, not below, covariances are semidefinite."""
    rule = matching.unscented(5, 1.0, beta, -3.0)
    _, covariance, _ = moments(
        rule, lambda x: tf.reduce_sum(x * x, -1, keepdims=True), np.zeros(5), np.eye(5)
    )
    # Of |x|^2 both a_i are 2, delta is 5, and the sum over the points 2 * 5 * 4 / (2 * 2).
    np.testing.assert_allclose(covariance, [[10.0 + (beta - 1.0) * 25.0]], atol=1e-12)
    with pytest.raises(ValueError, match=r"Raise beta to 0\.6"):
        matching.unscented(5, 1.0, 0.59, -3.0)


def test_iterated_update_finds_the_mode_where_whole_steps_do_not():
    """The growth model's observation x^2 / 20 from a vague start near zero, where it has no slope.

    Whole Gauss-Newton steps go to and fro for the last observation, to which no state leads.
    """
    problem = PROBLEMS["growth"]
    y = np.array([[[5.0]], [[0.3]], [[12.0]], [[-2.0]]])
    start = {"initial_mean": np.array([0.2]), "initial_scale": np.array([[5.0]])}
    result = ss.nonlinear_filter(problem.model(**start), y, method="iterated", iterations=20)
    textbook = problem.textbook()._replace(m0=np.array([0.2]), p0=np.array([[25.0]]))
    whole = oracle.run(textbook, y[-1], oracle.tangent, 20)["filtered_mean"][0]
    modes = result.filtered_mean.numpy()[:, 0]
    for mode, y_t in zip(modes, y[:, 0], strict=True):

        def objective(x, y_t=y_t):
            residual = y_t - problem.h(NumPy, np.asarray(x))
            return ((x[0] - 0.2) / 5.0) ** 2 + residual[0] ** 2

        slope = scipy.optimize.approx_fprime(mode, objective, 1e-7)
        np.testing.assert_allclose(slope, 0.0, atol=1e-5)
        assert objective(mode) < objective(np.array([0.2]))
    assert objective(whole) > objective(modes[-1]) + 0.1
