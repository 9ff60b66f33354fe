"""The forecaster of sktime gives what fits and forecasts give, and keeps sktime's rules."""

import doctest
import importlib.util

import numpy as np
import pandas as pd
import pytest

from statespace import datasets
from statespace.forecasting import Forecaster
from statespace.forecasting.errors import InputError
from statespace.forecasting.sktime_forecaster import default_model
from statespace.models import DampedTrend, LocalLevel, LocalLinearTrend, Regression, Seasonal

INSTALLED = importlib.util.find_spec("sktime") is not None
needs_sktime = pytest.mark.skipif(
    not INSTALLED, reason="NOT TESTED: sktime is missing; pip install 'statespace-tf[sktime]'"
)
# sktime tells of changes to come in each constructor.
pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning:sktime", "ignore::FutureWarning:skbase"
)

rng = np.random.default_rng(3)
NILE = datasets.nile()


@pytest.mark.skipif(INSTALLED, reason="sktime is installed")
def test_without_sktime_the_error_says_what_to_install():
    with pytest.raises(ImportError, match=r"statespace-tf\[sktime\]"):
        Forecaster()


@pytest.mark.parametrize(
    ("frequency", "length", "expected"),
    [
        ("M", 60, "DampedTrend() + Seasonal(12)"),
        ("M", 35, "DampedTrend()"),
        ("M", 11, "LocalLevel()"),
        ("Q", 30, "DampedTrend() + Seasonal(4)"),
        ("Y", 30, "DampedTrend()"),
        ("D", 30, "DampedTrend() + Seasonal(7)"),
        ("W", 200, "DampedTrend() + TrigonometricSeasonal(52, 6)"),
        ("h", 100, "DampedTrend() + Seasonal(24)"),
        ("6h", 100, "DampedTrend() + Seasonal(4)"),
        ("30min", 100, "DampedTrend() + TrigonometricSeasonal(48, 6)"),
        ("7h", 100, "DampedTrend()"),
        ("2M", 100, "DampedTrend() + Seasonal(6)"),
    ],
)
def test_the_default_has_the_season_of_the_frequency(frequency, length, expected):
    index = pd.period_range("2020-01-01", periods=length, freq=frequency)
    assert repr(default_model(pd.Series(1.0, index))) == expected


def test_the_default_for_dates_numbers_and_gaps():
    months = pd.date_range("2020-01-15", periods=60, freq=pd.DateOffset(months=1))
    y = pd.Series(np.arange(60.0), pd.date_range("2020-01-31", periods=60, freq="ME"))
    assert repr(default_model(y)) == "DampedTrend() + Seasonal(12)"
    assert repr(default_model(y.drop(y.index[[3, 4, 20]]))) == "DampedTrend() + Seasonal(12)"
    assert repr(default_model(y.where(np.arange(60) % 2 == 0))) == "DampedTrend()"
    assert repr(default_model(y.set_axis(months))) == "DampedTrend() + Seasonal(12)"
    days = pd.bdate_range("2024-01-01", periods=60)
    assert repr(default_model(y.set_axis(days))) == "DampedTrend() + Seasonal(5)"
    assert repr(default_model(y.reset_index(drop=True))) == "DampedTrend()"
    assert repr(default_model(y.reset_index(drop=True), season=4)) == "DampedTrend() + Seasonal(4)"
    assert repr(default_model(y, season=1, num_features=2)) == "DampedTrend() + Regression(2)"


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(LocalLevel()).fit(NILE, fh=[1, 2, 5])


@needs_sktime
def test_predictions_are_those_of_the_forecast(fitted):
    expected = LocalLevel().fit(NILE, verbose=0).forecast(5)
    rows = expected.mean.index[[0, 1, 4]]
    pd.testing.assert_series_equal(fitted.predict(), expected.mean[rows])
    lower, upper = expected.interval(0.8)
    intervals = fitted.predict_interval(coverage=[0.8])["volume"][0.8]
    np.testing.assert_allclose(intervals["lower"], lower[rows], rtol=1e-12)
    np.testing.assert_allclose(intervals["upper"], upper[rows], rtol=1e-12)
    quantiles = fitted.predict_quantiles(alpha=[0.1, 0.7])
    assert quantiles.columns.tolist() == [("volume", 0.1), ("volume", 0.7)]
    np.testing.assert_allclose(quantiles["volume"][0.7], expected.quantile(0.7)[rows], rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_var()["volume"], expected.variance[rows], rtol=1e-12)


@needs_sktime
def test_distributions(fitted):
    pytest.importorskip("skpro", reason="NOT TESTED: skpro is missing")
    distribution = fitted.predict_proba()
    np.testing.assert_allclose(distribution.mean()["volume"], fitted.predict(), rtol=1e-12)
    np.testing.assert_allclose(
        distribution.quantile([0.3]).to_numpy(), fitted.predict_quantiles(alpha=[0.3]), rtol=1e-9
    )
    with pytest.raises(NotImplementedError, match="whole paths"):
        fitted.predict_proba(marginal=False)


@needs_sktime
def test_the_past_is_not_predicted(fitted):
    with pytest.raises(NotImplementedError):
        fitted.predict(fh=[-1, 0])


@needs_sktime
@pytest.mark.parametrize("update_params", [False, True])
def test_update(update_params):
    forecaster = Forecaster(LocalLevel()).fit(NILE.iloc[:60])
    before = forecaster.result_.params
    # Some of the new data are known already.
    forecaster.update(NILE.iloc[55:], update_params=update_params)
    if update_params:
        expected = LocalLevel().fit(NILE, verbose=0)
    else:
        expected = LocalLevel().fit(NILE.iloc[:60], verbose=0).apply(NILE)
        assert forecaster.result_.params == before
    pd.testing.assert_series_equal(forecaster.predict(fh=[1, 2]), expected.forecast(2).mean)


@needs_sktime
def test_columns_of_x_are_features():
    x = pd.DataFrame(rng.normal(size=(104, 2)), pd.period_range("1871", periods=104, freq="Y"))
    y = NILE + 300 * x.iloc[:100, 0]
    y.name = "volume"
    model = LocalLevel() + Regression(2)
    forecaster = Forecaster(LocalLevel()).fit(y.iloc[:90], X=x.iloc[:90])
    assert forecaster.model_ == model
    forecaster.update(y.iloc[90:], X=x.iloc[90:100])
    expected = model.fit(y, features=x, verbose=0).forecast(4, features=x.iloc[100:])
    predicted = forecaster.predict(fh=[2, 4], X=x.iloc[100:])
    np.testing.assert_allclose(predicted, expected.mean.iloc[[1, 3]], rtol=1e-9)


@needs_sktime
@pytest.mark.parametrize("index", ["dates", "periods", "numbers"])
def test_horizons_of_any_kind(index):
    from sktime.forecasting.base import ForecastingHorizon

    y = np.log(datasets.air_passengers())
    if index == "dates":
        y.index = y.index.to_timestamp()
    elif index == "numbers":
        y.index = pd.RangeIndex(7, 7 + len(y))
    model = LocalLinearTrend() + Seasonal(12)
    expected = model.fit(y, verbose=0).forecast(3).mean.iloc[1:]
    forecaster = Forecaster(model).fit(y)
    for fh in ([2, 3], ForecastingHorizon(expected.index, is_relative=False)):
        pd.testing.assert_series_equal(forecaster.predict(fh), expected, check_freq=False)


@needs_sktime
def test_horizon_of_days():
    y = pd.Series(np.cumsum(rng.normal(size=30)), pd.date_range("2024-01-01", periods=30, freq="D"))
    predicted = Forecaster(LocalLevel()).fit(y).predict([pd.Timedelta(days=2)])
    assert predicted.index.tolist() == [pd.Timestamp("2024-02-01")]


@needs_sktime
def test_gaps_in_the_dates():
    y = np.log(datasets.air_passengers())
    y.index = y.index.to_timestamp()
    y = y.drop(y.index[[20, 30]])
    model = LocalLinearTrend() + Seasonal(12)
    expected = model.fit(y, verbose=0).forecast(2).mean
    predicted = Forecaster(model).fit(y).predict([1, 2])
    pd.testing.assert_series_equal(predicted, expected, check_freq=False)


@needs_sktime
def test_each_column_is_a_series():
    y = pd.DataFrame({"a": NILE, "b": NILE.to_numpy()[::-1]})
    predicted = Forecaster(LocalLevel()).fit(y).predict(fh=[1])
    expected = LocalLevel().fit(y, verbose=0).forecast(1).mean
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


@needs_sktime
@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (pd.Series(np.full(20, 3.0)), [3.0, 3.0]),
        (pd.Series(np.zeros(20)), [0.0, 0.0]),
        (pd.Series(np.arange(20.0)), [20.0, 21.0]),
    ],
)
def test_series_without_noise_go_on(y, expected):
    forecaster = Forecaster(LocalLinearTrend())
    with pytest.warns(UserWarning, match="Noise of a millionth"):
        forecaster.fit(y)
    np.testing.assert_allclose(forecaster.predict(fh=[1, 2]), expected, atol=1e-4)


@needs_sktime
def test_other_errors_are_raised():
    with pytest.raises(InputError, match="too few"):
        Forecaster(DampedTrend()).fit(pd.Series([1.0, 2.0, 1.5]))


@needs_sktime
def test_example_of_the_docstring():
    # It is skipped elsewhere, for want of sktime.
    example = Forecaster.__doc__.replace("# doctest: +SKIP", "")
    test = doctest.DocTestParser().get_doctest(example, {}, "Forecaster", None, 0)
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0


@needs_sktime
def test_what_check_estimator_says_of_one_forecaster():
    from sktime.utils.estimator_checks import check_estimator

    names = ["test_constructor", "test_get_params", "test_set_params", "test_clone"]
    names += ["test_predict_time_index", "test_predict_interval", "test_fit_idempotent"]
    forecaster = Forecaster(LocalLevel(), num_starts=1)
    results = check_estimator(forecaster, tests_to_run=names, verbose=False)
    assert len(results) > 20
    assert set(results.values()) == {"PASSED"}


@needs_sktime
@pytest.mark.slow
def test_check_estimator():
    from sktime.utils.estimator_checks import check_estimator

    results = check_estimator(Forecaster, verbose=False)
    assert len(results) > 500
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}
