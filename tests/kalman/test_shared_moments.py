"""Filter and smoother whose series share covariances, against each series computing its own.

Parameters repeated for every series take part in no sharing, and those repeated for every step do
not settle: that is what it is compared with.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf
from kalman.models import (
    build,
    dense,
    on_threads,
    per_series,
    per_step,
    random_parameters,
    slow_level,
)
from kalman.test_vague_start import assert_exact, member
from kalman.test_vague_start import trend as start_of_a_trend
from oracles import dense as dense_oracle
from oracles import exact_filter

import statespace as ss
from statespace import config

pytestmark = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)

INFER = {
    "filter": ss.kalman_filter,
    "smoother": ss.kalman_smoother,
    "marginals": functools.partial(ss.kalman_smoother, lag_one=False),
}


@pytest.fixture(params=INFER.values(), ids=INFER.keys())
def infer(request):
    return functools.partial(request.param, algorithm="covariance")


def moments(infer, parameters, y):
    """The results by name as arrays, of the dtype of y."""
    result = infer(build(parameters, y.dtype), y)
    return {name: x.numpy() for name, x in result._asdict().items() if x is not None}


def unshared(infer, parameters, y):
    """The same, of parameters repeated for every series; a lone series gets a companion."""
    batch = y.shape[:-2]
    flat = y.reshape(-1, *y.shape[-2:])
    flat = np.concatenate([flat, flat]) if len(flat) == 1 else flat
    results = moments(infer, per_series(parameters, len(flat)), flat)
    count = int(np.prod(batch))
    return {name: x[:count].reshape(*batch, *x.shape[1:]) for name, x in results.items()}


def assert_close(results, expected, tolerance=1e-12):
    """Relative to the largest number of each output, in the same places NaN."""
    assert results.keys() == expected.keys()
    for name, x in results.items():
        z = expected[name]
        assert x.shape == z.shape, name
        np.testing.assert_array_equal(np.isnan(x), np.isnan(z), err_msg=name)
        error = np.nanmax(np.abs(x - z), initial=0.0)
        scale = np.nanmax(np.abs(z), initial=1.0)
        assert error <= tolerance * scale, (name, error / scale)


def assert_shared_equals_own(infer, parameters, y, tolerance=1e-12):
    expected = unshared(infer, parameters, y)
    assert_close(moments(infer, parameters, y), expected, tolerance)
    return expected


def assert_equals_every_step_computed(infer, parameters, y):
    repeated = per_step(parameters, y.shape[-2])
    assert_close(moments(infer, parameters, y), moments(infer, repeated, y))


def assert_same_bits(results, expected):
    assert results.keys() == expected.keys()
    for name, x in results.items():
        np.testing.assert_array_equal(x, expected[name], err_msg=name)


def data(missing, num_steps, m, batch):
    rng = np.random.default_rng(1)
    y = rng.normal(size=(batch, num_steps, m))
    if missing == "common":
        y[:, num_steps // 3] = np.nan
        y[:, num_steps // 2, 0] = np.nan
    elif missing == "groups and loners":
        y[: batch // 2, num_steps // 2, 0] = np.nan
        y[batch // 4] = np.nan
        for loner in range(batch // 2, batch, 5):
            y[loner, loner % num_steps, m - 1] = np.nan
    return y


@pytest.mark.parametrize("batch", [1, 3, 8, 9, 40])
@pytest.mark.parametrize("missing", ["nothing", "common", "groups and loners"])
@pytest.mark.parametrize(("n", "m", "num_steps"), [(2, 1, 20), (3, 2, 130), (5, 3, 40)])
def test_shared_equals_own(infer, n, m, num_steps, missing, batch):
    parameters = random_parameters(np.random.default_rng(0), n, m)
    assert_shared_equals_own(infer, parameters, data(missing, num_steps, m, batch))


@pytest.mark.parametrize("missing", ["nothing", "common", "groups and loners"])
@pytest.mark.parametrize("batch", [1, 9, 40])
def test_parameters_that_vary_over_time(infer, missing, batch):
    parameters = random_parameters(np.random.default_rng(2), 3, 2, lead=(30,))
    for name in ("transition_matrix", "transition_scale", "transition_offset"):
        parameters[name][-1] = np.nan  # leads beyond the data
    assert_shared_equals_own(infer, parameters, data(missing, 30, 2, batch))


@pytest.mark.parametrize(
    "name", ["transition_matrix", "transition_scale", "observation_matrix", "observation_scale"]
)
def test_one_parameter_that_varies_over_time(infer, name):
    rng = np.random.default_rng(3)
    varying = random_parameters(rng, 3, 2, lead=(30,))
    parameters = random_parameters(rng, 3, 2) | {name: varying[name]}
    assert_shared_equals_own(infer, parameters, data("groups and loners", 30, 2, 40))


def test_model_without_lanes(infer):
    """Too large for series to go side by side."""
    parameters = random_parameters(np.random.default_rng(4), 34, 2)
    assert_shared_equals_own(infer, parameters, data("groups and loners", 12, 2, 9))


@pytest.mark.parametrize("batch", [1, 8, 40])
@pytest.mark.parametrize("gaps", [[], [300], [slice(290, 310), (450, 0)], [0, -1]])
def test_settled_covariances(infer, gaps, batch):
    """Long after the covariances have settled, with gaps that unsettle them on both ways."""
    parameters = random_parameters(np.random.default_rng(5), 3, 2)
    y = data("nothing", 600, 2, batch)
    for gap in gaps:
        y[:, *gap if isinstance(gap, tuple) else (gap,)] = np.nan
    assert_shared_equals_own(infer, parameters, y)
    assert_equals_every_step_computed(infer, parameters, y)


def test_slow_convergence_is_not_taken_for_the_limit(infer):
    level = slow_level(1.0)
    y = np.random.default_rng(6).normal(size=(9, 5000, 1))
    assert_equals_every_step_computed(infer, level, y)


@pytest.mark.parametrize("num_steps", [20, 200])
def test_means_and_offsets_by_series_and_step(infer, num_steps):
    rng = np.random.default_rng(7)
    parameters = random_parameters(rng, 3, 2)
    y = data("groups and loners", num_steps, 2, 40)
    for offsets in (
        {"initial_mean": rng.normal(size=(40, 3))},
        {"transition_offset": rng.normal(size=(num_steps, 3))},
        {
            "initial_mean": rng.normal(size=(40, 3)),
            "transition_offset": rng.normal(size=(40, 1, 3)),
            "observation_offset": rng.normal(size=(40, num_steps, 2)),
        },
    ):
        own = per_series(parameters, 40)
        for name, x in offsets.items():
            own[name] = np.broadcast_to(x, (40, *x.shape[-2:])) if x.ndim == 2 else x
        own["initial_mean"] = np.broadcast_to(
            offsets.get("initial_mean", parameters["initial_mean"]), (40, 3)
        )
        assert_close(moments(infer, parameters | offsets, y), moments(infer, own, y))


@pytest.mark.parametrize("batch", [1, 3, 9])
def test_one_step(infer, batch):
    parameters = random_parameters(np.random.default_rng(8), 3, 2)
    parameters["transition_matrix"] = np.full((3, 3), np.nan)  # leads beyond the data
    expected = assert_shared_equals_own(infer, parameters, data("nothing", 1, 2, batch))
    assert not np.any(expected["info"])


def test_rows_nobody_observes_may_be_nan(infer):
    parameters = random_parameters(np.random.default_rng(9), 3, 2)
    known = {name: x.copy() for name, x in parameters.items()}
    parameters["observation_matrix"][1] = np.nan
    y = data("nothing", 100, 2, 9)
    y[..., 1] = np.nan
    results, expected = moments(infer, parameters, y), moments(infer, known, y)
    if "innovation_covariance" in results:  # that of the unknown row is unknown
        for x in (results, expected):
            x["innovation_covariance"] = x["innovation_covariance"][..., :1, :1]
    assert not np.any(np.isnan(results["log_likelihood"]))
    assert_same_bits(results, expected)


@pytest.mark.parametrize("value", [np.inf, 1e200])
@pytest.mark.parametrize("num_steps", [30, 200])
def test_failure_stays_within_its_series(infer, num_steps, value):
    parameters = random_parameters(np.random.default_rng(10), 3, 2)
    y = data("nothing", num_steps, 2, 40)
    y[7, 4] = np.nan
    clean = moments(infer, parameters, y)
    for item in (0, 5, 7, 39):  # the one whose covariances are copied, others, and a loner
        spoilt = y.copy()
        spoilt[item, 20, 1] = value
        results = moments(infer, parameters, spoilt)
        others = np.arange(40) != item
        np.testing.assert_array_equal(results.pop("info"), np.where(others, 0, 21))
        for name, x in results.items():
            assert np.all(np.isnan(x[item])), name
            np.testing.assert_array_equal(x[others], clean[name][others], err_msg=name)


def test_singular_innovations_fail_in_every_series_that_has_them(infer):
    parameters = random_parameters(np.random.default_rng(11), 2, 1)
    parameters["observation_matrix"] = np.zeros((1, 2))
    parameters["observation_scale"] = np.zeros((1, 1))
    y = data("nothing", 30, 1, 9)
    y[2] = np.nan
    results = assert_shared_equals_own(infer, parameters, y)
    np.testing.assert_array_equal(results["info"], np.where(np.arange(9) == 2, 0, 1))


@pytest.mark.parametrize("num_steps", [40, 400])
@pytest.mark.parametrize("varying", [False, True])
def test_float32(infer, num_steps, varying):
    parameters = random_parameters(np.random.default_rng(12), 4, 2, lead=(num_steps,) * varying)
    y = data("groups and loners", num_steps, 2, 40).astype(np.float32)
    assert_shared_equals_own(infer, parameters, y, tolerance=3e-5)


def test_two_batch_axes(infer):
    parameters = random_parameters(np.random.default_rng(13), 3, 2)
    y = data("groups and loners", 100, 2, 40)
    offset = np.random.default_rng(14).normal(size=(5, 8, 1, 2))
    parameters["observation_offset"] = offset.reshape(40, 1, 2)
    expected = moments(infer, parameters, y)
    parameters["observation_offset"] = offset
    results = moments(infer, parameters, y.reshape(5, 8, 100, 2))
    assert_same_bits({k: x.reshape(expected[k].shape) for k, x in results.items()}, expected)
    # Series that lie apart in memory, one axis of the batch being the model's alone.
    parameters["observation_offset"] = offset[:, :1]
    results = moments(infer, parameters, y[:8].reshape(1, 8, 100, 2))
    for row in range(5):
        parameters["observation_offset"] = offset[row, :1]
        one = moments(infer, parameters, y[:8])
        assert_close({name: x[row] for name, x in results.items()}, one, 1e-13)


def test_against_the_joint_gaussian():
    parameters = random_parameters(np.random.default_rng(15), 3, 2)
    y = data("groups and loners", 12, 2, 20)
    for infer in (ss.kalman_smoother, INFER["marginals"]):
        results = moments(infer, parameters, y)
        for item in range(20):
            model = dense(parameters, item, (20,), 12)
            mean, covariance = dense_oracle.posterior(model, y[item])
            steps = np.arange(12)
            close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
            close(results["smoothed_mean"][item], mean)
            close(results["smoothed_covariance"][item], covariance[steps, :, steps])
            if "lag_one_covariance" in results:
                expected = covariance[steps[1:], :, steps[:-1]]
                close(results["lag_one_covariance"][item], expected)


@pytest.mark.parametrize("vague", [1e4, 1e6])
def test_vague_start_that_all_share(vague):
    """Smoothed in square-root form, whether or not lag-one covariances are wanted."""
    parameters = start_of_a_trend(1.0, vague)
    y = np.cumsum(np.random.default_rng(16).normal(size=(20, 30, 1)), axis=1)
    y[3:5, 1] = np.nan
    y[7, 2] = np.inf
    result = ss.kalman_smoother(build(parameters), y, algorithm="covariance")
    np.testing.assert_array_equal(result.info, np.where(np.arange(20) == 7, 3, 0))
    for item in (0, 3, 19):
        assert_exact(member(result, item), exact_filter.run(parameters, y[item]), 1e-9)
    marginals = moments(INFER["marginals"], parameters, y)
    assert_same_bits(marginals, {name: getattr(result, name).numpy() for name in marginals})
    for name in ("log_likelihood", "smoothed_mean", "smoothed_covariance"):
        assert np.all(np.isnan(marginals[name][7]))


def assert_batch_equals_its_members(infer, parameters, y):
    together = moments(infer, parameters, y)
    for item, series in enumerate(y):
        alone = moments(infer, parameters, series)
        assert_same_bits({name: x[item] for name, x in together.items()}, alone)


@pytest.mark.parametrize("missing", ["nothing", "groups and loners"])
@pytest.mark.parametrize(("n", "m"), [(2, 1), (4, 2), (5, 3)])
def test_batch_equals_its_members_bit_for_bit(infer, n, m, missing):
    parameters = random_parameters(np.random.default_rng(17), n, m)
    assert_batch_equals_its_members(infer, parameters, data(missing, 40, m, 20))


def test_long_batch_equals_its_members_bit_for_bit(infer):
    """A series whose pattern no other has shares nothing in a batch, and settles all the same."""
    parameters = random_parameters(np.random.default_rng(3), 4, 2)
    y = data("nothing", 600, 2, 9)
    for item in range(9):
        y[item, item + 5, 0] = np.nan
    assert_batch_equals_its_members(infer, parameters, y)


def test_result_does_not_depend_on_the_number_of_threads(infer):
    parameters = random_parameters(np.random.default_rng(18), 4, 2)
    y = data("groups and loners", 200, 2, 301)
    assert_same_bits(*on_threads(lambda: moments(infer, parameters, y)))


@pytest.mark.parametrize("jit", [False, True])
def test_inside_graph_and_xla(infer, jit):
    parameters = random_parameters(np.random.default_rng(19), 3, 2)
    y = data("groups and loners", 100, 2, 20)
    expected = moments(infer, parameters, y)
    function = tf.function(lambda y: infer(build(parameters), y), jit_compile=jit)
    result = function(tf.constant(y))._asdict()
    assert_same_bits({name: x.numpy() for name, x in result.items() if x is not None}, expected)
