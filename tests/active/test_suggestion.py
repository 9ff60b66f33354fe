"""The suggested point against a fine grid, and what it does in batches and at borders."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from statespace import active
from statespace.models import BayesianLinearRegression, FixedPrior, GaussianProcess

GP = GaussianProcess(tfp.math.psd_kernels.MaternFiveHalves(np.float64(1.0), np.float64(1.0)))
LIMITS = np.array([[0.0, -2.0], [6.0, 1.0]])


def problem(batch=(), dtype=np.float64, seed=0):
    """Points evaluated in the box, and the predictions of a Gaussian process given them."""
    x = np.random.default_rng(seed).uniform(*LIMITS, size=(*batch, 8, 2)).astype(dtype)
    y = np.cos(x[..., 0]) + x[..., 1] ** 2
    posterior = GP.condition(x.astype(np.float64), y.astype(np.float64), {"noise_variance": 1e-4})

    def predict(at):
        distribution = posterior.predict(tf.cast(at, tf.float64), noise=False)
        return tfp.distributions.Normal(
            tf.cast(distribution.loc, dtype), tf.cast(distribution.scale, dtype)
        )

    return x, y, predict


def improvement(predict, y, at, maximise=False):
    best = y.max() if maximise else y.min()
    return active.log_expected_improvement(predict(at), best, maximise=maximise).numpy()


@pytest.mark.parametrize("maximise", [False, True])
def test_no_point_of_a_grid_is_better(maximise):
    x, y, predict = problem()
    point = active.suggest(predict, LIMITS, x, y, seed=1, maximise=maximise)
    assert point.shape == (2,)
    assert point.dtype == tf.float64
    grid = np.stack(np.meshgrid(*np.linspace(*LIMITS, 61).T), axis=-1).reshape(-1, 2)
    value = improvement(predict, y, point[np.newaxis], maximise)[0]
    assert value >= improvement(predict, y, grid, maximise).max() - 1e-6


def test_the_gradient_improves_on_candidates():
    x, y, predict = problem()
    few = {"seed": 2, "num_candidates": 20}
    moved = active.suggest(predict, LIMITS, x, y, **few)
    unmoved = active.suggest(predict, LIMITS, x, y, num_starts=0, **few)
    after, before = improvement(predict, y, np.stack([moved, unmoved]))
    assert after > before + 0.01
    again = active.suggest(predict, LIMITS, x, y, **few)
    np.testing.assert_array_equal(moved, again)


def test_batches_are_loops_and_stay_in_the_box():
    x, y, predict = problem((3,))
    together = active.suggest(predict, LIMITS, x, y, seed=1, num_candidates=4000).numpy()
    assert together.shape == (3, 2)
    assert np.all((together >= LIMITS[0]) & (together <= LIMITS[1]))
    for i in range(3):
        posterior = GP.condition(x[i], y[i], {"noise_variance": 1e-4})

        def alone(at, posterior=posterior):
            return posterior.predict(at, noise=False)

        one = active.suggest(alone, LIMITS, x[i], y[i], seed=5, num_candidates=4000)
        # Other candidates, the same maximum.
        values = improvement(alone, y[i], np.stack([one, together[i]]))
        np.testing.assert_allclose(values[0], values[1], atol=1e-3)


def test_features_of_a_regression():
    """The surrogate may begin with any differentiable map; here, the parabola's own."""
    x = np.array([[-2.0], [-1.0], [2.5]])
    y = (x[:, 0] - 0.7) ** 2

    def features(at):
        return tf.concat([at, at**2], axis=-1)

    model = BayesianLinearRegression(FixedPrior(1e-3, 100.0)).fit(features(x), y)

    def predict(at):
        return model.predict(features(at), noise=False)

    point = active.suggest(predict, [[-5.0], [5.0]], x, y, seed=1)
    np.testing.assert_allclose(point, [0.7], atol=0.01)


def test_float32():
    x, y, predict = problem(dtype=np.float32)
    point = active.suggest(predict, LIMITS, x, y, seed=1)
    assert point.dtype == tf.float32
    exact = active.suggest(problem()[2], LIMITS, *problem()[:2], seed=1)
    np.testing.assert_allclose(point, exact, atol=0.05)


def test_refusals():
    x, y, predict = problem()
    with pytest.raises(ValueError, match=r"limits has shape \(2, 1\); it must be \[2, d\]"):
        active.suggest(predict, [[0.0], [1.0]], x, y, seed=1)
    with pytest.raises(ValueError, match=r"limits\[0, 1\] is 1.0 and limits\[1, 1\] is -2.0"):
        active.suggest(predict, [[0.0, 1.0], [6.0, -2.0]], x, y, seed=1)
    with pytest.raises(ValueError, match="num_starts is -1; it must be a positive int"):
        active.suggest(predict, LIMITS, x, y, seed=1, num_starts=-1)

    def broken(at):
        return tfp.distributions.Normal(at[..., 0] * np.nan, np.float64(1.0))

    with pytest.raises(ValueError, match="expected improvement is not finite"):
        active.suggest(broken, LIMITS, x, y, seed=1)

    def with_another_axis(at):
        return tfp.distributions.Normal(at, np.float64(1.0))

    with pytest.raises(
        ValueError, match=r"predict makes a distribution of batch shape \(1000, 2\)"
    ):
        active.suggest(with_another_axis, LIMITS, x, y, seed=1)

    def by_numpy(at):
        return tfp.distributions.Normal(np.sum(at, axis=-1), np.float64(1.0))

    with pytest.raises(ValueError, match="predict has no gradient by the points"):
        active.suggest(by_numpy, LIMITS, x, y, seed=1)
    assert active.suggest(by_numpy, LIMITS, x, y, seed=1, num_starts=0).shape == (2,)
    broken_y = np.where(np.arange(8) == 3, np.nan, y)
    for change, message in (
        ({"x": x.astype(int)}, "x is int64; it must be float32 or float64"),
        ({"y": y[:7]}, r"x has shape \(8, 2\) and y \(7,\); they must be"),
        ({"x": x[:0], "y": y[:0]}, r"the same N, one at least"),
        ({"y": broken_y}, r"y\[3\] is nan; leave that point out"),
        ({"limits": [[0.0, -2.0], [np.inf, 1.0]]}, r"limits\[1, 0\] is inf; .* both finite"),
        ({"seed": None}, "seed is None; it must be an int or a sequence of them"),
        ({"seed": -1}, "seed is -1; it must be an int or a sequence of them"),
        ({"seed": "one"}, "seed is 'one'; it must be an int or a sequence of them"),
    ):
        arguments = {"predict": predict, "limits": LIMITS, "x": x, "y": y, "seed": 1} | change
        with pytest.raises(ValueError, match=message):
            active.suggest(**arguments)


def test_points_that_are_known_exactly_are_no_failure():
    """Half of the box is certain not to be better, so that nothing is expected of it."""

    def predict(at):
        better = at[..., 0] > 3.0
        return tfp.distributions.Normal(
            tf.where(better, at[..., 1] ** 2, 5.0 + 0 * at[..., 0]),
            tf.where(better, 1.0 + 0 * at[..., 0], 0.0),
        )

    x, y, _ = problem()
    for num_candidates in (3, 1000):
        point = active.suggest(predict, LIMITS, x, y, seed=1, num_candidates=num_candidates)
        assert point[0] > 3.0
    nowhere = tfp.distributions.Normal
    with pytest.raises(ValueError, match="or nowhere positive"):
        active.suggest(lambda at: nowhere(5.0 + 0 * at[..., 0], 0.0), LIMITS, x, y, seed=1)
