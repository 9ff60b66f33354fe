"""Fixed and shared parameters, priors, features and times of fits; new data for old parameters."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import statespace as ss
from statespace import datasets
from statespace.forecasting.errors import InputError
from statespace.models import (
    ARIMA,
    Autoregressive,
    ConstantVelocity,
    Custom,
    Cycle,
    DampedTrend,
    DynamicRegression,
    ExponentialSmoothing,
    LocalLevel,
    LocalLinearTrend,
    MaternProcess,
    Regression,
    VectorAutoregressive,
)
from statespace.models.parameters import Scale

NILE = datasets.nile()


def test_a_fixed_scale_keeps_its_value():
    result = LocalLevel().fit(NILE, fix={"level.scale": 0.0}, verbose=0)
    assert result.params["level.scale"] == 0.0
    assert not result.at_boundary["level.scale"]
    assert result.params["irregular.scale"] == pytest.approx(NILE.std(), rel=1e-6)
    assert np.isnan(result.standard_errors["level.scale"])
    assert "fixed" in result.summary()
    assert result.aic == pytest.approx(-2 * result.log_likelihood + 2 * (1 + 1))


def test_all_parameters_fixed_is_an_evaluation():
    fix = {"irregular.scale": np.sqrt(15099.0), "level.scale": np.sqrt(1469.1)}
    result = LocalLevel().fit(NILE, fix=fix, verbose=0)
    assert result.log_likelihood == pytest.approx(-633.4645636489, abs=1e-9)
    assert np.isnan(list(result.standard_errors.values())).all()
    assert result.forecast(1).mean.iloc[0] == pytest.approx(798.37029261, abs=1e-6)


def test_a_parameter_at_the_end_of_its_range_is_pointed_out():
    def walk(noise, step):
        return ss.LinearGaussianSSM(
            [[1.0]], [[step]], [[1.0]], [[noise]], [0.0], [[0.0]], diffuse=[True]
        )

    # In units of the differences, of which the noise should be about 0.7.
    model = Custom(walk, (Scale("noise", limits=(0.0, 1.0)), Scale("step")))
    assert "noise lies at the end of the range" in model.fit(NILE, verbose=0).summary()
    assert "end of the range" not in LocalLevel().fit(NILE, verbose=0).summary()


def test_values_fixed_for_each_series():
    flow = np.stack([NILE, NILE[::-1]])
    result = LocalLevel().fit(flow, fix={"level.scale": [10.0, 40.0]}, verbose=0)
    np.testing.assert_array_equal(result.params["level.scale"], [10.0, 40.0])
    alone = LocalLevel().fit(flow[0], fix={"level.scale": 10.0}, verbose=0)
    assert result.log_likelihood[0] == pytest.approx(alone.log_likelihood, abs=1e-9)


def simulated(num_series, seed=0):
    """Local levels with noise of one scale and steps of many."""
    generator = np.random.default_rng(seed)
    steps = np.linspace(0.2, 2.0, num_series)[:, np.newaxis]
    level = np.cumsum(steps * generator.normal(size=(num_series, 80)), axis=1)
    return level + 1.5 * generator.normal(size=level.shape)


def test_shared_parameters_maximise_the_sum():
    from scipy.optimize import minimize

    y = simulated(4)
    result = LocalLevel().fit(y, share=["irregular.scale"], verbose=0)
    shared = result.params["irregular.scale"]
    np.testing.assert_allclose(shared, shared[0], rtol=1e-12)
    assert result.converged.all()

    def height(logs):
        noise = tf.fill([4], np.exp(logs[0]))
        params = {"irregular.scale": noise, "level.scale": np.exp(logs[1:])}
        return -float(tf.reduce_sum(ss.log_likelihood(LocalLevel().build(params), y[..., None])))

    best = minimize(
        height,
        np.zeros(5),
        method="Nelder-Mead",
        options={"maxfev": 4000, "fatol": 1e-9, "xatol": 1e-6, "adaptive": True},
    )
    assert result.log_likelihood.sum() >= -best.fun - 1e-6
    assert shared[0] == pytest.approx(np.exp(best.x[0]), rel=1e-3)


def test_standard_errors_of_shared_parameters_are_those_of_the_joint_information():
    y = simulated(3)
    result = LocalLevel().fit(y, share=["irregular.scale"], verbose=0)

    def height(logs):
        params = {"irregular.scale": tf.fill([3], tf.exp(logs[0])), "level.scale": tf.exp(logs[1:])}
        return tf.reduce_sum(ss.log_likelihood(LocalLevel().build(params), y[..., None]))

    logs = np.log(np.r_[result.params["irregular.scale"][0], result.params["level.scale"]])
    gradients = []
    for step in 1e-4 * np.concatenate([np.eye(4), -np.eye(4)]):
        with tf.GradientTape() as tape:
            point = tf.constant(logs + step)
            tape.watch(point)
            value = height(point)
        gradients.append(tape.gradient(value, point).numpy())
    hessian = (np.array(gradients[:4]) - gradients[4:]) / 2e-4
    deviations = np.exp(logs) * np.sqrt(np.diag(np.linalg.inv(-hessian)))
    errors = result.standard_errors
    np.testing.assert_allclose(errors["irregular.scale"], deviations[0], rtol=1e-5)
    np.testing.assert_allclose(errors["level.scale"], deviations[1:], rtol=1e-5)


def test_a_tight_prior_holds_its_parameter():
    import tensorflow_probability as tfp

    tight = tfp.distributions.Normal(tf.constant(60.0, tf.float64), 0.01)
    result = LocalLevel().fit(NILE, method="map", priors={"level.scale": tight}, verbose=0)
    assert result.params["level.scale"] == pytest.approx(60.0, abs=0.05)
    free = LocalLevel().fit(NILE, verbose=0)
    assert result.log_likelihood < free.log_likelihood
    assert "maximum posterior density" in result.summary()


def test_weak_priors_keep_scales_off_zero():
    y = np.random.default_rng(0).normal(size=200)
    assert LocalLevel().fit(y, verbose=0).params["level.scale"] == 0
    result = LocalLevel().fit(y, method="map", verbose=0)
    assert 0 < result.params["level.scale"] < 0.2


def test_the_sum_of_outer_products_and_the_sandwich(nile):
    errors = {kind: nile.standard_errors_by(kind) for kind in ("hessian", "opg", "robust")}
    for name in nile.params:
        assert 0.5 < errors["opg"][name] / errors["hessian"][name] < 2
        assert 0.5 < errors["robust"][name] / errors["hessian"][name] < 2
    statsmodels = pytest.importorskip("statsmodels.tsa.statespace.structural")
    model = statsmodels.UnobservedComponents(NILE.to_numpy(), "llevel", use_exact_diffuse=True)
    theirs = model.smooth(np.square(list(nile.params.values())))
    scores = np.sqrt(np.diag(theirs._cov_params_opg(approx_complex_step=False)))
    ours = [2 * nile.params[name] * error for name, error in errors["opg"].items()]
    np.testing.assert_allclose(ours, scores, rtol=1e-3)
    with pytest.raises(InputError, match="'hessian', 'opg' or 'robust'"):
        nile.standard_errors_by("guess")


def regression_data(num_steps=60):
    generator = np.random.default_rng(3)
    x = np.c_[np.ones(num_steps), generator.normal(size=(num_steps, 2))]
    return x, x @ [5.0, 2.0, -1.0] + 0.3 * generator.normal(size=num_steps)


def test_regression_without_anything_else_is_least_squares():
    x, y = regression_data()
    beta, rest, *_ = np.linalg.lstsq(x, y, rcond=None)
    as_states = Regression(3).fit(y, features=x, verbose=0)
    np.testing.assert_allclose(as_states.smooth().mean[-1], beta, rtol=1e-9)
    variance = rest[0] / (len(y) - 3)  # restricted maximum likelihood is unbiased
    assert as_states.params["irregular.scale"] == pytest.approx(np.sqrt(variance), rel=1e-6)
    covariance = variance * np.linalg.inv(x.T @ x)
    np.testing.assert_allclose(as_states.smooth().covariance[-1], covariance, rtol=1e-5)
    table = as_states.summary().split("coefficient ")[1].splitlines()
    assert table[2].split() == [
        "regression_1",
        f"{beta[0]:.6g}",
        f"{np.sqrt(covariance[0, 0]):.4g}",
    ]
    parameters = Regression(3, as_states=False).fit(y, features=x, verbose=0)
    np.testing.assert_allclose(parameters.params["regression.coefficients"], beta, rtol=1e-6)
    assert parameters.params["irregular.scale"] == pytest.approx(np.sqrt(rest[0] / len(y)))


def test_forecast_of_a_regression_with_scenarios():
    x, y = regression_data()
    result = Regression(3).fit(y[:50], features=x[:50], verbose=0)
    forecast = result.forecast(10, features=x[50:])
    beta = result.smooth().mean[-1]
    covariance = result.smooth().covariance[-1]
    np.testing.assert_allclose(forecast.mean, x[50:] @ beta, rtol=1e-9)
    noise = result.params["irregular.scale"] ** 2
    expected = np.einsum("ti,ij,tj->t", x[50:], covariance, x[50:]) + noise
    np.testing.assert_allclose(forecast.variance, expected, rtol=1e-9)
    other = result.forecast(10, features=x[50:] + np.array([0, 1.0, 0]))
    np.testing.assert_allclose(other.mean - forecast.mean, beta[1], rtol=1e-9)
    parts = forecast.components()
    np.testing.assert_allclose(parts.mean.sum(axis=-1), forecast.mean, rtol=1e-9)


def test_features_in_a_frame_are_found_by_their_dates():
    flow = NILE.to_frame("flow")["flow"]
    index = pd.period_range("1870", "1980", freq="Y")
    features = pd.DataFrame({"dam": (index >= "1899").astype(float)}, index)
    model = LocalLevel() + Regression(1)
    result = model.fit(flow, features=features, verbose=0)
    array = model.fit(flow.to_numpy(), features=features["dam"].loc["1871":"1970"], verbose=0)
    assert result.log_likelihood == pytest.approx(array.log_likelihood, abs=1e-10)
    assert result.forecast(5, features=features).mean.index[0] == pd.Period("1971", freq="Y")
    assert result.smooth().mean["regression_1"].iloc[-1] == pytest.approx(-247.8, abs=1)
    with pytest.raises(InputError, match="no row for 1981"):
        result.forecast(20, features=features)


def test_columns_of_features_are_found_by_their_names():
    x, y = regression_data()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    y = pd.Series(y)
    result = Regression(3).fit(y[:50], features=frame, verbose=0)
    expected = Regression(3).fit(y[:50], features=x[:50], verbose=0).forecast(10, features=x[50:])
    turned = frame[["c", "a", "b"]].assign(d=1.0)
    for features in (frame, turned, x[50:]):
        np.testing.assert_array_equal(result.forecast(10, features=features).mean, expected.mean)
    appended, applied = result.append(y[50:], features=turned), result.apply(y, features=turned)
    assert appended.log_likelihood == pytest.approx(applied.log_likelihood, abs=1e-9)
    with pytest.raises(InputError, match=r"no columns 'a', 'b'; the columns are 'c'\."):
        result.forecast(10, features=frame[["c"]])


def test_features_of_each_series():
    x, y = regression_data()
    both = Regression(3).fit(np.stack([y, -y]), features=np.stack([x, 2 * x]), verbose=0)
    np.testing.assert_allclose(both.smooth().mean[1, -1], -both.smooth().mean[0, -1] / 2, rtol=1e-9)


def test_moving_coefficients_follow_a_break():
    generator = np.random.default_rng(5)
    x = generator.normal(size=(200, 1))
    beta = np.where(np.arange(200) < 100, 1.0, 3.0)
    y = beta * x[:, 0] + 0.2 * generator.normal(size=200)
    result = DynamicRegression(1).fit(y, features=x, verbose=0)
    path = result.smooth().mean[:, 0]
    assert path[50] == pytest.approx(1.0, abs=0.2)
    assert path[150] == pytest.approx(3.0, abs=0.2)


def test_irregular_times_and_the_forecast_between_them():
    generator = np.random.default_rng(6)
    times = np.sort(generator.uniform(0, 40, 80))
    y = np.sin(times / 3) + 0.1 * generator.normal(size=80)
    result = MaternProcess(2.5).fit(y, times=times, verbose=0)
    assert result.params["irregular.scale"] == pytest.approx(0.1, rel=0.3)
    forecast = result.forecast(2, times=[times[-1] + 0.1, times[-1] + 500.0])
    assert forecast.mean[0] == pytest.approx(np.sin(times[-1] / 3), abs=0.3)
    stationary = result.params["matern.scale"] ** 2 + result.params["irregular.scale"] ** 2
    assert forecast.variance[1] == pytest.approx(stationary, rel=1e-6)
    with pytest.raises(InputError, match="before the last"):
        result.forecast(1, times=[times[0]])


def test_tracks_of_two_dimensions():
    generator = np.random.default_rng(7)
    velocity = np.cumsum(0.1 * generator.normal(size=(60, 2)), axis=0)
    velocity += [1.0, -0.5]
    y = np.cumsum(velocity, axis=0) + 0.5 * generator.normal(size=(60, 2))
    result = ConstantVelocity(2).fit(y, verbose=0)
    assert result.params["irregular.scale"] == pytest.approx(0.5, rel=0.4)
    forecast = result.forecast(3)
    assert forecast.mean.shape == (3, 2)
    assert forecast.sample(5, seed=0).shape == (5, 3, 2)
    assert forecast.to_frame().shape == (3, 8)
    frame = pd.DataFrame(y, pd.RangeIndex(60), ["east", "north"])
    table = ConstantVelocity(2).fit(frame, verbose=0).forecast(3)
    np.testing.assert_allclose(table.mean["north"], forecast.mean[:, 1], rtol=1e-9)
    assert table.to_frame().columns[0] == ("east", "mean")
    assert table.sample(4, seed=1).columns[-1] == ("north", 3)


def test_appended_data_give_the_result_on_all_of_them(nile):
    early = LocalLevel().fit(NILE.iloc[:60], verbose=0)
    fix = early.params
    whole = LocalLevel().fit(NILE, fix=fix, verbose=0)
    appended = early.append(NILE.iloc[60:])
    assert appended.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-9)
    pd.testing.assert_frame_equal(appended.smooth().mean, whole.smooth().mean, rtol=1e-12)
    pd.testing.assert_series_equal(appended.forecast(3).mean, whole.forecast(3).mean, rtol=1e-12)
    with pytest.raises(InputError, match=r"begin at 1951; .* just before 1931"):
        early.append(NILE.iloc[80:])
    with pytest.raises(InputError, match="of the form of the old ones"):
        early.append(NILE.to_numpy()[60:])


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2000-01-31", periods=42, freq="ME"),
        pd.date_range("2000-01-03", periods=42, freq="B"),
        pd.period_range("2000-01", periods=42, freq="M"),
        pd.RangeIndex(10, 10 + 3 * 42, 3),
    ],
    ids=lambda index: str(index.dtype),
)
def test_one_step_more(index):
    """A single date has no frequency of its own, and two around a gap a wrong one."""
    y = pd.Series(NILE.to_numpy()[:42], index)
    y.iloc[40] = np.nan
    early = LocalLevel().fit(y.iloc[:39], verbose=0)
    expected = early.append(y.iloc[39:]).forecast(2).mean
    one_by_one = early.append(y.iloc[39:40]).append(y.iloc[40:41]).append(y.iloc[41:])
    pd.testing.assert_series_equal(one_by_one.forecast(2).mean, expected)
    around_gap = early.extend(y.iloc[39:].dropna())
    pd.testing.assert_series_equal(around_gap.forecast(2).mean, expected, rtol=1e-10)


def test_new_columns_are_told_by_their_names():
    flow = pd.DataFrame({"low": NILE / 2, "high": NILE * 2})
    model = LocalLevel()
    early = model.fit(flow.iloc[:60], verbose=0)
    swapped = flow[["high", "low"]]
    expected = early.append(flow.iloc[60:])
    for other in (early.append(swapped.iloc[60:]), early.apply(swapped)):
        pd.testing.assert_series_equal(other.log_likelihood, expected.log_likelihood)
        pd.testing.assert_frame_equal(other.forecast(2).mean, expected.forecast(2).mean)
    with pytest.raises(InputError, match="The new data lack 'low'; they have 'lower', 'high'"):
        early.append(flow.iloc[60:].rename(columns={"low": "lower"}))
    motion = ConstantVelocity(2).fit(flow.iloc[:60], verbose=0)
    pd.testing.assert_frame_equal(
        motion.append(swapped.iloc[60:]).impute(), motion.append(flow.iloc[60:]).impute()
    )


def test_extended_data_know_what_came_before():
    model = LocalLinearTrend() + Autoregressive(1)
    y = datasets.air_passengers().to_numpy(np.float64)
    early = model.fit(np.log(y[:100]), verbose=0)
    whole, extended = early.append(np.log(y[100:])), early.extend(np.log(y[100:]))
    assert extended.values.shape == (1, 44, 1)
    total = early.log_likelihood + extended.log_likelihood
    assert total == pytest.approx(whole.log_likelihood, abs=1e-8)
    np.testing.assert_allclose(
        extended.smooth().mean, whole.smooth().mean[100:], rtol=1e-8, atol=1e-10
    )
    np.testing.assert_allclose(extended.forecast(4).variance, whole.forecast(4).variance, rtol=1e-8)


def test_parameters_applied_to_other_data(nile):
    other = nile.apply(NILE[::-1].to_numpy())
    assert other.params == nile.params
    assert other.log_likelihood == pytest.approx(nile.log_likelihood, abs=1e-9)
    with pytest.raises(InputError, match="has 1 series; the new data have 2"):
        nile.apply(np.ones((2, 30)))


def test_imputed_values_are_the_smoothed_ones(airline):
    filled = airline.impute()
    missing = np.isnan(airline.values[0, :, 0])
    assert filled.notna().all()
    np.testing.assert_array_equal(filled[~missing], airline.values[0, ~missing, 0])
    parts = airline.components().mean
    np.testing.assert_allclose(filled[missing], (parts["trend"] + parts["seasonal"])[missing])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fix": {"level": 1.0}}, "no parameter 'level'; it has irregular.scale, level.scale"),
        ({"fix": {"level.scale": -1.0}}, "must not be negative"),
        ({"fix": {"level.scale": [1.0, 2.0]}}, r"level.scale has shape \[2\]"),
        ({"fix": {"level.scale": "small"}}, "fix: level.scale does not hold numbers"),
        ({"fix": ["level.scale"]}, "fix is a dict"),
        ({"share": "level.scale"}, "share is a sequence of names"),
        ({"share": True}, "share is a sequence of names; given was True"),
        ({"share": ["slope.scale"]}, "no parameter 'slope.scale'"),
        ({"share": ["level.scale"], "fix": {"level.scale": 1.0}}, "both fixed and shared"),
        ({"priors": {"level.scale": None}}, "knows no priors"),
        ({"features": np.ones((100, 1))}, "no use for features"),
        ({"times": np.arange(100)}, "moves by steps, not in time"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(InputError, match=message):
        LocalLevel().fit(NILE, verbose=0, **arguments)


@pytest.mark.parametrize(
    ("model", "fix", "message"),
    [
        (DampedTrend(), {"slope.damping": 1.2}, "slope.damping must lie between 0 and 1"),
        (DampedTrend(), {"slope.damping": 1.0}, "fixed parameters at the end of their range"),
        (Cycle(), {"cycle.period": 1.0}, "cycle.period must lie between 2.5 and 60"),
        (Autoregressive(1), {"autoregressive.coefficients": [1.0]}, "of a stationary process"),
        (Autoregressive(2), {"autoregressive.coefficients": [0.7, 0.4]}, "of a stationary process"),
        (ARIMA(((1, 4), 0, 0)), {"arima.ar": [0.5, 0.5]}, "of a stationary process"),
        (
            VectorAutoregressive(1, 1),
            {"autoregression.coefficients": [[[-1.0]]]},
            "of a stationary process",
        ),
    ],
)
def test_values_fixed_outside_the_domain(model, fix, message):
    with pytest.raises(InputError, match=message):
        model.fit(NILE, fix=fix, verbose=0)


def test_what_the_data_do_not_tell_is_said():
    """Where an information is tiny, rounding decides whether there is a standard error or none."""
    damped = DampedTrend().fit(NILE, verbose=0)  # of a slope that never moves
    notes = damped.summary().split("Note: ")[1:]
    assert any("slope.damping" in note for note in notes)
    # On the edge of stationarity, but sharply so; its noise is the part that vanishes.
    wave = (LocalLevel() + Autoregressive(2)).fit(NILE, verbose=0)
    assert "the data say next to nothing of autoregressive.scale: other" in wave.summary()
    assert "next to nothing" not in LocalLevel().fit(NILE, verbose=0).summary()


def test_values_fixed_at_the_ends_of_the_domain():
    white = LocalLevel().fit(NILE, fix={"level.scale": 0.0}, verbose=0)
    damped = {"level.scale": 0.0, "slope.scale": 0.0, "slope.damping": 0.0}
    result = DampedTrend().fit(NILE, fix=damped, verbose=0)
    assert result.log_likelihood == pytest.approx(white.log_likelihood, abs=1e-9)
    # What is not invertible has a twin that is, with the same likelihood.
    outside = {"arima.ma": [-2.0], "arima.scale": 75.0}
    inside = {"arima.ma": [-0.5], "arima.scale": 150.0}
    outside, inside = (ARIMA((0, 1, 1)).fit(NILE, fix=x, verbose=0) for x in (outside, inside))
    assert outside.log_likelihood == pytest.approx(inside.log_likelihood, abs=1e-9)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, "needs features, 2 known columns of 100 steps"),
        (np.ones((99, 2)), r"features has shape \[99, 2\]"),
        (np.ones((3, 100, 2)), "is for 3 series"),
        (np.full((100, 2), np.nan), "column 0 is nan at step 0"),
        (np.ones((100, 2)), "patterns in common"),
    ],
)
def test_features_that_cannot_be_used(features, message):
    with pytest.raises(InputError, match=message):
        (LocalLevel() + Regression(2)).fit(NILE.to_numpy(), features=features, verbose=0)


def test_a_batch_is_fitted_as_its_members_are():
    y = simulated(5)
    y[2, 10:20] = np.nan
    together = LocalLevel().fit(y, verbose=0)
    for i in range(5):
        alone = LocalLevel().fit(y[i], verbose=0)
        assert together.log_likelihood[i] == pytest.approx(alone.log_likelihood, abs=1e-9)
        assert together[i].params == pytest.approx(alone.params, rel=1e-6)
        np.testing.assert_allclose(
            together.forecast(3).variance[i], alone.forecast(3).variance, rtol=1e-6
        )


@pytest.mark.parametrize(
    "model",
    [ExponentialSmoothing("add", damped=True), LocalLinearTrend(), LocalLevel() + Regression(1)],
    ids=repr,
)
def test_missing_steps_before_the_first_value_say_nothing(model):
    generator = np.random.default_rng(8)
    y = np.cumsum(np.cumsum(generator.normal(size=60)) * 0.3) + generator.normal(size=60)
    padded = np.stack([np.r_[np.full(40, np.nan), y[:60]], np.r_[y, generator.normal(size=40)]])
    features = generator.normal(size=(100, model.num_features)) if model.num_features else None
    both = model.fit(padded, features=features, verbose=0)
    own = None if features is None else features[40:]
    alone = model.fit(y, features=own, verbose=0)
    assert both.log_likelihood[0] == pytest.approx(alone.log_likelihood, abs=1e-8)
    assert both[0].params == pytest.approx(alone.params, rel=1e-5)
    assert both[0].standard_errors == pytest.approx(alone.standard_errors, rel=1e-3, nan_ok=True)
    future = None if features is None else np.zeros((3, 1))
    np.testing.assert_allclose(
        both[0].forecast(3, future).variance, alone.forecast(3, future).variance, rtol=1e-5
    )


def test_missing_steps_before_the_first_value_in_time():
    times = np.arange(30.0) ** 1.1
    y = np.r_[np.full(6, np.nan), np.sin(times[6:] / 4)]
    y += 0.1 * np.random.default_rng(2).normal(size=30)
    whole = MaternProcess(1.5).fit(y, times=times, verbose=0)
    seen = MaternProcess(1.5).fit(y[6:], times=times[6:], verbose=0)
    assert whole.log_likelihood == pytest.approx(seen.log_likelihood, abs=1e-8)


def test_the_known_start_of_a_custom_model_is_that_of_the_first_step():
    def walk(noise, step):
        return ss.LinearGaussianSSM([[1.0]], [[step]], [[1.0]], [[noise]], [0.0], [[0.0]])

    y = np.r_[np.full(5, np.nan), np.random.default_rng(9).normal(size=50).cumsum()]
    values = {"noise": 0.5, "step": 1.0}
    result = Custom(walk).fit(y, fix=values, verbose=0)
    expected = ss.log_likelihood(Custom(walk).build(values), y[:, None])
    assert result.log_likelihood == pytest.approx(float(expected), abs=1e-10)
