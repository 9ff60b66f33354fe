"""The collapsed bound of a sparse Gaussian process against its formula and the exact process."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from oracles import finite_differences

from statespace.models import GaussianProcess, SparseGaussianProcess, sparse_gaussian_process
from statespace.models import sparse_gaussian_process_inference as inference
from statespace.models.gaussian_process_fit import Problem

kernels = tfp.math.psd_kernels
PARAMS = {"amplitude": 1.3, "length_scale": 1.0, "noise_variance": 0.1}


def kernel(amplitude, length_scale):
    return kernels.MaternFiveHalves(amplitude, length_scale)


def mean(x, slope):
    return slope * x[..., 0]


def data(n=40, d=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, size=(n, d))
    return x, np.sin(2 * x[:, 0]) + 0.3 * rng.normal(size=n)


def by_matrices(x, y, inducing, errors, slope):
    """Bound, and posterior at x, from matrices [n, n]."""
    k = kernel(np.float64(1.3), np.float64(1.0))
    k_uu, k_uf, k_ff = (
        k.matrix(a, b).numpy() for a, b in ((inducing, inducing), (inducing, x), (x, x))
    )
    q = k_uf.T @ np.linalg.solve(k_uu, k_uf)
    noise = 0.1 + errors
    residual = y - slope * x[:, 0]
    density = scipy.stats.multivariate_normal(cov=q + np.diag(noise)).logpdf(residual)
    gain = np.linalg.solve(q + np.diag(noise), q).T
    covariance = k_ff - q + q - gain @ q
    bound = density - 0.5 * np.sum(np.diag(k_ff - q) / noise)
    return bound, gain @ residual + slope * x[:, 0], covariance


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("block", [2**20, 7 * 5], ids=["one block", "blocks with a rest"])
def test_equals_its_formula(d, block, monkeypatch):
    monkeypatch.setattr(inference, "_BLOCK", block)
    x, y = data(d=d)
    inducing = data(7, d, seed=1)[0]
    errors = np.random.default_rng(2).uniform(0, 0.5, size=40)
    params = PARAMS | {"slope": 0.2, "inducing_points": inducing}
    model = SparseGaussianProcess(kernel, 7, mean)
    post = model.condition(x, y, params, error_variance=errors)
    bound, expected, covariance = by_matrices(x, y, inducing, errors, 0.2)
    np.testing.assert_allclose(post.log_bound, bound, rtol=1e-10)
    np.testing.assert_allclose(post.mean_and_variance(x)[0], expected, atol=1e-10)
    np.testing.assert_allclose(post.mean_and_variance(x)[1], np.diag(covariance), atol=1e-10)
    np.testing.assert_allclose(post.joint(x).covariance(), covariance, atol=1e-9)


@pytest.mark.parametrize("block", [2**20, 7 * 5], ids=["one block", "blocks with a rest"])
def test_gradient_of_everything(block, monkeypatch):
    monkeypatch.setattr(inference, "_BLOCK", block)
    x, y = data(12)
    model = SparseGaussianProcess(kernel, 7, mean)
    names = [*PARAMS, "slope"]

    def bound(x, y, errors, inducing, values):
        params = dict(zip(names, tf.unstack(tf.convert_to_tensor(values)), strict=True))
        params["inducing_points"] = inducing
        return model.log_bound(params, x, y, error_variance=errors)

    inducing = data(7, seed=1)[0]
    arguments = [x, y, np.linspace(0.1, 0.5, 12), inducing, np.array([*PARAMS.values(), 0.2])]
    tensors = [tf.constant(a) for a in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = bound(*tensors)
    gradients = tape.gradient(value, tensors)
    rng = np.random.default_rng(4)
    for i, gradient in enumerate(gradients):
        directions = [np.zeros_like(a) for a in arguments]
        directions[i] = rng.normal(size=arguments[i].shape)
        slope = finite_differences.directional(bound, arguments, directions)
        np.testing.assert_allclose(np.sum(gradient * directions[i]), slope, rtol=1e-7)


def test_inducing_points_at_all_inputs_give_the_exact_process():
    x, y = data(15)
    exact = GaussianProcess(kernel).condition(x, y, PARAMS)
    params = PARAMS | {"inducing_points": x}
    post = SparseGaussianProcess(kernel, 15).condition(x, y, params)
    np.testing.assert_allclose(post.log_bound, exact.log_marginal_likelihood, atol=1e-8)
    new = data(5, seed=3)[0]
    np.testing.assert_allclose(post.predict(new).mean(), exact.predict(new).mean(), atol=1e-8)
    np.testing.assert_allclose(
        post.joint(new).covariance(), exact.joint(new).covariance(), atol=1e-8
    )
    assert post.sample(new, 3, seed=0, noise=True).shape == (3, 5)


def test_fit_comes_close_to_the_exact_maximum():
    x, y = data(200, d=1)
    exact = GaussianProcess(kernel).fit(x, y)
    post = SparseGaussianProcess(kernel, 20).fit(x, y)
    assert exact.log_marginal_likelihood - 0.5 < post.log_bound < exact.log_marginal_likelihood
    new = np.linspace(-2, 2, 9)[:, np.newaxis]
    np.testing.assert_allclose(
        post.mean_and_variance(new)[0], exact.mean_and_variance(new)[0], atol=0.02
    )


def test_what_the_mean_explains_does_not_hide_the_rest():
    """Scales start in units of what is left: 0.7 here, and 60 with the line."""
    x, y = data(300)
    steep = lambda x, level, slope: level + slope * x[..., 0]  # noqa: E731
    for model in (SparseGaussianProcess(kernel, 12, steep), GaussianProcess(kernel, steep)):
        options = {"num_starts": 1, "fix": {"length_scale": 0.8}}
        post = model.fit(x, y + 100 + 50 * x[:, 0], **options)
        assert 0.05 < post.params["noise_variance"] < 0.15  # 0.09, and 0.5 for all that is left


def test_a_search_on_some_of_the_observations_ends_as_high(monkeypatch):
    x, y = data(600, d=1)
    model = SparseGaussianProcess(kernel, 8)
    whole = model.fit(x, y, error_variance=0.01)
    monkeypatch.setattr(sparse_gaussian_process, "_SAMPLE", 100)
    sizes = []
    evaluate = Problem.objective

    def counted(self, points, members):
        sizes.append(self.data.y.shape[-1])
        return evaluate(self, points, members)

    monkeypatch.setattr(Problem, "objective", counted)
    for errors in (0.01, np.full(600, 0.01)):
        sizes.clear()
        post = model.fit(x, y, error_variance=errors)
        assert whole.converged
        assert post.converged
        np.testing.assert_allclose(post.log_bound, whole.log_bound, atol=0.1)
        assert set(sizes) == {100, 600}
        assert sizes.count(600) < 60


def test_the_unit_of_observations_does_not_change_where_the_search_ends():
    x, y = data(200)
    model = SparseGaussianProcess(kernel, 6)
    plain, scaled = (model.fit(x, y * unit) for unit in (1.0, 1e8))
    np.testing.assert_allclose(scaled.params["amplitude"], plain.params["amplitude"] * 1e8, 1e-3)
    np.testing.assert_allclose(
        scaled.log_bound, plain.log_bound - 200 * np.log(1e8), rtol=0, atol=1e-3
    )


def test_learning_the_inducing_points_raises_the_bound():
    x, y = data(200)
    model = SparseGaussianProcess(kernel, 8)
    spread = model._spread_out(kernel(np.float64(1.3), np.float64(1.0)), tf.constant(x))
    assert len(np.unique(spread, axis=0)) == 8
    learnt = model.fit(x, y, fix=PARAMS)
    fixed = model.fit(x, y, fix=PARAMS | {"inducing_points": spread})
    np.testing.assert_array_equal(fixed.params["inducing_points"], spread)
    assert learnt.log_bound > fixed.log_bound + 1


def test_repeated_inducing_points_are_no_more_than_one():
    x, y = data()
    few = SparseGaussianProcess(kernel, 2).condition(x, y, PARAMS | {"inducing_points": x[:2]})
    many = SparseGaussianProcess(kernel, 4).condition(
        x, y, PARAMS | {"inducing_points": x[[0, 1, 0, 1]]}
    )
    np.testing.assert_allclose(many.log_bound, few.log_bound, rtol=1e-8)


def test_float32():
    x, y = data(100)
    single = SparseGaussianProcess(kernel, 10).fit(
        x.astype(np.float32), y.astype(np.float32), fix=PARAMS, max_iterations=5
    )
    params = {name: np.float64(value) for name, value in single.params.items()}
    exact = SparseGaussianProcess(kernel, 10).condition(x, y, params)
    np.testing.assert_allclose(single.log_bound, exact.log_bound, rtol=2e-3)


def test_errors():
    x, y = data()
    model = SparseGaussianProcess(kernel, 5)
    with pytest.raises(ValueError, match=r"num_inducing is 0"):
        SparseGaussianProcess(kernel, 0)
    with pytest.raises(ValueError, match=r"x has shape \(5, 2\).*num_inducing = 5, use Gaussian"):
        model.fit(x[:5], y[:5])
    with pytest.raises(ValueError, match=r"they must be \[n, d\] and \[n\]"):
        model.fit(x[np.newaxis], y)
    with pytest.raises(ValueError, match=r"inducing_points has shape \(4, 2\).*\[..., 5, 2\]"):
        model.condition(x, y, PARAMS | {"inducing_points": x[:4]})
    with pytest.raises(ValueError, match="amplitude is nan"):
        model.condition(x, y, PARAMS | {"amplitude": np.nan, "inducing_points": x[:5]})
    with pytest.raises(ValueError, match="fix has nothing"):
        model.fit(x, y, fix={"nothing": 1.0})
