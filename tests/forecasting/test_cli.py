"""The command line: what it prints and writes, and what it says when it cannot."""

import base64
import html.parser
import io
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import statespace as ss
from statespace import datasets
from statespace.forecasting import cli_forecast, maximum_likelihood, posterior
from statespace.forecasting.cli import main
from statespace.models import ARIMA, LocalLevel, Regression


@pytest.fixture
def airline_file(tmp_path):
    passengers = datasets.air_passengers()
    passengers = passengers.drop(passengers.index[[30, 31, 77]])
    path = tmp_path / "airline.csv"
    passengers.to_csv(path)
    return path


@pytest.fixture
def nile_file(tmp_path):
    path = tmp_path / "nile.csv"
    datasets.nile().to_csv(path)
    return path


@pytest.fixture
def shops():
    """Two series of different lengths and starts, with a price that moves them."""
    generator, frames = np.random.default_rng(0), []
    for shop, length in {"north": 40, "south": 24}.items():
        price = generator.normal(size=length + 3)
        sales = 50 + generator.normal(size=length + 3).cumsum() - 5 * price
        sales[length:] = np.nan
        months = pd.period_range("2020-01", periods=length + 3, freq="M").strftime("%Y-%m")
        columns = {"shop": shop, "month": months, "sales": sales, "price": price}
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def shops_file(shops, tmp_path):
    path = tmp_path / "shops.csv"
    shops.sample(frac=1, random_state=0).sort_values("shop", kind="stable").to_csv(
        path, index=False
    )
    return path


def test_help_is_quick_and_loads_no_tensorflow():
    code = (
        "import sys; from statespace.forecasting.cli import main\n"
        "try: main(['forecast', '--help'])\n"
        "finally: print(sorted({'tensorflow', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0
    assert "--horizon" in run.stdout
    assert run.stdout.endswith("[]\n")


def test_forecast_of_a_file(airline_file, tmp_path, capsys):
    out, plot = tmp_path / "forecast.csv", tmp_path / "forecast"
    model = "trend + seasonal(12)"
    arguments = ["--horizon", "24", "--model", model, "--log", "--out", out, "--plot", plot]
    assert main(["forecast", *map(str, [airline_file, *arguments])]) == 0
    table = pd.read_csv(out, index_col=0, parse_dates=True)
    assert table.columns.tolist() == ["median", "lower_90", "upper_90"]
    assert table.index[0] == pd.Timestamp("1961-01-01")
    assert len(table) == 24
    assert table["median"].between(table["lower_90"], table["upper_90"]).all()
    assert table["median"].iloc[:12].mean() == pytest.approx(510, abs=15)
    assert plot.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    captured = capsys.readouterr()
    assert "seasonal.scale" in captured.out
    assert "1961-01-01" in captured.out
    assert "frequency MS, 3 missing" in captured.err


def test_defaults_and_quiet(nile_file, capsys):
    assert main(["forecast", str(nile_file), "--model", "level", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "1982" in captured.out
    assert "upper_90" in captured.out


def test_process_is_quiet(nile_file):
    command = ["forecast", str(nile_file), "--model", "level", "--horizon", "2", "--quiet"]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "statespace.forecasting.cli", *command],
        cwd=nile_file.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0
    assert run.stderr == ""
    assert "1971" in run.stdout


def run(file, *options):
    return main(["forecast", str(file), "--quiet", *map(str, options)])


def test_several_levels(nile_file, tmp_path, capsys):
    out = tmp_path / "out.csv"
    levels = ["--level", "0.9", "0.5", "0.9"]
    assert run(nile_file, "--model", "level", *levels, "--horizon", 3, "--out", out) == 0
    table = pd.read_csv(out, index_col="year")
    names = ["mean", "standard_deviation", "lower_50", "upper_50", "lower_90", "upper_90"]
    assert table.columns.tolist() == names
    forecast = LocalLevel().fit(datasets.nile(), verbose=0).forecast(3)
    for level in (0.5, 0.9):
        ends = table[[f"lower_{100 * level:g}", f"upper_{100 * level:g}"]].to_numpy()
        np.testing.assert_allclose(ends.T, forecast.interval(level), rtol=1e-12)


def test_model_expressions_and_methods(nile_file, capsys):
    model = "arima(0,1,1)"
    outputs = []
    for method in ("mle", "map"):
        assert run(nile_file, "--model", model, "--method", method) == 0
        outputs.append(capsys.readouterr().out)
        expected = ARIMA((0, 1, 1)).fit(datasets.nile(), method, verbose=0)
        assert f"log-likelihood {expected.log_likelihood:.4f}" in outputs[-1]
    assert "maximum likelihood" in outputs[0]
    assert "maximum posterior density" in outputs[1]


def test_methods_are_those_of_fit():
    from statespace.forecasting import cli, fit

    assert cli.METHODS == fit.METHODS


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("em", "maximum likelihood by EM"),
        ("vi", "posterior by a variational Gaussian"),
        ("hmc", "posterior by Hamiltonian Monte Carlo"),
    ],
)
def test_other_methods(method, name, nile_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(posterior, "NUM_DRAWS", 30)
    report, out, saved = (tmp_path / x for x in ("report.html", "out.csv", "fit.statespace"))
    command = ["forecast", nile_file, "--model", "level", "--method", method, "--horizon", 3]
    command += ["--report", report, "--out", out, "--save", saved]
    command += ["--evaluate", 1] if method == "vi" else []
    assert main(list(map(str, command))) == 0
    printed = capsys.readouterr()
    assert f"Fitting level: {name}." in printed.err
    assert f"LocalLevel(), {name}" in printed.out
    assert name in report.read_text(encoding="utf-8")
    result = ss.load(saved)
    assert result.method == method
    expected = result.forecast(3).to_frame()
    table = pd.read_csv(out)[expected.columns]
    np.testing.assert_allclose(table, expected, rtol=1e-12)


def test_fans_of_many_series_from_a_posterior(shops_file, tmp_path):
    plot = tmp_path / "plot.png"
    command = ["--id", "shop", "--value", "sales", "--model", "level", "--method", "vi"]
    assert run(shops_file, *command, "--horizon", 3, "--plot", plot) == 0
    assert picture(plot.read_bytes()).std() > 0.05


def test_a_method_that_the_model_is_not_for(nile_file, capsys):
    assert run(nile_file, "--model", "matern(0.5)", "--method", "em") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("statespace: error: method 'em'")


def test_long_file(shops, shops_file, tmp_path, capsys):
    out = tmp_path / "out.csv"
    command = ["--id", "shop", "--value", "sales", "--model", "level", "--horizon", 2]
    assert run(shops_file, *command, "--out", out) == 0
    printed = capsys.readouterr().out
    assert "north" in printed
    table = pd.read_csv(out)
    assert table.columns[:2].tolist() == ["shop", "month"]
    # Without features the empty rows at the end are missing values, and the forecast follows them.
    assert table["month"].tolist() == ["2023-08-01", "2023-09-01", "2022-04-01", "2022-05-01"]
    for shop, own in shops.groupby("shop"):
        forecast = LocalLevel().fit(own["sales"].to_numpy(), verbose=0).forecast(2)
        np.testing.assert_allclose(table["mean"][table["shop"] == shop], forecast.mean, rtol=1e-6)


def test_a_reader_that_has_had_enough_does_not_keep_files_from_being_written(
    nile_file, tmp_path, monkeypatch, capsys
):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert run(nile_file, "--model", "level", "--out", tmp_path / "out.csv") == 0
        monkeypatch.undo()
    assert len(pd.read_csv(tmp_path / "out.csv")) == 12
    assert capsys.readouterr().err == ""


def test_interrupted(nile_file, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_forecast, "read_data", interrupted)
    assert run(nile_file) == 130
    assert capsys.readouterr().err == "statespace: interrupted\n"


def test_series_whose_fit_did_not_finish_are_named(shops_file, monkeypatch, capsys):
    monkeypatch.setattr(maximum_likelihood, "_SMALL_GRADIENT", 0.0)  # no gradient is smaller
    assert run(shops_file, "--id", "shop", "--value", "sales", "--model", "level") == 0
    assert capsys.readouterr().err.splitlines() == [
        "statespace: warning: The optimiser did not finish for 2 of 2 series: north, south."
    ]


def test_a_series_that_cannot_be_fitted_is_named_and_left_empty(shops, tmp_path, capsys):
    file, out, report = (tmp_path / name for name in ("in.csv", "out.csv", "out.html"))
    closed = shops["shop"] == "north"
    shops.assign(sales=shops["sales"].mask(closed, 3.0)).to_csv(file, index=False)
    command = ["--id", "shop", "--value", "sales", "--model", "level", "--horizon", 2]
    assert run(file, *command, "--out", out, "--report", report) == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "statespace: warning: Skipped 1 of 2 series, for which the result holds NaN:",
        "north: all 43 observed values are 3. A constant column has no variation to estimate.",
    ]
    table = pd.read_csv(out).set_index("shop")
    assert table.loc["north", "mean"].isna().all()
    assert table.loc["south", "mean"].notna().all()
    assert "north" in report.read_text()


def test_long_file_with_features(shops, shops_file, tmp_path, capsys):
    out, report = tmp_path / "out.csv", tmp_path / "report.html"
    command = ["--id", "shop", "--date", "month", "--value", "sales", "--features", "price"]
    command += ["--model", "level + regression(1)", "--horizon", 3, "--evaluate", 2]
    assert run(shops_file, *command, "--out", out, "--report", report) == 0
    table = pd.read_csv(out)
    assert table["month"].tolist()[::3] == ["2023-05-01", "2022-01-01"]
    for shop, own in shops.groupby("shop"):
        price, sales = own[["price"]].to_numpy(), own["sales"].to_numpy()[:-3]
        result = (LocalLevel() + Regression(1)).fit(sales, features=price[:-3], verbose=0)
        forecast = result.forecast(3, features=price[-3:])
        np.testing.assert_allclose(table["mean"][table["shop"] == shop], forecast.mean, rtol=1e-6)
    assert "Forecasts from 2 origins in the past" in capsys.readouterr().out
    assert "seasonal naive" in report.read_text()


def test_one_series_with_features(shops, tmp_path, capsys):
    path, out = tmp_path / "north.csv", tmp_path / "out.csv"
    own = shops[shops["shop"] == "north"].drop(columns="shop")
    own.to_csv(path, index=False)
    command = ["--features", "price", "--model", "level + regression(1)", "--horizon", 3]
    assert run(path, *command, "--evaluate", "--out", out) == 0
    price, sales = own[["price"]].to_numpy(), own["sales"].to_numpy()[:-3]
    result = (LocalLevel() + Regression(1)).fit(sales, features=price[:-3], verbose=0)
    expected = result.forecast(3, features=price[-3:]).mean
    np.testing.assert_allclose(pd.read_csv(out)["mean"], expected, rtol=1e-6)
    assert "Forecasts from 5 origins in the past" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--horizon", 4], "horizon of 4 steps; after the last value of 'north' there are 3 rows"),
        (["--model", "level"], "names 1 columns, and the model 'level' takes 0"),
        (["--model", "level + regression(2)"], "names 1 columns, and the model .* takes 2"),
        (["--features", "shop"], "'shop' is meant by --id and by --features"),
        (["--features", "cost"], "no column 'cost'"),
        (["--log"], "--log needs values above zero; 'south' is -1 at 2020-02-01"),
        (["--evaluate", 30], "north: of its 40 steps 90 lie after the earliest of 30 origins"),
    ],
)
def test_one_line_for_long_files(options, message, shops, shops_file, capsys):
    if "--log" in options:
        shops.loc[shops["month"] == "2020-02", "sales"] = [1.0, -1.0]
        shops.to_csv(shops_file, index=False)
    command = ["--id", "shop", "--value", "sales", "--features", "price", "--horizon", 3]
    assert run(shops_file, *command, "--model", "level + regression(1)", *options) == 2
    captured = capsys.readouterr()
    assert re.search(message, captured.err)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_parquet_without_its_package(tmp_path, capsys, monkeypatch):
    def missing(path):
        raise ImportError("no engine")

    monkeypatch.setattr(pd, "read_parquet", missing)
    path = tmp_path / "data.parquet"
    path.touch()
    assert run(path) == 2
    assert "need the package pyarrow; pip install pyarrow" in capsys.readouterr().err


def test_saved_fit(nile_file, tmp_path):
    path = tmp_path / "nile.statespace"
    assert run(nile_file, "--model", "level", "--save", path) == 0
    result = ss.load(path)
    assert result.model == LocalLevel()
    assert result.log_likelihood == pytest.approx(-633.4646, abs=1e-4)
    assert result.forecast(2).mean.index.tolist() == [1971, 1972]


class Report(html.parser.HTMLParser):
    """What a report holds: headings, images, text in code type, and links to elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.images, self.texts, self.tables = [], [], [], 0
        self._into = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert tag not in ("script", "link", "iframe")
        if tag == "img":
            self.images.append(attributes["src"])
        self.tables += tag == "table"
        self._into = {"h1": self.headings, "h2": self.headings, "pre": self.texts}.get(tag)

    def handle_endtag(self, tag):
        self._into = None

    def handle_data(self, data):
        if self._into is not None:
            self._into.append(data)


def picture(content):
    from matplotlib import pyplot as plt

    return plt.imread(io.BytesIO(content), format="png")


def test_html_report(airline_file, tmp_path):
    path = tmp_path / "report.html"
    model = "trend + seasonal(12)"
    assert run(airline_file, "--model", model, "--log", "--evaluate", 2, "--report", path) == 0
    report = Report(path.read_text(encoding="utf-8"))
    assert report.headings == [
        "airline.csv: trend + seasonal(12)",
        "Forecast",
        "Fit (of the logarithm)",
        "Components (of the logarithm)",
        "Diagnostics",
        "Forecasts from 2 origins in the past (of the logarithm)",
    ]
    assert report.tables == 2
    fit, diagnostics = report.texts
    assert "seasonal.scale" in fit
    assert "Ljung-Box, 24 lags" in diagnostics
    assert len(report.images) == 3
    for image in report.images:
        kind, content = image.split(",")
        assert kind == "data:image/png;base64"
        pixels = picture(base64.b64decode(content))
        assert pixels.std() > 0.05  # something is drawn


def test_html_report_escapes_names(tmp_path):
    path, report = tmp_path / "data.csv", tmp_path / "report.html"
    values = 5 + np.random.default_rng(0).normal(size=20)
    pd.DataFrame({"<script>alert(1)</script>": values}).to_csv(path, index=False)
    assert run(path, "--model", "level", "--report", report) == 0
    text = report.read_text(encoding="utf-8")
    Report(text)
    assert "&lt;script&gt;" in text


def test_picture_of_a_report(shops_file, airline_file, tmp_path):
    path, plot = tmp_path / "report.png", tmp_path / "plot.png"
    command = ["--id", "shop", "--value", "sales", "--model", "level"]
    assert run(shops_file, *command, "--report", path, "--plot", plot) == 0
    many = picture(path.read_bytes())
    assert picture(plot.read_bytes()).std() > 0.05
    assert run(airline_file, "--model", "level", "--report", path) == 0
    one = picture(path.read_bytes())
    for pixels in (one, many):
        assert pixels.shape[0] > pixels.shape[1] / 2
        # No text or figure runs over the edge.
        assert (pixels[:, :2, :3] == 1).all()
        assert (pixels[:, -2:, :3] == 1).all()


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "is empty"),
        ("date,x\nsoon,1\nlater,2\n", [], "line 2: 'soon' is not a date"),
        ("date,x\n2024-01-01,1\n2024-01-01,2\n", [], "occurs more than once"),
        ("x\n" + "5\n" * 30, [], "constant column"),
        ("x\n1\n2\n4\n", [], "too few"),
        (
            "x\n1\n2\n4\n",
            ["--model", "prophet"],
            "no term 'prophet'; there are level, trend, smooth_trend",
        ),
        ("x\n1\n2\n4\n", ["--value", "y"], "no column 'y'"),
        ("x,y\n1,2\n2,3\n", [], "choose one with --value"),
        ("name\na\nb\n", [], "no column of numbers"),
        ("x\n1\n-2\n4\n", ["--log"], "needs values above zero; 'x' is -2 at 2"),
    ],
)
def test_one_line_for_what_the_user_can_mend(text, options, message, tmp_path, capsys):
    path = tmp_path / "data.csv"
    path.write_text(text)
    assert main(["forecast", str(path), "--quiet", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("statespace: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_absent_file(capsys):
    assert main(["forecast", "/nowhere/data.csv"]) == 2
    assert capsys.readouterr().err == (
        "statespace: error: /nowhere/data.csv: No such file or directory\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--horizon", "0"], "'0' is not a whole number from 1 to 100000"),
        (["--horizon", "soon"], "'soon' is not a whole number"),
        (["--horizon", "1000000000"], "from 1 to 100000"),
        (["--evaluate", "0"], "'0' is not a whole number"),
        (["--method", "mcmc"], "invalid choice: 'mcmc'"),
        (["--level", "90"], "not a probability"),
        (["--level", "0.5", "x"], "not a probability"),
        (["--report", "report.pdf"], "'report.pdf' must end in .html or .png"),
        (["--save", "result.pkl"], "'result.pkl' must end in .statespace"),
        (["--out", "/nowhere/out.csv"], "no folder '/nowhere'"),
        (["--out", "/"], "'/' is a folder"),
    ],
)
def test_bad_options(options, message, nile_file, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["forecast", str(nile_file), *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_unknown_picture_format(nile_file, tmp_path, capsys):
    path = tmp_path / "forecast.xyz"
    assert main(["forecast", str(nile_file), "--model", "level", "--plot", str(path)]) == 2
    assert "xyz" in capsys.readouterr().err


def test_demo(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "figures")]) == 0
    out = capsys.readouterr().out
    assert "15098.5" in out
    assert "-641.585578" in out
    assert "seasonal.scale" in out
    assert "1961-12" in out
    differences = [float(d) for d in re.findall(r"[+-]\d\.\de-\d\d$", out, re.MULTILINE)]
    assert len(differences) == 15
    assert np.abs(differences[:12]).max() < 1e-8  # at given variances; the rest at the optimum
    for name in ("nile.png", "air_passengers.png"):
        assert (tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG")
