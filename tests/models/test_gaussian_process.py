"""Exact Gaussian processes against scikit-learn, brute force and finite differences."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import finite_differences

from statespace.models import GaussianProcess
from statespace.models.gaussian_process_parameters import Positive

kernels = tfp.math.psd_kernels
PARAMS = {"amplitude": 1.3, "length_scale": 0.7, "noise_variance": 0.04}


def stationary(kernel):
    return lambda amplitude, length_scale: kernel(amplitude, length_scale)


GP = GaussianProcess(stationary(kernels.MaternFiveHalves))


def data(n=30, d=1, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, np.sin(2 * x.sum(axis=1)) + 0.2 * rng.normal(size=n)


def by_scikit_learn(kernel, alpha=0.0):
    """scikit-learn's regressor at PARAMS."""
    gaussian_process = pytest.importorskip("sklearn.gaussian_process")
    k = gaussian_process.kernels
    shape = {
        kernels.ExponentiatedQuadratic: k.RBF(0.7),
        kernels.MaternOneHalf: k.Matern(0.7, nu=0.5),
        kernels.MaternThreeHalves: k.Matern(0.7, nu=1.5),
        kernels.MaternFiveHalves: k.Matern(0.7, nu=2.5),
    }[kernel]
    whole = k.ConstantKernel(1.3**2) * shape + k.WhiteKernel(0.04)
    return gaussian_process.GaussianProcessRegressor(whole, optimizer=None, alpha=alpha)


KERNELS = [
    kernels.ExponentiatedQuadratic,
    kernels.MaternOneHalf,
    kernels.MaternThreeHalves,
    kernels.MaternFiveHalves,
]


def test_lists_of_numbers_are_float64():
    x, y = data(5)
    got, want = (GP.log_marginal_likelihood(PARAMS, *d) for d in ((x.tolist(), y.tolist()), (x, y)))
    np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 3])
def test_equals_scikit_learn(kernel, d):
    x, y = data(40, d)
    reference = by_scikit_learn(kernel).fit(x, y)
    gp = GaussianProcess(stationary(kernel))
    logs = {name: tf.Variable(np.log(value)) for name, value in PARAMS.items()}
    with tf.GradientTape() as tape:
        params = {name: tf.exp(value) for name, value in logs.items()}
        value = gp.log_marginal_likelihood(params, x, y)
    expected, gradient = reference.log_marginal_likelihood(
        reference.kernel_.theta, eval_gradient=True
    )
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    ours = list(tape.gradient(value, logs).values())
    # Theirs is the logarithm of amplitude^2.
    np.testing.assert_allclose(ours, gradient * [2, 1, 1], rtol=1e-9)

    new = np.random.default_rng(1).normal(size=(7, d))
    post = gp.condition(x, y, PARAMS)
    mean, deviation = reference.predict(new, return_std=True)
    np.testing.assert_allclose(post.predict(new).mean(), mean, atol=1e-11)
    np.testing.assert_allclose(post.predict(new).stddev(), deviation, atol=1e-11)
    covariance = reference.predict(new, return_cov=True)[1] - 0.04 * np.eye(7)
    np.testing.assert_allclose(post.joint(new).covariance(), covariance, atol=1e-11)
    np.testing.assert_allclose(
        post.predict(new, noise=False).variance(), np.diag(covariance), atol=1e-11
    )


def test_known_errors_equal_scikit_learn():
    x, y = data()
    errors = np.random.default_rng(2).uniform(0.01, 0.5, size=30)
    reference = by_scikit_learn(kernels.MaternFiveHalves, alpha=errors).fit(x, y)
    value = GP.log_marginal_likelihood(PARAMS, x, y, error_variance=errors)
    np.testing.assert_allclose(value, reference.log_marginal_likelihood_value_, rtol=1e-12)
    post = GP.condition(x, y, PARAMS, error_variance=errors)
    np.testing.assert_allclose(post.predict(x).mean(), reference.predict(x), atol=1e-11)


def test_leave_one_out_by_leaving_one_out():
    x, y = data(12)
    errors = np.linspace(0.01, 0.3, 12)
    gp = GaussianProcess(GP.kernel, mean=lambda x, level: level + x[..., 0])
    params = PARAMS | {"level": 0.3}
    loo = gp.condition(x, y, params, error_variance=errors).leave_one_out()
    for i in range(12):
        rest = np.arange(12) != i
        post = gp.condition(x[rest], y[rest], params, error_variance=errors[rest])
        predicted = post.predict(x[i : i + 1])
        variance = predicted.variance() + errors[i]
        np.testing.assert_allclose(loo.mean[i], predicted.mean()[0], rtol=1e-9)
        np.testing.assert_allclose(loo.variance[i], variance[0], rtol=1e-9)
        density = tfp.distributions.Normal(predicted.mean(), variance**0.5).log_prob(y[i])
        np.testing.assert_allclose(loo.log_density[i], density[0], rtol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_of_everything(kernel):
    x, y = data(8, 2)
    errors = np.linspace(0.05, 0.2, 8)
    gp = GaussianProcess(stationary(kernel), mean=lambda x, slope: slope * x[..., 0])

    def value(x, y, errors, values):
        names = ("amplitude", "length_scale", "noise_variance", "slope")
        params = {
            name: tf.cast(v, tf.float64) for name, v in zip(names, tf.unstack(values), strict=True)
        }
        return gp.log_marginal_likelihood(params, x, y, error_variance=errors)

    arguments = [tf.constant(a) for a in (x, y, errors, np.array([1.3, 0.7, 0.04, 0.5]))]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        result = value(*arguments)
    rng = np.random.default_rng(3)
    for i, gradient in enumerate(tape.gradient(result, arguments)):
        directions = [np.zeros(a.shape) for a in arguments]
        directions[i] = rng.normal(size=arguments[i].shape)
        slope = finite_differences.directional(value, arguments, directions, step=1e-5)
        np.testing.assert_allclose(np.sum(gradient * directions[i]), slope, rtol=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_hessian(kernel):
    x, y = data(10)
    gp = GaussianProcess(stationary(kernel))

    def gradient(values):
        values = tf.convert_to_tensor(values)
        with tf.GradientTape() as tape:
            tape.watch(values)
            params = dict(zip(PARAMS, tf.unstack(values), strict=True))
            result = gp.log_marginal_likelihood(params, x, y)
        return tape.gradient(result, values)

    point = np.array(list(PARAMS.values()))
    values = tf.constant(point)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        first = gradient(values)
    hessian = tape.jacobian(first, values, experimental_use_pfor=False)
    for i in range(3):
        row = finite_differences.gradient(lambda v, i=i: gradient(v)[i], [point], step=1e-4)[0]
        np.testing.assert_allclose(hessian[i], row, rtol=1e-6, atol=1e-6)


def test_gradient_of_a_prediction_by_its_input():
    x, y = data(8, 2)
    post = GP.condition(x, y, PARAMS)
    new = tf.constant(data(3, 2, seed=5)[0])

    def value(new):
        mean, variance = post.mean_and_variance(new)
        return tf.reduce_sum(mean + tf.sqrt(variance))

    with tf.GradientTape() as tape:
        tape.watch(new)
        result = value(new)
    expected = finite_differences.gradient(value, [new])[0]
    np.testing.assert_allclose(tape.gradient(result, new), expected, rtol=1e-6, atol=1e-8)


@settings(max_examples=15)
@given(
    batch=st.sampled_from([(), (1,), (3,), (2, 3), (0,)]),
    n=st.integers(0, 6),
    d=st.integers(1, 3),
    dtype=st.sampled_from([np.float32, np.float64]),
    shared=st.sampled_from(["nothing", "inputs", "observations", "params"]),
)
def test_a_batch_is_a_loop(batch, n, d, dtype, shared):
    rng = np.random.default_rng(n + d)
    x = rng.normal(size=(*(() if shared == "inputs" else batch), n, d)).astype(dtype)
    y = rng.normal(size=(*(() if shared == "observations" else batch), n)).astype(dtype)
    own = () if shared == "params" else batch
    params = {k: (v * rng.uniform(0.8, 1.2, size=own)).astype(dtype) for k, v in PARAMS.items()}
    new = rng.normal(size=(4, d)).astype(dtype)
    post = GP.condition(x, y, params)
    if not batch or 0 in batch:
        assert post.predict(new).mean().shape == (*batch, 4)
        assert post.log_marginal_likelihood.shape == batch
        return
    x, y = np.broadcast_to(x, (*batch, n, d)), np.broadcast_to(y, (*batch, n))
    tolerance = {np.float32: 2e-4, np.float64: 1e-12}[dtype]
    for index in np.ndindex(*batch):
        own = {name: np.broadcast_to(v, batch)[index] for name, v in params.items()}
        one = GP.condition(x[index], y[index], own)
        for ours, theirs in (
            (post.log_marginal_likelihood, one.log_marginal_likelihood),
            (post.predict(new).mean(), one.predict(new).mean()),
            (post.predict(new).variance(), one.predict(new).variance()),
            (post.leave_one_out().mean, one.leave_one_out().mean),
            (post.sample(new, 2, seed=1)[0], None),
        ):
            assert ours.dtype == dtype
            if theirs is not None:
                np.testing.assert_allclose(ours[index], theirs, rtol=tolerance, atol=tolerance)


def test_float32():
    x, y = data()
    exact = GP.condition(x, y, PARAMS)
    post = GP.condition(x.astype(np.float32), y.astype(np.float32), PARAMS)
    new = np.linspace(-2, 2, 9)[:, np.newaxis]
    np.testing.assert_allclose(
        post.predict(new.astype(np.float32)).mean(), exact.predict(new).mean(), atol=2e-5
    )
    np.testing.assert_allclose(
        post.log_marginal_likelihood, exact.log_marginal_likelihood, rtol=2e-5
    )


def test_draws_have_the_moments_of_the_posterior():
    x, y = data(6)
    post = GP.condition(x, y, PARAMS)
    new = np.linspace(-1, 1, 4)[:, np.newaxis]
    draws = post.sample(new, 20000, seed=3).numpy()
    joint = post.joint(new)
    covariance = joint.covariance().numpy()
    error = 5 * np.sqrt(np.diag(covariance) / 20000)
    assert np.all(np.abs(draws.mean(axis=0) - joint.mean()) < error)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=6 * covariance.max() / 20000**0.5)
    noisy = post.sample(new, 20000, seed=3, noise=True).numpy()
    np.testing.assert_allclose(noisy.var(axis=0), np.diag(covariance) + 0.04, rtol=0.05)
    again = tf.function(lambda: post.sample(new, 20000, seed=3))()
    np.testing.assert_allclose(again, draws, atol=1e-12)


def test_draws_at_repeated_inputs_agree():
    x, y = data(6)
    draws = GP.condition(x, y, PARAMS).sample(np.zeros((3, 1)), 5, seed=0).numpy()
    np.testing.assert_allclose(draws[:, 1:], draws[:, :1] * np.ones((5, 2)), atol=1e-6)


def test_without_observations_it_is_the_prior():
    post = GP.condition(np.zeros((0, 2)), np.zeros(0), PARAMS)
    assert post.log_marginal_likelihood == 0
    np.testing.assert_allclose(post.predict(np.zeros((3, 2))).variance(), 1.3**2 + 0.04)


def test_an_argument_with_a_default_is_no_parameter():
    gp = GaussianProcess(lambda amplitude, nu=2.5: kernels.GeneralizedMatern(nu, amplitude, 0.7))
    assert [p.name for p in gp.parameters] == ["amplitude", "noise_variance"]


def test_a_kernel_without_parameters():
    x, y = data()
    kernel = kernels.MaternFiveHalves(np.float64(1.3), np.float64(0.7))
    gp = GaussianProcess(kernel)
    assert [parameter.name for parameter in gp.parameters] == ["noise_variance"]
    np.testing.assert_allclose(
        gp.condition(x, y, {"noise_variance": 0.04}).log_marginal_likelihood,
        GP.log_marginal_likelihood(PARAMS, x, y),
        rtol=1e-14,
    )
    with pytest.raises(ValueError, match="kernel is float64 and x is float32"):
        gp.condition(x.astype(np.float32), y.astype(np.float32), {"noise_variance": 0.04})


def test_in_a_graph_and_with_xla():
    x, y = data()
    expected = GP.log_marginal_likelihood(PARAMS, x, y)
    for jit in (False, True):
        value = tf.function(GP.log_marginal_likelihood, jit_compile=jit)
        np.testing.assert_allclose(value(PARAMS, x, y), expected, rtol=1e-10)


class TestErrors:
    def test_a_matrix_that_is_not_positive_definite(self):
        x = np.array([[[0.0], [1.0], [2.0]], [[0.0], [1.0], [1.0]]])
        params = PARAMS | {"amplitude": 1.0, "noise_variance": 0.0}
        smooth = GaussianProcess(stationary(kernels.ExponentiatedQuadratic))
        with pytest.raises(ValueError, match=r"batch item \[1\].*observation 2 .*by (\S+) is") as e:
            smooth.condition(x, np.zeros(3), params)
        enough = float(str(e.value).split("larger by ")[1].split()[0])
        assert 0 < enough < 1e-12
        post = smooth.condition(x, np.zeros(3), params | {"noise_variance": enough})
        assert np.isfinite(post.log_marginal_likelihood).all()
        value = smooth.log_marginal_likelihood(params, x, np.zeros(3), on_failure="nan")
        np.testing.assert_array_equal(np.isnan(value), [False, True])

    def test_in_a_graph(self):
        value = tf.function(GP.log_marginal_likelihood)
        params = PARAMS | {"amplitude": 1.0, "noise_variance": 0.0}
        with pytest.raises(tf.errors.InvalidArgumentError, match="not positive definite"):
            value(params, np.zeros((3, 1)), np.zeros(3))

    def test_a_parameter_that_is_not_finite(self):
        for change, message in (
            ({"amplitude": np.nan}, r"amplitude is nan; it must be finite and not negative"),
            ({"noise_variance": -1.0}, r"noise_variance is -1\.0; it must be finite and not neg"),
            ({"length_scale": [1.0, -2.0]}, r"length_scale\[1\] is -2\.0"),
        ):
            with pytest.raises(ValueError, match=message):
                GP.condition(*data(), PARAMS | change)
        for method in ("dense", "state_space"):
            gp = GaussianProcess(GP.kernel, method=method)
            with pytest.raises(ValueError, match="parameter of the kernel is out of its range"):
                gp.condition(*data(), PARAMS | {"length_scale": 0.0})
            for value in (np.nan, 0.0):
                params = PARAMS | {"length_scale": value}
                assert np.isnan(gp.log_marginal_likelihood(params, *data(), on_failure="nan"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"x": np.zeros(5)}, r"x has shape \(5,\).*np.newaxis"),
            ({"x": np.zeros((4, 1))}, r"y \(5,\).*same n"),
            ({"x": np.zeros((5, 1), np.float32)}, "y is float64 and x is float32"),
            ({"x": np.zeros((5, 1), int)}, "x is int64"),
            ({"y": np.array([0, 1, np.nan, 0, 0])}, r"y\[2\] is nan; leave"),
            ({"x": np.full((5, 1), np.inf)}, r"x\[0, 0\] is inf"),
            ({"x": None}, "x is no array of numbers"),
            ({"error_variance": "much"}, "error_variance is no array of numbers"),
            ({"params": PARAMS | {"amplitude": "a"}}, "amplitude is no array of numbers"),
            ({"params": [1.0, 1.0, 1.0]}, "params is a list; it must be a dict"),
            (
                {"x": np.zeros((2, 5, 1)), "params": PARAMS | {"amplitude": np.ones(3)}},
                r"amplitude has shape \(3,\); its leading axes \(3,\).*batch \(2,\)",
            ),
            ({"error_variance": np.array([0, 0, 0, -1.0, 0])}, r"error_variance\[3\] is -1"),
            ({"error_variance": np.zeros(4)}, r"error_variance has shape \(4,\)"),
            ({"params": {"amplitude": 1.0}}, "parameters are amplitude, length_scale, noise"),
            ({"params": PARAMS | {"amplitude": tf.ones([], tf.float32)}}, "amplitude is float32"),
        ],
    )
    def test_arguments(self, change, message):
        good = {"x": np.zeros((5, 1)), "y": np.zeros(5), "params": PARAMS}
        with pytest.raises(ValueError, match=message):
            GP.condition(**(good | change))

    def test_inputs_of_a_prediction(self):
        post = GP.condition(*data(), PARAMS)
        with pytest.raises(ValueError, match="d = 1"):
            post.predict(np.zeros((3, 2)))
        with pytest.raises(ValueError, match="float32 and x is float64"):
            post.predict(np.zeros((3, 1), np.float32))
        with pytest.raises(ValueError, match=r"sample: seed is \[1, 2, 3\]; it must be an int"):
            post.sample(np.zeros((3, 1)), 1, seed=[1, 2, 3])

        batch = GP.condition(np.zeros((2, 5, 1)), np.zeros(5), PARAMS)
        with pytest.raises(ValueError, match=r"x has shape \(3, 5, 1\).*batch \(2,\)"):
            batch.predict(np.zeros((3, 5, 1)))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kernel": "rbf"}, "kernel is 'rbf'; it must be a function"),
            ({"kernel": kernels.MaternOneHalf}, "kernel is <class .*; it must be a function"),
            ({"kernel": lambda *scales: None}, r"kernel has the argument \*scales"),
            ({"mean": 3.0}, r"mean is 3\.0; it must be a function"),
            ({"parameters": [Positive("amplitude")] * 2}, "parameters has amplitude twice"),
        ],
    )
    def test_what_a_model_is_made_of(self, change, message):
        with pytest.raises(ValueError, match=message):
            GaussianProcess(**({"kernel": GP.kernel} | change))

    def test_what_functions_return(self):
        x, y = data()
        with pytest.raises(ValueError, match="kernel returns a NoneType"):
            GaussianProcess(lambda amplitude, length_scale: None).condition(x, y, PARAMS)
        # A column of inputs would broadcast to n data sets.
        with pytest.raises(ValueError, match=r"mean returns the shape \(30, 1\).*x\[..., 0\]"):
            GaussianProcess(GP.kernel, mean=lambda x: x).condition(x, y, PARAMS)
        gp = GaussianProcess(GP.kernel, feature_map=lambda rows, training: rows[:, 0])
        with pytest.raises(ValueError, match="feature_map makes the shape"):
            gp.condition(x, y, PARAMS)

    def test_names_of_parameters(self):
        with pytest.raises(ValueError, match="amplitude is the name of two"):
            GaussianProcess(GP.kernel, mean=lambda x, amplitude: amplitude)
        with pytest.raises(ValueError, match="parameters has lengthscale"):
            GaussianProcess(GP.kernel, parameters=[Positive("lengthscale")])
        vector = GaussianProcess(GP.kernel, parameters=[Positive("length_scale", (2,))])
        with pytest.raises(ValueError, match=r"length_scale has shape \(\); it must be \[..., 2\]"):
            vector.condition(*data(), PARAMS)
