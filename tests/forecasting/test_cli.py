"""The command line: what it prints and writes, and what it says when it cannot."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from statespace import datasets
from statespace.forecasting.cli import main


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
    assert "seasonal_variance" in captured.out
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
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0
    assert run.stderr == ""
    assert "1971" in run.stdout


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "is empty"),
        ("date,x\nsoon,1\nlater,2\n", [], "line 2: 'soon' is not a date"),
        ("date,x\n2024-01-01,1\n2024-01-01,2\n", [], "occurs more than once"),
        ("x\n" + "5\n" * 30, [], "constant column"),
        ("x\n1\n2\n4\n", [], "too few"),
        ("x\n1\n2\n4\n", ["--model", "prophet"], "Unknown term 'prophet'"),
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
        (["--horizon", "0"], "'0' is not a whole number of steps"),
        (["--horizon", "soon"], "'soon' is not a whole number of steps"),
        (["--horizon", "1000000000"], "from 1 to 100000"),
        (["--level", "90"], "not a probability"),
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
    assert "seasonal_variance" in out
    assert "1961-12" in out
    differences = [float(d) for d in re.findall(r"[+-]\d\.\de-\d\d$", out, re.MULTILINE)]
    assert len(differences) == 15
    assert np.abs(differences[:12]).max() < 1e-8  # at given variances; the rest at the optimum
    for name in ("nile.png", "air_passengers.png"):
        assert (tmp_path / "figures" / name).read_bytes().startswith(b"\x89PNG")
