"""Saved results: files that give back every number, in any process."""

import dataclasses
import json
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

import statespace as ss
from statespace import datasets
from statespace.forecasting import InputError
from statespace.forecasting.saved_layout import read_layout, written_layout
from statespace.models import ARIMA, ConstantVelocity, Custom, LocalLevel, MaternProcess, Regression

HORIZON = 3
FLOW = datasets.nile().to_numpy()[:30]


def dated(index, name="flow"):
    return pd.Series(FLOW[: len(index)], index, name=name)


def random_walk(noise, step):
    return ss.LinearGaussianSSM(
        [[1.0]], [[step]], [[1.0]], [[noise]], [0.0], [[0.0]], diffuse=[True]
    )


def numbers(result, features=None, times=None):
    """All that a result gives, as objects to compare."""
    ahead = result.forecast(HORIZON, features, times)
    smoothed = result.smooth()
    return {
        "params": result.params,
        "criteria": [result.log_likelihood, result.aic, result.aicc, result.bic],
        "messages": [result.converged, list(result.estimates.message), result.at_boundary],
        "forecast": [ahead.mean, ahead.variance, *ahead.interval(0.8)],
        "paths": ahead.sample(2, seed=1),
        "components": [ahead.components().mean, result.components().mean],
        "states": [smoothed.mean, smoothed.variance, smoothed.covariance],
        "imputed": result.impute(),
        "deviations": result.standard_errors,
        "summary": result.summary(),
    }


def assert_same(one, other):
    """To the last bit, and of the same kind."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        assert_same([*one.values()], [*other.values()])
    elif isinstance(one, list | tuple):
        for x, y in zip(one, other, strict=True):
            assert_same(x, y)
    elif isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_freq=True)
    elif isinstance(one, pd.Series):
        pd.testing.assert_series_equal(one, other, check_exact=True, check_freq=True)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    else:
        assert one == other or one != one


def long_frame():
    lengths = {"b": 30, "a": 12, "c": 20}
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2020-01-31", periods=n, freq="ME"),
                "y": FLOW[:n],
            }
        )
        for name, n in lengths.items()
    )


STEPS = np.arange(30 + HORIZON, dtype=float)[:, np.newaxis] % 4
TIMES = np.cumsum(np.linspace(0.5, 1.5, 30))
CASES = {
    "array": (LocalLevel(), FLOW, {}),
    "batch": (LocalLevel(), np.stack([FLOW, FLOW[::-1], 2 * FLOW, FLOW**0.5])[:, np.newaxis], {}),
    "periods": (LocalLevel(), datasets.nile(), {}),
    "gaps in dates": (
        LocalLevel(),
        dated(pd.date_range("2020", periods=30, freq="MS", name="month")).drop("2020-05-01"),
        {},
    ),
    "clocks that change": (
        LocalLevel(),
        dated(pd.date_range("2024-03-20", periods=30, freq="D", tz="Europe/Berlin")),
        {},
    ),
    "whole numbers": (LocalLevel(), dated(pd.RangeIndex(4, 64, 2), name=None), {}),
    "frame": (LocalLevel(), pd.DataFrame({"a": FLOW, ("b", 1): FLOW[::-1]}), {}),
    "long frame": (LocalLevel(), long_frame(), {}),
    "variables": (
        ConstantVelocity(2),
        pd.DataFrame(
            {"x": FLOW, "y": FLOW.cumsum()}, pd.period_range("2020Q1", periods=30, freq="Q")
        ),
        {},
    ),
    "features": (LocalLevel() + Regression(1), FLOW, {"features": STEPS[:30]}),
    "coefficients": (
        ARIMA((1, 0, 0), mean=True) + Regression(1, as_states=False),
        dated(pd.date_range("2024-03-20 10:00", periods=30, freq="15min", tz="UTC")),
        {"features": STEPS[:30]},
    ),
    "times": (MaternProcess(0.5), FLOW, {"times": TIMES}),
    "fixed and shared": (
        LocalLevel(),
        np.stack([FLOW, FLOW[::-1]]),
        {"fix": {"irregular.scale": [100.0, 120.0]}, "share": ["level.scale"]},
    ),
    "default priors": (LocalLevel(), FLOW, {"method": "map"}),
}


@pytest.mark.parametrize("name", CASES)
def test_everything_comes_back(name, tmp_path):
    model, y, options = CASES[name]
    result = model.fit(y, verbose=0, **options)
    path = tmp_path / "result.statespace"
    assert result.save(path) is None
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    again = ss.load(path)
    assert again.model == model
    assert (again.method, again.share) == (result.method, result.share)
    known = {"features": STEPS[30:]} if "features" in options else {}
    assert_same(numbers(again, **known), numbers(result, **known))


def test_draws_come_back(tmp_path):
    fix = {"irregular.scale": 120.0}
    result = LocalLevel().fit(datasets.nile().iloc[:12], "vi", fix=fix, verbose=0)
    result.save(tmp_path / "draws.statespace")
    again = ss.load(tmp_path / "draws.statespace")
    assert_same(again.draws, result.draws)
    assert_same(again.potential_scale_reduction(), result.potential_scale_reduction())
    assert_same([again.params, again.summary()], [result.params, result.summary()])
    ours, theirs = again.forecast(2, num_draws=5), result.forecast(2, num_draws=5)
    assert_same([*ours.interval(0.9)], [*theirs.interval(0.9)])


def test_results_that_go_on(nile, batch, tmp_path):
    later = pd.Series([900.0, 800.0], pd.period_range("1971", periods=2, freq="Y"))
    for number, result in enumerate([nile.extend(later), nile.append(later), batch["b"]]):
        path = tmp_path / f"{number}.statespace"
        result.save(path)
        assert_same(numbers(ss.load(path)), numbers(result))
    ss.load(path).extend(pd.Series([900.0], nile.layout.index[40:41]))


def test_one_series_of_a_long_frame(tmp_path):
    result = LocalLevel().fit(long_frame(), verbose=0)
    result["a"].save(tmp_path / "a.statespace")
    again = ss.load(tmp_path / "a.statespace")
    assert_same(again.forecast(2).mean, result["a"].forecast(2).mean)
    assert again.forecast(2).mean.index.tolist() == [
        pd.Timestamp("2021-01-31"),
        pd.Timestamp("2021-02-28"),
    ]


def test_fresh_process(nile, tmp_path):
    path = tmp_path / "nile.statespace"
    nile.save(path)
    code = (
        "import sys, json; import statespace as ss\n"
        f"result = ss.load({str(path)!r})\n"
        "ahead = result.forecast(3)\n"
        "numbers = [*result.params.values(), result.log_likelihood, *ahead.mean, *ahead.variance,\n"
        "           *result.smooth().mean['level'], *result.standard_errors.values()]\n"
        "print(json.dumps([[x.hex() for x in map(float, numbers)], result.summary()]))"
    )
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    numbers, summary = json.loads(run.stdout)
    ahead = nile.forecast(3)
    expected = [*nile.params.values(), nile.log_likelihood, *ahead.mean, *ahead.variance]
    expected += [*nile.smooth().mean["level"], *nile.standard_errors.values()]
    assert numbers == [float(x).hex() for x in expected]
    assert summary == nile.summary()


def test_models_of_functions(tmp_path):
    model, path = Custom(random_walk), tmp_path / "custom.statespace"
    result = model.fit(FLOW, verbose=0)
    result.save(path)
    with pytest.raises(InputError, match=r"Custom\(random_walk\), is of code .*load\(path, model"):
        ss.load(path)
    with pytest.raises(InputError, match="parameters noise, step and the states state_1; the mod"):
        ss.load(path, model=LocalLevel())
    assert_same(numbers(ss.load(path, model=model)), numbers(result))


def test_priors_are_given_again(tmp_path):
    import tensorflow_probability as tfp

    priors = {"level.scale": tfp.distributions.HalfNormal(20.0)}
    path = tmp_path / "map.statespace"
    result = LocalLevel().fit(FLOW, "map", priors=priors, verbose=0)
    result.save(path)
    with pytest.raises(InputError, match=r"priors for level\.scale, which a file does not hold"):
        ss.load(path)
    with pytest.raises(InputError, match=r"given were irregular\.scale"):
        ss.load(path, priors={"irregular.scale": priors["level.scale"]})
    assert_same(numbers(ss.load(path, priors=priors)), numbers(result))


def test_file_is_replaced_at_once_or_not_at_all(nile, tmp_path, monkeypatch):
    path = tmp_path / "nile.statespace"
    path.write_bytes(b"before")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", full)
        with pytest.raises(OSError, match="No space left"):
            nile.save(path)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    nile.save(path)
    assert ss.load(path).log_likelihood == nile.log_likelihood
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["nile", "nile.npz", "nile.pkl", ".statespace"])
def test_other_suffixes(name, nile, tmp_path):
    with pytest.raises(InputError, match=r"ends in \.statespace, as in .*\.statespace"):
        nile.save(tmp_path / name)


def test_absent_files_and_folders(nile, tmp_path):
    with pytest.raises(FileNotFoundError):
        nile.save(tmp_path / "absent" / "nile.statespace")
    with pytest.raises(FileNotFoundError):
        ss.load(tmp_path / "nile.statespace")


def test_other_files(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("date,x\n2024-01-01,1\n")
    with pytest.raises(InputError, match=r"data\.csv: not the file of a result"):
        ss.load(path)
    np.savez(tmp_path / "arrays.npz", values=FLOW)
    with pytest.raises(InputError, match=r"arrays\.npz: not the file of a result"):
        ss.load(tmp_path / "arrays.npz")


@pytest.fixture
def edited(nile, tmp_path):
    """A function that writes the file of a result with a header that was changed."""

    def write(change):
        original, path = tmp_path / "original.statespace", tmp_path / "edited.statespace"
        nile.save(original)
        with zipfile.ZipFile(original) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name == "header.json":
                    header = json.loads(content)
                    change(header)
                    content = json.dumps(header)
                target.writestr(name, content)
        return path

    return write


def test_later_versions(edited):
    path = edited(lambda header: header.update(version=2, written_by="statespace-tf 9.0"))
    with pytest.raises(InputError, match=r"edited\.statespace: written by statespace-tf 9\.0, a l"):
        ss.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "another"}, "not the file of a result"),
        ({"version": "one"}, "not the file of a result"),
        ({"model": "LocalLevel() + __import__('os')"}, "no term '__import__'"),
        ({"model": "SmoothTrend()"}, "the model SmoothTrend.. has others"),
        ({"layout": {"kind": "series"}}, "damaged"),
        ({"layout": None}, "damaged"),
    ],
)
def test_edited_headers(changes, message, edited):
    path = edited(lambda header: header.update(changes))
    with pytest.raises(InputError, match=rf"edited\.statespace: .*{message}"):
        ss.load(path)


def test_damaged_files(nile, tmp_path):
    """Whatever byte is lost or changed, the file is refused or gives the same numbers."""
    path = tmp_path / "damaged.statespace"
    nile.save(path)
    content = bytearray(path.read_bytes())
    generator, messages = np.random.default_rng(0), []
    for position in generator.integers(len(content), size=300):
        damaged = content.copy()
        if position % 3 == 0:
            del damaged[position:]
        else:
            damaged[position] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            again = ss.load(path)
        except InputError as error:
            messages.append(str(error))
        else:
            assert_same(again.params, nile.params)
            np.testing.assert_array_equal(again.values, nile.values)
    assert len(messages) > 200
    assert all("damaged" in message for message in messages)


INDEXES = [
    pd.RangeIndex(1871, 1971, 1, name="year"),
    pd.RangeIndex(10, -10, -2),
    pd.period_range("2020-01", periods=5, freq="M", name=("a", 1)),
    pd.period_range("1899", periods=5, freq="Y-MAR"),
    pd.period_range("2020-01-06", periods=5, freq="2W"),
    pd.date_range("2020-01-31", periods=5, freq="BME"),
    pd.date_range("2020-01-15", periods=5, freq=pd.DateOffset(months=3)),
    pd.date_range("2020-01-15", periods=5, freq=2 * pd.DateOffset(months=1, days=1)),
    pd.date_range("2024-10-26 22:00", periods=9, freq="30min", tz="Europe/Berlin"),
    pd.date_range("2024-10-20", periods=20, freq="D", tz="America/New_York"),
    pd.date_range("2024-10-20", periods=5, freq="h", tz="+01:00", unit="s"),
    pd.date_range("2024-10-20", periods=5, freq=pd.Timedelta("1s7ns"), unit="ns"),
]


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: f"{index.dtype} {len(index)}")
def test_indexes(index):
    from statespace.forecasting.layout import SeriesLayout

    written = json.loads(json.dumps(written_layout(SeriesLayout(index, "x"))))
    again = read_layout(written).index
    pd.testing.assert_index_equal(again, index, exact=True)
    assert again.name == index.name
    assert getattr(again, "freq", None) == getattr(index, "freq", None)


def test_indexes_that_cannot_be_written():
    from statespace.forecasting.layout import SeriesLayout

    holidays = pd.offsets.CustomBusinessDay(holidays=["2024-01-03"])
    for index in (
        pd.date_range("2024-01-01", periods=5, freq=holidays),
        pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-05"]),
    ):
        with pytest.raises(InputError, match=r"frequency .* cannot be written down"):
            written_layout(SeriesLayout(index, "x"))
    with pytest.raises(InputError, match=r"of type object, cannot be written down\. Rename it"):
        written_layout(SeriesLayout(INDEXES[0], object()))


@pytest.mark.parametrize(
    "columns",
    [
        pd.Index(["a", "b"], name="series"),
        pd.Index(["a", 1, 2.5, None, ("x", 2)], dtype=object),
        pd.RangeIndex(3),
        pd.Index([True, False]),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["shop", None]),
        pd.period_range("2020", periods=2, freq="Y"),
        pd.DatetimeIndex(["2020-01-01", "2020-01-05"], tz="Europe/Berlin"),
        pd.Index(["a", "b"], dtype="category"),
    ],
    ids=str,
)
def test_columns(columns):
    from statespace.forecasting.layout import FrameLayout

    written = json.loads(json.dumps(written_layout(FrameLayout(INDEXES[0], columns))))
    again = read_layout(written).columns
    pd.testing.assert_index_equal(again, columns, exact="equiv")
    assert again.names == columns.names


def test_no_field_is_forgotten():
    """Whoever adds a field must have it saved, and add it here and to a case above."""
    from statespace.forecasting.layout import LongLayout
    from statespace.forecasting.likelihood import Problem
    from statespace.forecasting.posterior import PosteriorResult

    known = {
        PosteriorResult: "problem layout method share estimates start draws chains",
        Problem: "model parameterisation values units fixed features times feature_names priors "
        "jacobian",
        LongLayout: "columns grid stride last lengths frame",
    }
    for cls, names in known.items():
        assert [field.name for field in dataclasses.fields(cls)] == names.split()
