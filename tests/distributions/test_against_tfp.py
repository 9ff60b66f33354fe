"""Every method, on every model of the table, against TensorFlow Probability itself."""

import numpy as np
import pytest
import tensorflow as tf
from distributions.cases import TABLE, Case, Ours, Theirs, arrays, fixed
from oracles import finite_differences

NAMES = list(TABLE)


def run_all(model, case):
    """What every method returns, by name."""
    filtered = model.forward_filter(case.x, mask=case.mask)
    return {
        "log_prob": model.log_prob(case.x, mask=case.mask),
        "forward_filter": tuple(filtered),
        "final step": tuple(model.forward_filter(case.x, mask=case.mask, final_step_only=True)),
        "posterior_marginals": model.posterior_marginals(case.x, mask=case.mask),
        "backward_smoothing_pass": model.backward_smoothing_pass(*filtered[1:5]),
        "latents_to_observations": model.latents_to_observations(*filtered[1:3]),
        "mean": model.mean(),
        "variance": model.variance(),
    }


def assert_close(got, expected, tolerance):
    assert got.keys() == expected.keys()
    for name in got:
        pairs = zip(tf.nest.flatten(got[name]), tf.nest.flatten(expected[name]), strict=True)
        for x, z in pairs:
            assert x.shape == z.shape, name
            np.testing.assert_allclose(x, z, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.filterwarnings("ignore:.*arallelization:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_numbers_and_shapes(name):
    case = TABLE[name]
    assert_close(run_all(case.build(Ours), case), run_all(case.build(Theirs), case), 1e-9)


def test_with_and_without_the_compiled_library(native):
    case = TABLE["a mask for each model"]
    assert_close(run_all(case.build(Ours), case), run_all(case.build(Theirs), case), 1e-9)


@pytest.mark.parametrize("name", ["moving models", "operators, several models", "a mask each"])
def test_scans_over_time_give_the_same_numbers(name):
    case = TABLE[name]
    sequential = case.build(Ours)
    parallel = sequential.copy(experimental_parallelize=True)
    assert_close(run_all(parallel, case), run_all(sequential, case), 1e-9)

    def total(model, case):
        model = model.copy(experimental_parallelize=True)
        return tf.reduce_sum(model.log_prob(case.x, mask=case.mask))

    expected = gradients(case, Theirs, lambda model, case: model.log_prob(case.x, mask=case.mask))
    assert_close(gradients(case, Ours, total), expected, 1e-8)


def test_scans_over_time_need_noise_in_what_is_observed():
    """Which tells them from the other forms, to which an uncertain state is enough."""
    without_noise = arrays(np.random.default_rng(3), 2, 1)
    without_noise |= {name: np.zeros_like(without_noise[name]) for name in ("g", "c")}
    case = Case(fixed(2), without_noise, np.array([[0.3], [0.1]]))
    sequential = case.build(Ours)
    assert np.isfinite(sequential.log_prob(case.x))
    parallel = sequential.copy(experimental_parallelize=True)
    assert np.isnan(parallel.log_prob(case.x))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"step \+ 1 = 2"):
        parallel.copy(validate_args=True).log_prob(case.x)


@pytest.mark.parametrize("name", NAMES)
def test_attributes(name):
    theirs, ours = (TABLE[name].build(kind) for kind in (Theirs, Ours))
    assert ours.batch_shape == theirs.batch_shape
    assert ours.event_shape == theirs.event_shape
    assert ours.dtype == theirs.dtype
    assert ours.reparameterization_type == theirs.reparameterization_type
    assert ours.name == theirs.name
    assert set(ours.parameters) == set(theirs.parameters)
    for attribute in (
        "batch_shape_tensor",
        "event_shape_tensor",
        "latent_size_tensor",
        "observation_size_tensor",
    ):
        np.testing.assert_array_equal(getattr(ours, attribute)(), getattr(theirs, attribute)())
    for attribute in ("num_timesteps", "initial_step", "experimental_parallelize"):
        np.testing.assert_array_equal(getattr(ours, attribute), getattr(theirs, attribute))


def gradients(case, kind, function):
    """Derivatives of a scalar function of model and x, for every array of the case and x."""
    tensors = {k: tf.convert_to_tensor(v) for k, v in case.arrays.items()}
    x = tf.convert_to_tensor(case.x)
    with tf.GradientTape() as tape:
        tape.watch([tensors, x])
        value = function(case.build(kind, **tensors), case._replace(x=x))
    # Not every model uses all arrays; what is gathered at a time has indexed slices.
    result = tape.gradient(value, tensors | {"x": x}, unconnected_gradients="zero")
    return {key: tf.convert_to_tensor(x) for key, x in result.items()}


# Not "parallel", where those of TensorFlow Probability (0.25) differ from finite differences.
@pytest.mark.parametrize(
    "name",
    [
        "shared",
        "more observations than states",
        "one step",
        "several series",
        "several models, one series",
        "several series each",
        "operators, several models",
        "moving models",
        "partly moving models",
        "more masks than series",
        "mask and moving",
    ],
)
def test_gradients_of_log_prob(name):
    case = TABLE[name]

    def total(model, case):
        value = model.log_prob(case.x, mask=case.mask)
        return tf.reduce_sum(
            tf.reshape(tf.sin(tf.cast(tf.range(tf.size(value)), value.dtype)), value.shape) * value
        )

    assert_close(gradients(case, Ours, total), gradients(case, Theirs, total), 1e-8)


@pytest.mark.parametrize("name", ["several series", "a mask each"])
def test_gradients_of_moments(name):
    case = TABLE[name]

    def total(model, case):
        filtered = model.forward_filter(case.x, mask=case.mask)
        smoothed = model.posterior_marginals(case.x, mask=case.mask)
        again = model.backward_smoothing_pass(*filtered[1:5])
        return tf.add_n([tf.reduce_sum(tf.sin(x)) for x in (*filtered, *smoothed, *again)])

    assert_close(gradients(case, Ours, total), gradients(case, Theirs, total), 1e-8)


def test_gradients_of_the_prior():
    """Those of TensorFlow Probability (0.25) differ from finite differences."""
    case = TABLE["shared"]

    def total(model, _):
        return tf.reduce_sum(tf.sin(model.mean()) + tf.cos(model.variance()))

    got = gradients(case, Ours, total)
    for key, array in case.arrays.items():
        direction = np.random.default_rng(2).normal(size=array.shape)
        expected = finite_differences.directional(
            lambda x, key=key: total(case.build(Ours, **{key: x}), case), [array], [direction]
        )
        np.testing.assert_allclose(np.sum(got[key] * direction), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["several series each", "moving, later start", "a mask each"])
def test_float32(name):
    case = TABLE[name]
    got = run_all(case.build(Ours, tf.float32), case._replace(x=case.x.astype(np.float32)))
    assert all(x.dtype == tf.float32 for x in tf.nest.flatten(got))
    assert_close(got, run_all(case.build(Theirs), case), 2e-5)


@pytest.mark.parametrize("name", ["moving, later start", "a mask each"])
def test_compiled_by_xla(name):
    case = TABLE[name]

    @tf.function(jit_compile=True)
    def run(arrays, x):
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            model = case.build(Ours, **arrays)
            value = model.log_prob(x, mask=case.mask)
        filtered = model.forward_filter(x, mask=case.mask)
        smoothed = model.backward_smoothing_pass(*filtered[1:5])
        marginals = model.posterior_marginals(x, mask=case.mask)
        return (filtered, smoothed, marginals), tape.gradient(value, arrays)

    tensors = {k: tf.convert_to_tensor(v) for k, v in case.arrays.items()}
    (filtered, smoothed, marginals), gradient = run(tensors, tf.convert_to_tensor(case.x))
    got = {
        "forward_filter": tuple(filtered),
        "backward_smoothing_pass": smoothed,
        "posterior_marginals": marginals,
    }
    expected = run_all(case.build(Theirs), case)
    assert_close(got, {name: expected[name] for name in got}, 1e-9)
    expected = gradients(case, Theirs, lambda model, case: model.log_prob(case.x, mask=case.mask))
    for key, x in gradient.items():
        np.testing.assert_allclose(x, expected[key], rtol=1e-8, atol=1e-8, err_msg=key)


@pytest.mark.parametrize("name", ["several series each", "a mask each"])
def test_sizes_that_are_not_known_before(name):
    case = TABLE[name]

    @tf.function(input_signature=[tf.TensorSpec([None] * case.x.ndim, tf.float64)])
    def run(x):
        return run_all(case.build(Ours), case._replace(x=x))

    assert_close(run(case.x), run_all(case.build(Theirs), case), 1e-9)


def test_a_number_of_steps_that_is_not_known_before():
    case = TABLE["moving"]

    @tf.function(
        input_signature=[tf.TensorSpec([], tf.int32), tf.TensorSpec([None, 2], tf.float64)]
    )
    def run(num_timesteps, x):
        arguments = case.arguments({k: tf.constant(v) for k, v in case.arrays.items()})
        model = Ours(**arguments | {"num_timesteps": num_timesteps})
        return {"log_prob": model.log_prob(x), "mean": model.mean()}

    model = case.build(Theirs)
    expected = {"log_prob": model.log_prob(case.x), "mean": model.mean()}
    assert_close(run(5, case.x), expected, 1e-9)
    with pytest.raises(tf.errors.InvalidArgumentError, match="x must end in the event shape"):
        run(4, case.x)
