"""Missing data, broadcasting, failure and refusals."""

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import NAMES, build, floating, random_data, random_parameters, tensors

import statespace as ss

T = 5


@pytest.fixture
def parameters():
    return random_parameters(np.random.default_rng(0), 2, 2)


def test_mask_equals_nan(parameters, native):
    y = random_data(np.random.default_rng(1), (3,), T, 2)
    seen, filled = ~np.isnan(y), np.nan_to_num(y, nan=7.0)
    expected = ss.log_likelihood(build(parameters), y)
    np.testing.assert_array_equal(ss.log_likelihood(build(parameters), filled, mask=seen), expected)
    rows = seen.all(-1)
    whole = np.where(rows[..., None], y, np.nan)
    np.testing.assert_array_equal(
        ss.log_likelihood(build(parameters), filled, mask=rows),
        ss.log_likelihood(build(parameters), whole),
    )
    # One mask over steps for all series.
    np.testing.assert_array_equal(
        ss.log_likelihood(build(parameters), filled, mask=rows[0]),
        ss.log_likelihood(build(parameters), np.where(rows[0][:, None], filled, np.nan)),
    )


def test_mask_of_unknown_shape_is_read_by_its_rank(parameters, native):
    y = random_data(np.random.default_rng(1), (3,), T, 2, missing=0.0)
    rows = np.random.default_rng(2).random((3, T)) < 0.6
    expected = ss.log_likelihood(build(parameters), y, mask=rows)
    for mask in (rows, np.repeat(rows[..., None], 2, -1)):
        signature = [tf.TensorSpec([None] * 3, tf.float64), tf.TensorSpec([None] * mask.ndim, bool)]
        function = tf.function(
            lambda y, mask: ss.log_likelihood(build(parameters), y, mask=mask),
            input_signature=signature,
        )
        np.testing.assert_allclose(function(y, mask), expected)


def test_nothing_observed_leaves_the_prior(parameters, algorithm, native):
    y = np.full((3, T, 2), np.nan)
    result = ss.kalman_smoother(build(parameters), y, algorithm=algorithm)
    np.testing.assert_array_equal(result.log_likelihood, np.zeros(3))
    filtered = ss.kalman_filter(build(parameters), y, algorithm=algorithm)
    np.testing.assert_array_equal(filtered.predicted_mean[:, 0], [parameters["initial_mean"]] * 3)
    np.testing.assert_allclose(result.smoothed_mean, filtered.predicted_mean, rtol=1e-12)


@pytest.mark.parametrize("infer", [ss.log_likelihood, ss.kalman_filter, ss.kalman_smoother])
def test_parameters_broadcast_by_numpy_rules(infer, native):
    rng = np.random.default_rng(2)
    y = random_data(rng, (2, 3), T, 2)
    for lead in ((), (1,), (T,), (3, 1), (3, T), (2, 1, 1), (2, 3, T), (1, 3, 1)):
        parameters = random_parameters(rng, 2, 2, lead=lead)
        full = dict(parameters)
        for name in NAMES[:6]:
            core = parameters[name].shape[len(lead) :]
            full[name] = np.broadcast_to(parameters[name], (2, 3, T, *core))
        got, expected = infer(build(parameters), y), infer(build(full), y)
        for x, z in zip(tensors(got), tensors(expected), strict=True):
            np.testing.assert_allclose(x, z, rtol=1e-12, atol=1e-12)


def test_many_models_on_one_series(native):
    rng = np.random.default_rng(3)
    parameters = random_parameters(rng, 2, 1, lead=(4, 1), batch=(4,))
    y = random_data(rng, (), T, 1)
    together = ss.log_likelihood(build(parameters), y)
    assert together.shape == (4,)
    for item in range(4):
        one = {name: x[item] for name, x in parameters.items()}
        np.testing.assert_allclose(together[item], ss.log_likelihood(build(one), y), rtol=1e-13)


@pytest.fixture(params=[name for name in ss.kalman.ALGORITHMS if name != "reference"])
def algorithm(request):
    """Every form of the recursion, and "auto"; the reference is what ``native`` switches to."""
    return request.param


def failing(bad):
    """Six series of which one has no noise in anything: its innovation variance is zero."""
    rng = np.random.default_rng(4)
    parameters = random_parameters(rng, 2, 1, lead=(6, T), batch=(6,))
    parameters["observation_scale"][bad, 3] = 0.0
    parameters["observation_matrix"][bad, 3] = 0.0
    return parameters, random_data(rng, (6,), T, 1, missing=0.0)


def test_failure_stays_within_its_series(algorithm, native):
    parameters, y = failing(2)
    good, _ = failing(slice(0, 0))
    for infer in (ss.kalman_filter, ss.kalman_smoother):
        result, expected = (infer(build(x), y, algorithm=algorithm) for x in (parameters, good))
        np.testing.assert_array_equal(result.info, [0, 0, 4, 0, 0, 0])
        for x, z in zip(floating(result), floating(expected), strict=True):
            assert np.all(np.isnan(x[2]))
            np.testing.assert_array_equal(np.delete(x, 2, axis=0), np.delete(z, 2, axis=0))
    for per_step in (False, True):
        value = ss.log_likelihood(
            build(parameters), y, per_step=per_step, algorithm=algorithm
        ).numpy()
        assert np.all(np.isnan(value[2]))
        assert np.all(np.isfinite(np.delete(value, 2, axis=0)))


@pytest.mark.parametrize("poison", ["singular", "nan", "inf"])
def test_unused_failure_poisons_no_gradient(poison, algorithm, native):
    parameters, y = failing(2 if poison == "singular" else slice(0, 0))
    if poison != "singular":
        parameters["transition_matrix"][2, 1, 0, 1] = float(poison)
    shared = tf.constant([[0.3], [0.1]], tf.float64)
    variables = [tf.constant(parameters[name]) for name in NAMES]
    with tf.GradientTape() as tape:
        tape.watch([shared, *variables])
        named = dict(zip(NAMES, variables, strict=True)) | {"transition_scale": shared}
        value = ss.log_likelihood(build(named), y, algorithm=algorithm)
        assert np.isnan(value[2])
        total = tf.reduce_sum(tf.gather(value, [0, 1, 3, 4, 5]))
    gradients = tape.gradient(total, [shared, *variables])
    for name, gradient in zip(("shared", *NAMES), gradients, strict=True):
        if gradient is None:
            assert name == "transition_scale"  # replaced by the shared one
            continue
        assert np.all(np.isfinite(gradient)), name
        if name != "shared":
            np.testing.assert_array_equal(gradient[2], 0.0, err_msg=name)


def test_status_names_the_step_of_a_nan(algorithm, native):
    parameters, y = failing(slice(0, 0))
    parameters["transition_matrix"][1, 2] = np.nan  # spoils the prediction of step 3
    parameters["observation_matrix"][4, 1] = np.inf
    parameters["transition_matrix"][5, T - 1] = np.nan  # leads beyond the data: harmless
    result = ss.kalman_filter(build(parameters), y, algorithm=algorithm)
    np.testing.assert_array_equal(result.info, [0, 4, 0, 0, 2, 0])


def test_overflow_is_a_failure(parameters, algorithm, native):
    y = np.zeros((3, T, 2))
    y[1, 2, 0] = 1e200
    result = ss.kalman_filter(build(parameters), y, algorithm=algorithm)
    np.testing.assert_array_equal(result.info, [0, 3, 0])
    np.testing.assert_array_equal(np.isnan(result.log_likelihood), [False, True, False])


def test_numbers_nobody_uses_may_be_nan(algorithm, native):
    """The transition beyond the data, and the regressors of a component never observed."""
    rng = np.random.default_rng(9)
    parameters = random_parameters(rng, 2, 2, lead=(T,))
    parameters["observation_matrix"] = rng.normal(size=(2, 2))
    y = random_data(rng, (3,), T, 2)
    y[..., 1] = np.nan

    def run(parameters):
        variables = [tf.constant(parameters[name]) for name in NAMES]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            ssm = build(dict(zip(NAMES, variables, strict=True)))
            value = tf.reduce_sum(ss.log_likelihood(ssm, y, algorithm=algorithm))
        result = ss.kalman_smoother(ssm, y, algorithm=algorithm)
        return [*tape.gradient(value, variables), *tensors(result)]

    expected = run(parameters)
    parameters["observation_matrix"][1] = np.nan
    for name in ("transition_matrix", "transition_scale", "transition_offset"):
        parameters[name][T - 1] = np.nan
    for x, z in zip(run(parameters), expected, strict=True):
        np.testing.assert_allclose(x, z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lead", [(), (0,), (3,), (2, 3)])
@pytest.mark.parametrize("mode", ["eager", "graph", "jit"])
def test_raise_is_silent_where_nothing_failed(parameters, lead, mode):
    def run(y):
        return ss.log_likelihood(build(parameters), y, on_failure="raise")

    wrap = {"eager": lambda f: f, "graph": tf.function}
    wrap["jit"] = lambda f: tf.function(f, jit_compile=True)
    y = random_data(np.random.default_rng(10), lead, T, 2)
    np.testing.assert_allclose(wrap[mode](run)(y), ss.log_likelihood(build(parameters), y))


def test_raise_inside_a_graph_names_the_first_failure(native):
    a = np.stack([np.stack([np.eye(2)] * 3)] * 2)
    a[1, 2] = [[1.0, 2.0], [2.0, 1.0]]
    function = tf.function(lambda a: ss.linalg_ops.cholesky(a, on_failure="raise"))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"cholesky.*\[1 2\].*\[2\]"):
        function(a)


def test_raise_names_series_and_step(algorithm, native):
    parameters, y = failing(2)
    for infer in (ss.log_likelihood, ss.kalman_filter, ss.kalman_smoother):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{infer.__name__}.*\[2\].* 4"):
            infer(build(parameters), y, algorithm=algorithm, on_failure="raise")
        function = tf.function(
            lambda s, y, f=infer: f(s, y, algorithm=algorithm, on_failure="raise")
        )
        with pytest.raises(tf.errors.InvalidArgumentError, match=infer.__name__):
            function(build(parameters), y)


def test_singular_noise_is_fine(algorithm, native):
    """No noise in one state, none in one observation."""
    parameters = random_parameters(np.random.default_rng(5), 3, 2, k=1)
    parameters["observation_scale"] = np.array([[0.0, 0.0], [0.0, 1.0]])
    parameters["initial_scale"] = np.diag([1.0, 1.0, 0.0])
    y = random_data(np.random.default_rng(6), (2,), T, 2)
    result = ss.kalman_smoother(build(parameters), y, algorithm=algorithm)
    assert np.all(np.isfinite(result.smoothed_covariance))
    assert not np.any(result.info)


def test_empty_batch_and_no_steps(parameters, algorithm):
    empty = ss.log_likelihood(build(parameters), np.zeros((0, T, 2)), algorithm=algorithm)
    assert empty.shape == (0,)
    value = ss.log_likelihood(build(parameters), np.zeros((3, 0, 2)), algorithm=algorithm)
    np.testing.assert_array_equal(value, np.zeros(3))
    result = ss.kalman_smoother(build(parameters), np.zeros((3, 0, 2)), algorithm=algorithm)
    assert result.smoothed_mean.shape == (3, 0, 2)
    assert result.lag_one_covariance.shape == (3, 0, 2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"transition_scale": np.eye(3)},
            r"transition_scale .*\(3, 3\).* n = 2.*transition_matrix",
        ),
        ({"observation_matrix": np.ones((2, 3))}, r"observation_matrix .*\(2, 3\).* n = 2"),
        ({"observation_offset": np.ones(3)}, r"observation_offset .*\(3,\).* m = 2"),
        ({"initial_mean": 1.0}, r"initial_mean has shape \(\)"),
        (
            {"initial_scale": np.eye(2, dtype=np.float32)},
            "mixed dtypes: .*initial_scale is float32",
        ),
        ({"transition_matrix": "F"}, "transition_matrix is not an array of numbers"),
        ({"initial_mean": None}, "initial_mean is None"),
    ],
)
def test_model_refuses_by_name(parameters, change, message):
    with pytest.raises(ValueError, match=message):
        ss.LinearGaussianSSM(**(parameters | change))


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (np.zeros(5), {}, r"y has shape \(5,\).*\[\.\.\., T, m\]"),
        (np.zeros((5, 3)), {}, r"y has shape \(5, 3\).*m = 2"),
        (np.zeros((5, 2), np.float32), {}, "y is float32, the model is float64"),
        (np.zeros((5, 2)), {"mask": np.ones(4, bool)}, r"mask has shape \(4,\)"),
        (np.zeros((5, 2)), {"mask": np.ones((5, 2))}, "mask is float64; it must be bool"),
        (np.zeros((2, 2, 2)), {"mask": np.ones((2, 2), bool)}, "mask .* fits y .* both as"),
        ("abc", {}, "y is no array of numbers"),
        (np.zeros((5, 2)), {"algorithm": "fast"}, "algorithm is 'fast'"),
        (np.zeros((5, 2)), {"on_failure": "ignore"}, "on_failure is 'ignore'"),
    ],
)
def test_inference_refuses_by_name(parameters, y, options, message, native):
    for infer in (ss.log_likelihood, ss.kalman_filter, ss.kalman_smoother):
        with pytest.raises(ValueError, match=message):
            infer(build(parameters), y, **options)


def test_time_and_batch_axes_are_told_apart():
    y = np.zeros((4, T, 2))
    rng = np.random.default_rng(7)
    with pytest.raises(ValueError, match=r"transition_matrix .*time axis has 4 steps but y has 5"):
        ss.log_likelihood(build(random_parameters(rng, 2, 2, lead=(4,))), y)
    with pytest.raises(ValueError, match=r"batch axes \(3,\) do not broadcast"):
        ss.log_likelihood(build(random_parameters(rng, 2, 2, lead=(3, 1))), y)


def test_covariances_refuse_by_name(parameters):
    rest = {
        name: parameters[name]
        for name in ("transition_matrix", "observation_matrix", "initial_mean")
    }
    good = {f"{name}_covariance": np.eye(2) for name in ("transition", "observation", "initial")}
    ss.LinearGaussianSSM.from_covariances(**rest, **good)
    for name in good:
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name}.*leading minor 1"):
            ss.LinearGaussianSSM.from_covariances(**rest, **(good | {name: -np.eye(2)}))
        with pytest.raises(ValueError, match=f"{name} has shape"):
            ss.LinearGaussianSSM.from_covariances(**rest, **(good | {name: np.ones((1, 2))}))


def test_forecast_refuses_by_name(parameters):
    y = np.zeros((T, 2))
    assert ss.forecast(build(parameters), y, np.uint8(3)).state_mean.shape == (3, 2)
    for horizon in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="horizon"):
            ss.forecast(build(parameters), y, horizon)
    varying = random_parameters(np.random.default_rng(8), 2, 2, lead=(T,))
    with pytest.raises(ValueError, match=r"transition_matrix.*must cover 7"):
        ss.forecast(build(varying), y, 2)
