"""Batches in which some series cannot be estimated: the others must not notice."""

import warnings

import numpy as np
import pandas as pd
import pytest

import statespace as ss
from statespace.forecasting.errors import InputError, SkippedSeriesWarning
from statespace.models import (
    LocalLevel,
    LocalLinearTrend,
    Regression,
    Seasonal,
    VectorAutoregressive,
)

STEPS = 40
WALKS = np.random.default_rng(3).normal(size=(5, STEPS)).cumsum(axis=1)
BAD = WALKS.copy()
BAD[1] = 3.0
BAD[3, 2:] = np.nan
SKIPPED = np.array([False, True, False, True, False])


@pytest.fixture(scope="module")
def partly():
    with pytest.warns(SkippedSeriesWarning) as caught:
        result = LocalLevel().fit(BAD, verbose=0)
    [warning] = [one for one in caught if one.category is SkippedSeriesWarning]
    return result, str(warning.message)


@pytest.fixture(scope="module")
def without():
    return LocalLevel().fit(BAD[~SKIPPED], verbose=0)


def test_the_warning_names_series_and_reasons(partly):
    _, message = partly
    assert message.splitlines() == [
        "Skipped 2 of 5 series, for which the result holds NaN:",
        "y[1]: all 40 observed values are 3. A constant column has no variation to estimate.",
        "y[3]: 2 observed values are too few for LocalLevel(), which needs at least 3: one for "
        "each of its 1 diffuse states and 2 parameters. Use a longer series or a smaller model.",
    ]


def test_the_warning_points_at_the_line_of_the_user():
    with pytest.warns(SkippedSeriesWarning) as caught:
        LocalLevel().fit(BAD, verbose=0)
    assert __file__ in {one.filename for one in caught}


def test_many_are_counted():
    bad = np.concatenate([WALKS, np.ones((8, STEPS))])
    with pytest.warns(SkippedSeriesWarning, match=r"Skipped 8 of 13[\s\S]*y\[9\][\s\S]*and 3 more"):
        LocalLevel().fit(bad, verbose=0)


def test_estimates_of_the_others_are_those_without(partly, without):
    result, _ = partly
    np.testing.assert_array_equal(result.skipped, SKIPPED)
    assert not result.converged[SKIPPED].any()
    assert result.message[1].startswith("all 40 observed values")
    for of in ("params", "standard_errors"):
        for name, value in getattr(result, of).items():
            assert np.isnan(value[SKIPPED]).all()
            np.testing.assert_array_equal(value[~SKIPPED], getattr(without, of)[name])
    for criterion in ("log_likelihood", "aic", "aicc", "bic"):
        value = getattr(result, criterion)
        assert np.isnan(value[SKIPPED]).all()
        np.testing.assert_array_equal(value[~SKIPPED], getattr(without, criterion))
    assert not any(zero[SKIPPED].any() for zero in result.at_boundary.values())


def test_what_follows_is_nan_for_them_and_the_same_for_the_others(partly, without):
    result, _ = partly
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the fit has said it; once is enough
        pairs = [
            (result.forecast(3).mean, without.forecast(3).mean),
            (result.forecast(3).variance, without.forecast(3).variance),
            (result.smooth().means, without.smooth().means),
            (result.smooth().variances, without.smooth().variances),
            (result.components().means, without.components().means),
            (result.diagnostics().innovations, without.diagnostics().innovations),
            (
                result.extend(BAD[:, :5]).log_likelihood,
                without.extend(BAD[~SKIPPED, :5]).log_likelihood,
            ),
            (
                result.append(BAD[:, :5]).forecast(2).mean,
                without.append(BAD[~SKIPPED, :5]).forecast(2).mean,
            ),
        ]
    for ours, theirs in pairs:
        assert np.isnan(ours[SKIPPED]).all()
        np.testing.assert_array_equal(ours[~SKIPPED], theirs)
    assert result.diagnostics().ljung_box.p_value.shape == (5,)
    assert "skipped: all 40 observed values are 3" in result.summary()


def test_asking_a_skipped_series_alone_is_an_error(partly):
    result, _ = partly
    with pytest.raises(InputError, match=r"skipped in the fit: all 40 observed values"):
        result[1].forecast(2)
    with pytest.raises(InputError, match=r"skipped in the fit"):
        result[3].smooth()
    assert result[0].forecast(2).mean.shape == (2,)


def test_they_are_saved_as_what_they_are(partly, tmp_path):
    result, _ = partly
    result.save(tmp_path / "some.statespace")
    loaded = ss.load(tmp_path / "some.statespace")
    np.testing.assert_array_equal(loaded.skipped, SKIPPED)
    np.testing.assert_array_equal(loaded.message, result.message)
    np.testing.assert_array_equal(loaded.forecast(2).mean, result.forecast(2).mean)


def test_frames():
    months = pd.period_range("2020-01", periods=STEPS, freq="M")
    frame = pd.DataFrame(BAD.T, index=months, columns=list("abcde"))
    with pytest.warns(SkippedSeriesWarning, match="b: all 40"):
        result = LocalLevel().fit(frame, verbose=0)
    assert result.skipped.index[result.skipped].tolist() == ["b", "d"]
    table = result.forecast(2).mean
    assert table[["b", "d"]].isna().all().all()
    assert table[["a", "c", "e"]].notna().all().all()


def test_all_unusable_is_an_error():
    with pytest.raises(InputError, match=r"y\[0\]: all 40 observed values are 1"):
        LocalLevel().fit(np.ones((3, STEPS)), verbose=0)


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        (np.full(STEPS, np.nan), "every one of its 40 values is missing"),
        (1e-200 * WALKS[0], "too far from 1 to be squared"),
        (np.arange(STEPS) * 2.0, "without any error"),
        (np.where(np.arange(STEPS) < STEPS - 4, np.nan, WALKS[0]), "too few"),
    ],
)
def test_reasons(series, reason):
    batch = np.stack([WALKS[0], series, WALKS[2]])
    with pytest.warns(SkippedSeriesWarning, match=reason):
        result = LocalLinearTrend().fit(batch, verbose=0)
    np.testing.assert_array_equal(result.skipped, [False, True, False])


def test_a_season_that_is_never_seen():
    gaps = np.where(np.arange(STEPS) % 4 == 1, np.nan, WALKS[1])
    with pytest.warns(SkippedSeriesWarning, match="do not determine all 4 diffuse states"):
        result = (LocalLevel() + Seasonal(4)).fit(np.stack([WALKS[0], gaps]), verbose=0)
    np.testing.assert_array_equal(result.skipped, [False, True])


def test_features_that_tell_nothing_of_one_series():
    features = np.random.default_rng(0).normal(size=(3, STEPS, 1))
    features[1] = 1.0  # which the level is as well
    with pytest.warns(SkippedSeriesWarning, match=r"y\[1\]"):
        result = (LocalLevel() + Regression(1)).fit(WALKS[:3], features=features, verbose=0)
    np.testing.assert_array_equal(result.skipped, [False, True, False])


def test_values_out_of_all_proportion():
    """Its squares overflow at any parameter, although the values vary by a sensible amount."""
    spoilt = WALKS[:3].copy()
    spoilt[1, 20] = 1e200
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = LocalLevel().fit(spoilt, verbose=0)
    others = LocalLevel().fit(spoilt[[0, 2]], verbose=0)
    np.testing.assert_array_equal(result.log_likelihood[[0, 2]], others.log_likelihood)
    kinds = [one.category for one in caught if one.category is not DeprecationWarning]
    assert kinds == [SkippedSeriesWarning] * int(result.skipped[1])  # and none of overflows


def test_shared_parameters_are_those_of_the_others(without):
    share = ["level.scale"]
    with pytest.warns(SkippedSeriesWarning):
        result = LocalLevel().fit(BAD, share=share, verbose=0)
    others = LocalLevel().fit(BAD[~SKIPPED], share=share, verbose=0)
    np.testing.assert_array_equal(
        result.params["level.scale"][~SKIPPED], others.params["level.scale"]
    )
    assert np.isnan(result.params["level.scale"][SKIPPED]).all()


@pytest.mark.parametrize("method", ["map", "em", "vi"])
def test_other_methods(method):
    with pytest.warns(SkippedSeriesWarning):
        result = LocalLevel().fit(BAD, method, verbose=0)
    forecast = result.forecast(2).mean
    np.testing.assert_array_equal(np.isnan(forecast).any(axis=1), SKIPPED)


def test_several_variables():
    pairs = np.stack([WALKS[:2].T, WALKS[2:4].T])
    pairs[1, :, 1] = 2.0
    with pytest.warns(SkippedSeriesWarning, match="values of variable 1 are 2"):
        result = VectorAutoregressive(1, 2).fit(pairs, verbose=0, num_starts=1)
    np.testing.assert_array_equal(result.skipped, [False, True])


def test_evaluation_compares_what_all_can_forecast():
    with pytest.warns(SkippedSeriesWarning):
        scores = ss.forecasting.evaluate(LocalLevel(), BAD, horizon=2, num_origins=1, verbose=0)
    alone = ss.forecasting.evaluate(
        LocalLevel(), BAD[~SKIPPED], horizon=2, num_origins=1, verbose=0
    )
    pd.testing.assert_frame_equal(scores.to_frame(), alone.to_frame())
