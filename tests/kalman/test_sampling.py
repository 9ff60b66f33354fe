"""Draws from the model and from the states given data."""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES, build, dense, random_data, random_parameters
from oracles import dense as oracle
from oracles.finite_differences import directional
from statsmodels.tsa.statespace.simulation_smoother import SimulationSmoother

import statespace as ss
from statespace.kalman import sampling
from statespace.kalman.inference import prepare

T = 5
CASES = {  # name: (batch of the data, lead of per-step parameters, batch of initial ones, n, m, k)
    "one series": ((), (), (), 2, 1, 2),
    "time-varying": ((), (T,), (), 3, 2, 2),
    "one axis of one step": ((), (1,), (), 2, 2, 1),
    "batch, shared": ((3,), (), (), 2, 2, 1),
    "batch, both": ((3,), (3, T), (3,), 3, 2, 3),
    "no noise in the transition": ((2,), (T,), (), 2, 1, 0),
    "two batch axes": ((2, 3), (3, 1), (2, 1), 2, 2, 2),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    batch, lead, initial, n, m, k = request.param
    rng = np.random.default_rng(0)
    parameters = random_parameters(rng, n, m, k=k, lead=lead, batch=initial)
    return parameters, random_data(rng, batch, T, m), batch


def unit_variates(parameters, batch, num_steps=T):
    """All variates zero, then one of them 1 at a time, as draws."""
    sizes = [
        (parameters["initial_scale"].shape[-1],),
        (num_steps - 1, parameters["transition_scale"].shape[-1]),
        (num_steps, parameters["observation_scale"].shape[-1]),
    ]
    count = sum(map(np.prod, sizes))
    flat = np.concatenate([np.zeros((1, count)), np.eye(count)])
    parts = np.split(flat, np.cumsum([np.prod(size) for size in sizes])[:-1], axis=-1)
    ones = (1,) * len(batch)
    return sampling.Variates(
        *(
            tf.broadcast_to(x.reshape(count + 1, *ones, *size), (count + 1, *batch, *size))
            for x, size in zip(parts, sizes, strict=True)
        )
    )


def affine(draws, item):
    """Value at zero variates, and covariance J J' of the affine map of standard normals."""
    draws = draws.numpy()[(slice(None), *item)]
    jacobian = (draws[1:] - draws[0]).reshape(len(draws) - 1, -1)
    shape = draws.shape[1:]
    return draws[0], (jacobian.T @ jacobian).reshape(*shape, *shape)


def test_model_draws_are_the_joint_gaussian(case, native):
    """Exactly: the map from variates is affine, with the joint moments as offset and J J'."""
    parameters, _, batch = case
    named = {name: tf.constant(x) for name, x in parameters.items()}
    states, observations = sampling.model_paths(named, unit_variates(parameters, batch))
    for item in np.ndindex(*batch):
        model = dense(parameters, item, batch, T)
        expected, expected_covariance = oracle.joint_moments(model)
        mean, covariance = affine(states, item)
        np.testing.assert_allclose(mean.ravel(), expected, rtol=1e-12, atol=1e-12)
        covariance = covariance.reshape(expected_covariance.shape)
        np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-12, atol=1e-12)
        mean, covariance = affine(observations, item)
        expected, expected_covariance = oracle.observation_moments(model)
        np.testing.assert_allclose(mean.ravel(), expected, rtol=1e-12, atol=1e-12)
        covariance = covariance.reshape(expected_covariance.shape)
        np.testing.assert_allclose(covariance, expected_covariance, rtol=1e-12, atol=1e-12)


def test_posterior_draws_are_the_posterior(case, native):
    """Exactly, likewise: smoothed mean, and covariances within and between all times."""
    parameters, y, batch = case
    form, inputs = prepare("test", build(parameters), y, None, None, "auto", "nan")
    paths, info = sampling.posterior_paths(form, inputs, unit_variates(parameters, batch))
    assert not np.any(info)
    for item in np.ndindex(*batch):
        expected = oracle.posterior(dense(parameters, item, batch, T), y[item])
        for x, z in zip(affine(paths, item), expected, strict=True):
            np.testing.assert_allclose(x, z, rtol=1e-11, atol=1e-11)


def test_posterior_draws_against_statsmodels():
    """The same variates give the same path."""
    rng = np.random.default_rng(1)
    parameters = random_parameters(rng, 3, 2, k=2)
    for name in ("observation_scale", "initial_scale"):  # Cholesky factors, as statsmodels makes
        x = parameters[name]
        parameters[name] = np.linalg.cholesky(x @ x.T)
    y = random_data(rng, (), 8, 2)
    model = SimulationSmoother(k_endog=2, k_states=3, k_posdef=2)
    model.bind(y)
    model["design"], model["obs_intercept"] = (
        parameters["observation_matrix"],
        parameters["observation_offset"],
    )
    model["transition"], model["state_intercept"] = (
        parameters["transition_matrix"],
        parameters["transition_offset"],
    )
    model["selection"], model["state_cov"] = parameters["transition_scale"], np.eye(2)
    c, s0 = parameters["observation_scale"], parameters["initial_scale"]
    model["obs_cov"] = c @ c.T
    model.initialize_known(parameters["initial_mean"], s0 @ s0.T)
    z, q, r = rng.normal(size=3), rng.normal(size=(8, 2)), rng.normal(size=(8, 2))
    simulation = model.simulation_smoother()
    simulation.simulate(
        measurement_disturbance_variates=r,
        state_disturbance_variates=q,
        initial_state_variates=z,
    )
    form, inputs = prepare("test", build(parameters), y, None, None, "auto", "nan")
    variates = sampling.Variates(*(tf.constant(x) for x in (z, q[:-1], r)))
    paths, _ = sampling.posterior_paths(form, inputs, variates)
    np.testing.assert_allclose(paths, simulation.simulated_state.T, rtol=1e-9, atol=1e-9)


def assert_moments(draws, mean, covariance):
    """Mean and full covariance of draws [S, ...] within five standard errors."""
    draws = draws.reshape(len(draws), -1)
    error = np.sqrt(np.diag(covariance) / len(draws))
    assert np.max(np.abs(draws.mean(0) - mean) / error) < 5
    variances = np.diag(covariance)
    error = np.sqrt((np.outer(variances, variances) + covariance**2) / len(draws))
    assert np.max(np.abs(np.cov(draws.T) - covariance) / error) < 5


def test_moments_of_many_draws():
    """That the variates themselves are independent standard normals."""
    rng = np.random.default_rng(2)
    parameters = random_parameters(rng, 2, 2, lead=(2, T), batch=(2,))
    y = random_data(rng, (2,), T, 2)
    states, observations = ss.sample(build(parameters), T, sample_shape=(100, 200), seed=3)
    assert states.shape == observations.shape == (100, 200, 2, T, 2)
    paths = ss.sample_posterior(build(parameters), y, 20000, seed=4)
    assert paths.shape == (20000, 2, T, 2)
    for item in range(2):
        model = dense(parameters, (item,), (2,), T)
        mean, covariance = oracle.joint_moments(model)
        assert_moments(states.numpy()[:, :, item].reshape(-1, 2 * T), mean, covariance)
        drawn = observations.numpy()[:, :, item].reshape(-1, 2 * T)
        assert_moments(drawn, *oracle.observation_moments(model))
        mean, covariance = oracle.posterior(model, y[item])
        size = 2 * T
        assert_moments(paths.numpy()[:, item], mean.ravel(), covariance.reshape(size, size))
    # The two series are independent of each other.
    both = paths.numpy().reshape(20000, 2, -1)
    correlation = np.corrcoef(both[:, 0].T, both[:, 1].T)[: 2 * T, 2 * T :]
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(20000)


def test_nothing_observed_leaves_the_model():
    parameters = random_parameters(np.random.default_rng(5), 2, 1)
    form, inputs = prepare(
        "test", build(parameters), np.full((T, 1), np.nan), None, None, "auto", "nan"
    )
    variates = unit_variates(parameters, ())
    paths, _ = sampling.posterior_paths(form, inputs, variates)
    named = {name: tf.constant(x) for name, x in parameters.items()}
    np.testing.assert_allclose(paths, sampling.model_paths(named, variates)[0], atol=1e-13)


def test_mask_and_lengths():
    rng = np.random.default_rng(6)
    ssm = build(random_parameters(rng, 2, 2))
    y, lengths = random_data(rng, (3,), T, 2, missing=0.0), np.array([T, 2, 0])
    seen = np.broadcast_to(np.arange(T) < lengths[:, None], (3, T))
    expected = ss.sample_posterior(ssm, np.where(seen[..., None], y, np.nan), 4, seed=1)
    for options in ({"mask": seen}, {"lengths": lengths}):
        np.testing.assert_array_equal(ss.sample_posterior(ssm, y, 4, seed=1, **options), expected)


def draw_all(parameters, y, seed=5):
    """Both kinds of draws, flat."""
    ssm = build(parameters, y.dtype)
    return [
        *ss.sample(ssm, T, sample_shape=2, seed=seed),
        ss.sample_posterior(ssm, y, 3, seed=seed),
    ]


@pytest.mark.parametrize(("jit", "lead"), [(False, (3, T)), (True, ()), (True, (3, T))])
def test_graph_and_xla_equal_eager(jit, lead):
    rng = np.random.default_rng(7)
    parameters = random_parameters(rng, 2, 1, lead=lead, batch=lead[:1])
    y = tf.constant(random_data(rng, (3,), T, 1))
    tensors = {name: tf.constant(x) for name, x in parameters.items()}
    compiled = tf.function(draw_all, jit_compile=jit)(tensors, y)
    for x, z in zip(compiled, draw_all(tensors, y), strict=True):
        assert x.shape == z.shape
        np.testing.assert_allclose(x, z, rtol=1e-12, atol=1e-12)


def test_unknown_static_shapes():
    rng = np.random.default_rng(8)
    parameters = random_parameters(rng, 2, 1)
    signature = [tf.TensorSpec([None, None, 1], tf.float64)]
    function = tf.function(
        lambda y: ss.sample_posterior(build(parameters), y, 2, seed=1), input_signature=signature
    )
    for shape in ((3, 5), (2, 1), (0, 4), (2, 0)):
        y = random_data(rng, shape[:1], shape[1], 1)
        expected = ss.sample_posterior(build(parameters), y, 2, seed=1)
        assert expected.shape == (2, *shape, 2)
        np.testing.assert_allclose(function(y), expected, rtol=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2])
def test_few_steps(num_steps, native):
    rng = np.random.default_rng(9)
    parameters = random_parameters(rng, 2, 1, lead=(num_steps,))
    y = random_data(rng, (), num_steps, 1, missing=0.0)
    form, inputs = prepare("test", build(parameters), y, None, None, "auto", "nan")
    variates = unit_variates(parameters, (), num_steps)
    expected = oracle.posterior(dense(parameters, (), (), num_steps), y)
    for x, z in zip(
        affine(sampling.posterior_paths(form, inputs, variates)[0], ()), expected, strict=True
    ):
        np.testing.assert_allclose(x, z, rtol=1e-11, atol=1e-11)
    assert ss.sample(build(parameters), num_steps, seed=1).states.shape == (num_steps, 2)


def test_seeds():
    rng = np.random.default_rng(10)
    ssm, y = build(random_parameters(rng, 2, 1)), random_data(rng, (), T, 1)

    def draw(seed):
        return ss.sample_posterior(ssm, y, 2, seed=seed).numpy()

    expected = draw(7)
    for same in (np.int32(7), tf.constant(7), [0, 7], tf.constant([0, 7], tf.int64)):
        np.testing.assert_array_equal(draw(same), expected)
    for other in (8, [1, 7], [7, 0], -7, 7 + 2**40):
        assert np.all(draw(other) != expected)
    for wrong in (None, 1.0, "a", [1, 2, 3], 2**70):
        with pytest.raises(ValueError, match="sample_posterior: seed is"):
            draw(wrong)


def test_many_models_on_one_series(native):
    rng = np.random.default_rng(11)
    parameters = random_parameters(rng, 2, 1, lead=(4, 1), batch=(4,))
    y = random_data(rng, (), T, 1)
    together = ss.sample_posterior(build(parameters), y, 3, seed=1)
    repeated = ss.sample_posterior(build(parameters), np.stack([y] * 4), 3, seed=1)
    np.testing.assert_allclose(together, repeated, rtol=1e-12)
    assert ss.sample(build(parameters), T, sample_shape=(2, 3), seed=1).states.shape == (
        2,
        3,
        4,
        T,
        2,
    )


@pytest.mark.parametrize("lead", [(), (T,), (2, T)])
def test_gradients(lead):
    """Of given draws, for data and all parameters at once along one random direction."""
    rng = np.random.default_rng(12)
    parameters = random_parameters(rng, 2, 2, lead=lead, batch=lead[:-1])
    y = random_data(rng, (2,), T, 2)
    weights = [
        rng.normal(size=(2, *lead[:-1], T, 2)),
        rng.normal(size=(2, *lead[:-1], T, 2)),
        rng.normal(size=(3, 2, T, 2)),
    ]

    def function(y, *arguments):
        draws = draw_all(dict(zip(NAMES, arguments, strict=True)), y)
        return tf.add_n([tf.reduce_sum(w * x) for w, x in zip(weights, draws, strict=True)])

    arguments = [y, *(parameters[name] for name in NAMES)]
    directions = [rng.normal(size=x.shape) for x in arguments]
    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = function(*variables)
    gradients = tape.gradient(value, variables)
    compiled = tf.function(function)
    for which, (gradient, name) in enumerate(zip(gradients, ("y", *NAMES), strict=True)):
        only = [d if i == which else np.zeros_like(d) for i, d in enumerate(directions)]
        expected = directional(lambda *x: compiled(*(tf.constant(v) for v in x)), arguments, only)
        assert np.isclose(np.sum(gradient * directions[which]), expected, rtol=1e-8, atol=1e-8), (
            name
        )
    np.testing.assert_array_equal(gradients[0].numpy()[np.isnan(y)], 0.0)


def test_failure_stays_within_its_series(native):
    rng = np.random.default_rng(13)
    parameters = random_parameters(rng, 2, 1, lead=(3, T), batch=(3,))
    y = random_data(rng, (3,), T, 1, missing=0.0)
    expected = ss.sample_posterior(build(parameters), y, 2, seed=1)
    parameters["observation_scale"][1, 3] = parameters["observation_matrix"][1, 3] = 0.0
    draws = ss.sample_posterior(build(parameters), y, 2, seed=1)
    assert np.all(np.isnan(draws[:, 1]))
    for item in (0, 2):
        np.testing.assert_array_equal(draws[:, item], expected[:, item])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"sample_posterior.*\[0, 1\].* 4"):
        ss.sample_posterior(build(parameters), y, 2, seed=1, on_failure="raise")


def test_overflow_is_a_failure(native):
    """Also of the part that is only simulated, where nothing is observed that would tell."""
    parameters = random_parameters(np.random.default_rng(14), 1, 1)
    parameters["transition_matrix"] = np.array([[1e150]])
    y = np.full((T, 1), np.nan)
    assert np.all(np.isnan(ss.sample_posterior(build(parameters), y, 2, seed=1)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="sample_posterior"):
        ss.sample_posterior(build(parameters), y, 2, seed=1, on_failure="raise")


def test_numbers_nobody_uses_may_be_nan(native):
    """The transition beyond the data, and the regressors of a component never observed."""
    rng = np.random.default_rng(15)
    parameters = random_parameters(rng, 2, 2, lead=(T,))
    y = random_data(rng, (), T, 2)
    y[:, 1] = np.nan

    def run(parameters):
        variables = [tf.constant(parameters[name]) for name in NAMES]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            ssm = build(dict(zip(NAMES, variables, strict=True)))
            paths = ss.sample_posterior(ssm, y, 2, seed=1)
            total = tf.reduce_sum(paths**2)
        return [paths, *tape.gradient(total, variables)]

    parameters["observation_matrix"][:, 1] = 0.0
    expected = run(parameters)
    parameters["observation_matrix"][:, 1] = np.nan
    for name in ("transition_matrix", "transition_scale", "transition_offset"):
        parameters[name][T - 1] = np.nan
    for x, z in zip(run(parameters), expected, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-11, atol=1e-11)


def test_float32():
    rng = np.random.default_rng(16)
    parameters = random_parameters(rng, 3, 2, lead=(2, T), batch=(2,))
    y = random_data(rng, (2,), T, 2)
    single = build(parameters, tf.float32)
    form, inputs = prepare("test", single, y.astype(np.float32), None, None, "auto", "nan")
    variates = unit_variates(parameters, (2,))
    paths, _ = sampling.posterior_paths(
        form, inputs, sampling.Variates(*(tf.cast(x, tf.float32) for x in variates))
    )
    form, inputs = prepare("test", build(parameters), y, None, None, "auto", "nan")
    expected, _ = sampling.posterior_paths(form, inputs, variates)
    assert paths.dtype == tf.float32
    np.testing.assert_allclose(paths, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lead", [(), (T,)])
@pytest.mark.parametrize("jit", [False, True])
def test_number_of_steps_is_a_tensor(lead, jit):
    """Known or not: the draws are those of an int."""
    ssm = build(random_parameters(np.random.default_rng(20), 2, 1, lead=lead))
    expected = ss.sample(ssm, T, sample_shape=2, seed=1)

    def draw(num_steps):
        return ss.sample(ssm, num_steps, sample_shape=2, seed=1)

    def draw_like(y):
        return draw(tf.shape(y)[0])

    for num_steps in (tf.constant(T), tf.constant(T, tf.uint8), tf.Variable(T), np.array(T)):
        for x, z in zip(draw(num_steps), expected, strict=True):
            np.testing.assert_array_equal(x, z)
    for function, spec, argument in (
        (draw, tf.TensorSpec([], tf.int64), tf.constant(T, tf.int64)),
        (draw, tf.TensorSpec(None, tf.int32), tf.constant(T)),
        (draw_like, tf.TensorSpec([None]), tf.zeros([T])),
    ):
        compiled = tf.function(function, input_signature=[spec], jit_compile=jit)
        for x, z in zip(compiled(argument), expected, strict=True):
            np.testing.assert_allclose(x, z, rtol=1e-12, atol=1e-12)


def test_refuses_a_tensor_as_number_of_steps():
    constant = build(random_parameters(np.random.default_rng(21), 2, 1))
    parameters = random_parameters(np.random.default_rng(22), 2, 1, lead=(T,))
    for wrong in (0, -1, 2.0, True, [3], [[3, 4]]):
        with pytest.raises(ValueError, match=r"sample: num_steps .* positive int"):
            ss.sample(constant, tf.constant(wrong), seed=1)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int32)])
    def draw(num_steps):
        return ss.sample(constant, num_steps, seed=1).states

    for wrong in (0, -1, [3], [[3, 4]]):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"sample: num_steps must be a pos"
        ):
            draw(tf.constant(wrong))
    with pytest.raises(ValueError, match=r"positive int.*it is float32 with shape \(\)"):
        tf.function(lambda x: ss.sample(constant, x, seed=1))(tf.constant(2.0))

    only = random_parameters(np.random.default_rng(23), 2, 1)
    only["transition_matrix"] = parameters["transition_matrix"]
    scalar, steps = tf.TensorSpec([], tf.int32), tf.TensorSpec([None, 2, 2], tf.float64)
    message = r"sample: transition_matrix varies over another number of steps than num_steps"

    @tf.function(input_signature=[scalar, steps])
    def vary(num_steps, transition_matrix):
        ssm = build(only | {"transition_matrix": transition_matrix})
        return ss.sample(ssm, num_steps, seed=1).states

    @tf.function(input_signature=[steps])
    def unknown_steps(transition_matrix):
        return ss.sample(build(only | {"transition_matrix": transition_matrix}), 4, seed=1).states

    varying = tf.constant(only["transition_matrix"])
    assert vary(T, varying).shape == (T, 2)
    assert vary(7, varying[:1]).shape == (7, 2)
    for wrong in (1, T - 1, T + 1):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            vary(wrong, varying)
    assert unknown_steps(varying[:4]).shape == (4, 2)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        unknown_steps(varying)
    with pytest.raises(ValueError, match=r"varies over 5 steps, but num_steps is 4"):
        ss.sample(build(only), tf.constant(4), seed=1)
    # XLA cannot raise such an error, but it draws nothing of a wrong length.
    compiled = tf.function(lambda n: ss.sample(build(only), n, seed=1).states, jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="reshape"):
        compiled(tf.constant(4))


def test_refuses_by_name():
    ssm = build(random_parameters(np.random.default_rng(17), 2, 1, lead=(T,)))
    with pytest.raises(
        ValueError, match=r"sample: transition_matrix .*varies over 5 .*num_steps is 4"
    ):
        ss.sample(ssm, 4, seed=1)
    for wrong in (0, 2.0, True, None):
        with pytest.raises(ValueError, match="sample: num_steps"):
            ss.sample(ssm, wrong, seed=1)
        with pytest.raises(ValueError, match="sample_posterior: num_samples"):
            ss.sample_posterior(ssm, np.zeros((T, 1)), wrong, seed=1)
    for wrong in (-1, (2, -1), 2.5, "a", None):
        with pytest.raises(ValueError, match="sample: sample_shape"):
            ss.sample(ssm, T, sample_shape=wrong, seed=1)
    with pytest.raises(ValueError, match="sample: seed"):
        ss.sample(ssm, T, seed=None)
    with pytest.raises(ValueError, match="sample: ssm is a str"):
        ss.sample("ssm", T, seed=1)
    uneven = random_parameters(np.random.default_rng(18), 2, 1, lead=(3, 1), batch=(2,))
    with pytest.raises(ValueError, match=r"initial_mean .*do not broadcast"):
        ss.sample(build(uneven), T, seed=1)


def test_diffuse_states_have_nothing_to_draw_from():
    parameters = random_parameters(np.random.default_rng(19), 2, 1)
    ssm = ss.LinearGaussianSSM(**parameters, diffuse=[True, False])
    with pytest.raises(
        ValueError, match=r"sample: the model has diffuse.*initial_variance.*posterior"
    ):
        ss.sample(ssm, T, seed=1)
