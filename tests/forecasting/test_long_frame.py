"""Long frames: ragged series in, fits as if each were alone, long frames out."""

import numpy as np
import pandas as pd
import pytest

from statespace import datasets, load
from statespace.forecasting.data import as_batch
from statespace.forecasting.errors import InputError
from statespace.models import LocalLevel, LocalLinearTrend, Regression, Seasonal

rng = np.random.default_rng(7)


def monthly(start, length):
    """A trend with a season and noise."""
    t = np.arange(length)
    y = (
        np.cumsum(rng.normal(0.2, 0.5, length))
        + 2 * np.sin(np.pi * t / 6)
        + rng.normal(size=length)
    )
    return pd.Series(y, pd.date_range(start, periods=length, freq="MS"))


SERIES = {
    "b": monthly("2015-03-01", 70),
    "a": monthly("2012-01-01", 90),
    "c": monthly("2018-01-01", 60),
}


def long(series, **columns):
    parts = [
        pd.DataFrame({"unique_id": key, "ds": y.index, "y": y.to_numpy()})
        for key, y in series.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


@pytest.fixture(scope="module")
def fitted():
    frame = long(SERIES).drop([5, 6, 100])  # gaps in b and a
    return (LocalLinearTrend() + Seasonal(12)).fit(frame, verbose=0)


def alone(fitted, key):
    """The fit of one series without the others."""
    y = SERIES[key].copy()
    y.iloc[{"b": [5, 6], "a": [30], "c": []}[key]] = np.nan
    return fitted.model.fit(y, verbose=0)


def rows(table, key):
    return table[table["unique_id"] == key]


@pytest.mark.parametrize("key", list(SERIES))
def test_each_series_is_fitted_as_if_it_were_alone(fitted, key):
    one = alone(fitted, key)
    assert fitted.log_likelihood[key] == pytest.approx(one.log_likelihood, abs=1e-7)
    assert fitted.aic[key] == pytest.approx(one.aic, abs=1e-6)
    for name, value in one.params.items():
        assert fitted.params[name][key] == pytest.approx(value, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("key", list(SERIES))
def test_forecasts_go_on_from_each_end(fitted, key):
    table = rows(fitted.forecast(15).to_frame(), key)
    one = alone(fitted, key).forecast(15)
    assert pd.DatetimeIndex(table["ds"]).equals(one.mean.index)
    np.testing.assert_allclose(table["mean"], one.mean, rtol=1e-5)
    np.testing.assert_allclose(table["upper_90"], one.interval(0.9).upper, rtol=1e-5)


def test_padding_before_the_start_has_no_influence(fitted):
    # With the same parameters everything agrees to rounding, though one series is padded by 30.
    one = LocalLinearTrend() + Seasonal(12)
    fix = {name: values["c"] for name, values in fitted.params.items()}
    one = one.fit(SERIES["c"], fix=fix, verbose=0)
    assert one.log_likelihood == pytest.approx(fitted.log_likelihood["c"], rel=1e-12)
    forecast, expected = fitted.forecast(5), one.forecast(5)
    np.testing.assert_allclose(rows(forecast.variance, "c")["y"], expected.variance, rtol=1e-10)
    np.testing.assert_allclose(rows(forecast.mean, "c")["y"], expected.mean, rtol=1e-10)
    states = rows(fitted.smooth().mean, "c").set_index("ds").drop(columns="unique_id")
    pd.testing.assert_frame_equal(states, one.smooth().mean, check_names=False, check_freq=False)


def test_tables(fitted):
    table = fitted.forecast(2).to_frame(0.8)
    assert table.columns.tolist() == [
        "unique_id",
        "ds",
        "mean",
        "standard_deviation",
        "lower_80",
        "upper_80",
    ]
    assert table["unique_id"].tolist() == ["b", "b", "a", "a", "c", "c"]
    assert fitted.log_likelihood.index.tolist() == ["b", "a", "c"]
    filled = fitted.impute()
    assert filled.columns.tolist() == ["unique_id", "ds", "y"]
    assert len(filled) == sum(map(len, SERIES.values()))
    assert filled["y"].notna().all()
    components = fitted.components().mean
    assert components.columns.tolist() == ["unique_id", "ds", "trend", "seasonal", "irregular"]
    total = components[["trend", "seasonal", "irregular"]].sum(axis=1)
    np.testing.assert_allclose(rows(components.assign(total=total), "c")["total"], SERIES["c"])


def test_samples(fitted):
    paths = fitted.forecast(4).sample(3, seed=1)
    assert paths.shape == (12, 5)
    assert paths.columns.tolist() == ["unique_id", "ds", 0, 1, 2]


def test_one_series_of_many(fitted):
    one = fitted["b"]
    assert one.forecast(3).mean.index[0] == pd.Timestamp("2021-01-01")
    assert one.forecast(3).mean.name == "b"
    smoothed = one.smooth().mean
    assert smoothed.index.equals(SERIES["b"].index)
    assert smoothed.index.freqstr == "MS"
    expected = rows(fitted.smooth().mean, "b")["level"]
    np.testing.assert_allclose(smoothed["level"], expected, rtol=1e-9)
    later = SERIES["b"].iloc[:4].set_axis(one.forecast(4).mean.index)
    assert one.append(later).smooth().mean.shape == (74, 13)
    with pytest.raises(KeyError, match="No series 'd'; there are b, a, c"):
        fitted["d"]


def test_plots_of_one_series_leave_padding_out(fitted):
    one = fitted["c"]
    lines = one.plot().lines
    x = lines[-1].get_xdata(orig=False)
    assert np.isnan(x[:30].astype(float)).all()
    assert np.isfinite(x[30:].astype(float)).all()
    one.plot_components()
    figure = one.forecast(5).plot().figure
    figure.canvas.draw()


def test_summary_names_the_series(fitted):
    summary = fitted.summary()
    assert "3 series" in summary
    assert "b: 68 observed values" in summary


def test_append_to_all(fitted):
    ahead = fitted.forecast(2)
    more = ahead.mean.assign(y=ahead.mean["y"] + 1.0)
    longer = fitted.append(more)
    assert longer.forecast(1).mean["ds"].tolist() == fitted.forecast(3).mean["ds"].tolist()[2::3]
    np.testing.assert_allclose(rows(longer.impute(), "a")["y"].iloc[-2:], rows(more, "a")["y"])
    assert len(longer.impute()) == len(fitted.impute()) + 6


def test_new_rows_that_do_not_follow(fitted):
    ahead = fitted.forecast(2).mean
    with pytest.raises(InputError, match=r"In place of c, 2023-02-01 .* there is no row \(row 5"):
        fitted.append(ahead.iloc[:5])
    with pytest.raises(InputError, match="The new data lack 'c'; they have 'b', 'a'"):
        fitted.append(ahead.iloc[:4])
    with pytest.raises(InputError, match=r"In place of b, 2021-01-01 .* is b, 2021-02-01"):
        fitted.append(ahead.iloc[1::2])
    with pytest.raises(InputError, match=r"2019-07-02 .* is not at the steps .* frequency MS"):
        fitted.append(ahead.assign(ds=ahead["ds"] + pd.Timedelta(days=1)))


def test_new_rows_find_their_series(fitted):
    """One step for each, and in another order, belongs to the series that it names."""
    more = fitted.forecast(1).mean.assign(y=[100.0, 0.0, np.nan])
    longer = fitted.append(more)
    pd.testing.assert_frame_equal(fitted.append(more.iloc[::-1]).impute(), longer.impute())
    for key, last in (("b", 100.0), ("a", 0.0)):
        assert rows(longer.impute(), key)["y"].iloc[-1] == last
    frame = long(SERIES)
    backwards = long({key: SERIES[key] for key in reversed(SERIES)})
    pd.testing.assert_series_equal(
        fitted.apply(backwards).log_likelihood, fitted.apply(frame).log_likelihood
    )


# --- features


def test_features_are_columns():
    frame = long(SERIES)
    x = {key: rng.normal(size=len(y) + 4) for key, y in SERIES.items()}
    frame["x"] = np.concatenate([x[key][:-4] for key in SERIES])
    frame["y"] += 5 * frame["x"]
    model = LocalLevel() + Regression(1)
    fitted = model.fit(frame, features=["x"], verbose=0)
    coming = fitted.layout.future(90, 4).index.to_frame(index=False)
    coming["x"] = np.concatenate([x[key][-4:] for key in SERIES])
    unknown = coming.iloc[:2].assign(unique_id="elsewhere")
    forecast = fitted.forecast(4, features=pd.concat([unknown, coming[::-1]]))
    for key, y in SERIES.items():
        one = model.fit(y + 5 * x[key][:-4], features=x[key][:-4], verbose=0)
        expected = one.forecast(4, features=x[key][-4:])
        assert fitted.log_likelihood[key] == pytest.approx(one.log_likelihood, abs=1e-6)
        np.testing.assert_allclose(rows(forecast.mean, key)["y"], expected.mean, rtol=1e-4)
    as_frame = model.fit(frame, features=frame[["unique_id", "ds", "x"]], verbose=0)
    pd.testing.assert_series_equal(as_frame.log_likelihood, fitted.log_likelihood)
    with pytest.raises(InputError, match=r"a, 2019-07-01.*1 of 12 steps"):
        fitted.forecast(4, features=coming.drop(4))


@pytest.fixture(scope="module")
def two_features():
    """A fit with two features, and the frame of the steps after its data."""
    x = np.random.default_rng(8).normal(size=(220, 2))
    frame = long(SERIES).assign(price=x[:, 0], promotion=x[:, 1])
    frame["y"] += 5 * frame["price"] - 2 * frame["promotion"]
    model = LocalLevel() + Regression(2)
    fitted = model.fit(frame, features=["price", "promotion"], num_starts=1, verbose=0)
    coming = fitted.layout.future(90, 4).index.to_frame(index=False)
    x = np.random.default_rng(9).normal(size=(12, 2))
    return fitted, coming.assign(price=x[:, 0], promotion=x[:, 1], y=x.sum(axis=1))


def test_features_to_come_are_known_by_their_names(two_features):
    fitted, coming = two_features
    expected = fitted.forecast(4, features=coming).mean
    for columns in (
        ["unique_id", "ds", "promotion", "price"],
        ["promotion", "ds", "y", "price", "unique_id"],
    ):
        ahead = fitted.forecast(4, features=coming[columns].assign(holiday=1.0)).mean
        pd.testing.assert_frame_equal(ahead, expected)
    swapped = coming.rename(columns={"price": "promotion", "promotion": "price"})
    difference = fitted.forecast(4, features=swapped).mean["y"] - expected["y"]
    assert (difference.abs() > 0.1).any()
    with pytest.raises(InputError, match=r"no column 'promotion'; the columns are 'price'"):
        fitted.forecast(4, features=coming.drop(columns="promotion"))
    with pytest.raises(InputError, match="no columns 'price', 'promotion'"):
        fitted.forecast(4, features=coming[["unique_id", "ds"]])


@pytest.mark.parametrize("go_on", ["append", "extend"])
def test_features_of_new_data_are_its_columns(two_features, go_on):
    fitted, coming = two_features
    expected = getattr(fitted, go_on)(coming, features=coming).log_likelihood
    with_others = coming.assign(holiday=1.0)
    for names in (["price", "promotion"], ["promotion", "price"]):
        longer = getattr(fitted, go_on)(with_others, features=names)
        pd.testing.assert_series_equal(longer.log_likelihood, expected)
    with pytest.raises(InputError, match="no column 'promotion'"):
        getattr(fitted, go_on)(with_others, features=["price", "holiday"])
    with pytest.raises(InputError, match="no column 'prices'"):
        getattr(fitted, go_on)(with_others, features=["prices", "promotion"])


def test_names_of_features_are_saved(two_features, tmp_path):
    fitted, coming = two_features
    fitted.save(tmp_path / "fit.statespace")
    loaded = load(tmp_path / "fit.statespace")
    ahead = loaded.forecast(4, features=coming[["unique_id", "ds", "promotion", "price"]])
    pd.testing.assert_frame_equal(ahead.mean, fitted.forecast(4, features=coming).mean)


def test_one_of_the_series_knows_the_names(two_features):
    fitted, coming = two_features
    own = rows(coming, "a").set_index("ds")
    ahead = fitted["a"].forecast(4, features=own[["promotion", "price"]])
    expected = rows(fitted.forecast(4, features=coming).mean, "a")["y"]
    np.testing.assert_allclose(ahead.mean, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["price"], "no column 'price'"),
        ("x", "list of names"),
        (np.ones((90, 1)), "list of names"),
        (["y", "y"], r"shape \[3, 90, 2\]"),
        (["x"], "b, 2015-04-01.*1 of 220 steps"),
        (["word"], "b, 2015-03-01.*'one', not a number"),
    ],
)
def test_bad_features(features, message):
    x = np.ones(220)
    x[1] = np.nan
    frame = long(SERIES, x=x, word="one")
    with pytest.raises(InputError, match=message):
        (LocalLevel() + Regression(1)).fit(frame, features=features, verbose=0)


# --- indexes


@pytest.mark.parametrize(
    ("dates", "frequency", "following"),
    [
        ({"a": [1, 2, 3], "b": [11, 12, 14]}, None, [4, 15]),
        ({"a": [1, 2, 3], "b": [1001, 1002]}, None, [4, 1003]),
        ({"a": [0, 2, 6], "b": [11, 13, 15]}, None, [8, 17]),
        ({"a": ["2024-01-01", "2024-01-08", "2024-01-22"], "b": ["2024-01-04", "2024-01-11"]},
         "7D", ["2024-01-29", "2024-01-18"]),
        ({"a": ["2020-03-31", "2020-06-30"], "b": ["2020-06-30", "2020-12-31"]},
         "QE-MAR", ["2020-09-30", "2021-03-31"]),
        ({"a": pd.period_range("2020-01", periods=3, freq="M"),
          "b": pd.period_range("2020-06", periods=3, freq="2M")},
         None, ["2020-04", "2020-12"]),
    ],
)  # fmt: skip
def test_one_frequency_for_all(dates, frequency, following):
    if frequency:
        dates = {key: pd.DatetimeIndex(entries) for key, entries in dates.items()}
    if "2020-12" in following:
        dates["b"] = dates["b"].asfreq("M")
    frame = long({key: pd.Series(1.0, entries) for key, entries in dates.items()})
    values, layout = as_batch(frame)
    ahead = layout.future(values.shape[1], 1).index.get_level_values("ds")
    assert [str(date)[:10] for date in ahead] == list(map(str, following))
    if frequency:
        assert layout.selected("a")[1].index.freqstr == frequency
    pd.testing.assert_frame_equal(
        layout.per_step(values).dropna(ignore_index=True), frame, check_dtype=False
    )


def test_rows_may_be_interleaved():
    frame = long(SERIES)
    by_date = frame.sort_values("ds", kind="stable")
    one, other = as_batch(frame)[1], as_batch(by_date)[1]
    assert one.columns.tolist() == ["b", "a", "c"]
    assert other.columns.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(as_batch(frame)[0][[1, 0, 2]], as_batch(by_date)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.drop(columns="y"), "no y but unique_id, ds"),
        (lambda f: pd.concat([f, f.iloc[[70]]]), "a, 2012-01-01.*several rows"),
        (lambda f: f.iloc[[1, 0, *range(2, 220)]], "b, 2015-03-01.*after a later one"),
        (lambda f: f.assign(unique_id=f["unique_id"].where(f.index != 3)), "Row 3.*2015-06-01"),
        (lambda f: f.assign(ds=f["ds"].where(f.index != 71)), "Row 71 has no ds.* a"),
        (lambda f: f.assign(y=f["y"].astype(str).where(f.index != 2, "?")), r"b, 2015-05-01.*'\?'"),
        (lambda f: f.assign(y=f["y"].where(f.index != 2, np.inf)), "b, 2015-05-01.*infinite"),
        (lambda f: f.assign(y=f["y"] > 0), "real numbers"),
        (lambda f: f.assign(ds=f["ds"].astype(str)), "Column ds.*to_datetime"),
        (lambda f: f[(f["unique_id"] != "b") | f.index.isin([0, 69])], "b: its 2 dates"),
    ],
)  # fmt: skip
def test_errors_name_series_and_date(change, message):
    with pytest.raises(InputError, match=message):
        as_batch(change(long(SERIES)))


def test_several_variables_are_refused():
    with pytest.raises(InputError, match="2 variables"):
        as_batch(long(SERIES), num_observed=2)


def test_a_single_series_is_as_a_series():
    nile = datasets.nile()
    frame = long({"nile": nile})
    one, many = LocalLevel().fit(nile, verbose=0), LocalLevel().fit(frame, verbose=0)
    assert many.log_likelihood["nile"] == pytest.approx(one.log_likelihood, abs=1e-10)
    assert many.forecast(1).mean["ds"].iloc[0] == pd.Period("1971", "Y")
