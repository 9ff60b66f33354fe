"""The command ``statespace``: forecasts from a data file, and a demonstration.

Exit codes: 0 for success; 2 for anything the user can mend, with one line on standard error that
says what; 130 for control-C before there is a result. Of many series, those that cannot be fitted
are named in a warning there, and have empty forecasts. Results go to standard output, progress to
standard error.
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

from statespace.forecasting.errors import InputError
from statespace.forecasting.methods import METHODS

_MAX_STEPS = 100_000


def main(arguments=None) -> int:
    """Runs the command line.

    Args:
      arguments: list of strings; by default those of the process.

    Returns:
      The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            options.run(options)
    except (InputError, OSError, FloatingPointError) as error:
        print(f"statespace: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # where the optimiser does not take it for the end of its work
        print("statespace: interrupted", file=sys.stderr)
        return 130
    return 0


def _show_warning(message, *_, **__):
    print(f"statespace: warning: {message}", file=sys.stderr)


def _parser():
    parser = argparse.ArgumentParser(
        prog="statespace",
        description="Smooth and forecast time series with structural state-space models.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    _add_forecast(commands)
    demo = commands.add_parser(
        "demo",
        help="fit and forecast two classic series",
        description="Fit and forecast the Nile's flow and air passengers, compare the Nile with "
        "published numbers, and draw two figures.",
    )
    demo.set_defaults(run=_demo)
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("demo_output"),
        metavar="DIR",
        help="folder for the figures (default: demo_output)",
    )
    return parser


def _add_forecast(commands):
    forecast = commands.add_parser(
        "forecast",
        help="forecast the series of a CSV or Parquet file",
        description="Fit a model to one series, or to each of many, and forecast it. Absent dates "
        "and empty fields count as missing values.",
    )
    forecast.set_defaults(run=_forecast)
    add = forecast.add_argument
    add("file", metavar="FILE", help="CSV, its first line names the columns; or Parquet")
    add("--horizon", type=_count, default=12, metavar="N", help="steps to forecast (default: 12)")
    add(
        "--model",
        default="trend",
        metavar="EXPRESSION",
        help='terms joined by "+": level, trend, smooth_trend, damped_trend, seasonal(PERIOD), '
        "trigonometric(PERIOD, HARMONICS), cycle, ar(P), arima(P,D,Q)(P,D,Q,PERIOD), "
        'ets(trend="add"), regression(FEATURES), dynamic_regression(FEATURES), or any class of '
        'statespace.models as it prints itself; for months "trend + seasonal(12)" (default: trend)',
    )
    add(
        "--method",
        choices=tuple(METHODS),
        default="mle",
        help="maximum likelihood (mle), the same by expectation-maximisation (em), maximum "
        "posterior density with weak priors (map), or draws from the posterior over which "
        "forecasts average, by Hamiltonian Monte Carlo (hmc) or from a variational Gaussian (vi) "
        "(default: mle)",
    )
    add(
        "--level",
        type=_level,
        nargs="+",
        default=[0.9],
        metavar="P",
        help="probabilities of the intervals (default: 0.9)",
    )
    add(
        "--log",
        action="store_true",
        help="model the logarithm of the values: for swings that grow with the level",
    )
    add(
        "--id", metavar="COLUMN", help="column that tells series apart (default: unique_id, if any)"
    )
    add("--date", metavar="COLUMN", help="column of dates (default: found)")
    add("--value", metavar="COLUMN", help="column of values (default: found)")
    add(
        "--features",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="known columns for regressions; rows after the last value have those to come",
    )
    add(
        "--evaluate",
        type=_count,
        nargs="?",
        const=5,
        metavar="N",
        help="also forecast from N origins in the past and compare (default: 5)",
    )
    add("--out", type=_output, metavar="FILE.csv", help="write the forecast here")
    add("--plot", type=_figure, metavar="FILE.png", help="draw the forecast here")
    add("--report", type=_report, metavar="FILE.html", help="write a report here, HTML or PNG")
    add("--save", type=_result, metavar="FILE.statespace", help="save the fit for statespace.load")
    add("--quiet", action="store_true", help="no progress on standard error")


def _forecast(options):
    _require_extra()
    from statespace.forecasting.cli_forecast import run

    run(options, _import_tensorflow)


def _demo(options):
    _require_extra()
    import matplotlib

    matplotlib.use("Agg")
    _import_tensorflow()
    from statespace.forecasting.demo import run

    run(options.out)


def _require_extra():
    """The command line needs the packages of the extra ``forecast``."""
    try:
        import matplotlib  # noqa: F401
        import pandas  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed; pip install 'statespace-tf[forecast]' installs it."
        ) from None


def _import_tensorflow():
    """Imports TensorFlow without its C++ side's remarks about the machine on standard error.

    The environment variable silences what it logs later, but not at import. What goes wrong comes
    as a Python exception all the same.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _count(text):
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MAX_STEPS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MAX_STEPS}")
    return int(text)


def _level(text):
    try:
        level = float(text)
    except ValueError:
        level = 0.0
    if not 0 < level < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability between 0 and 1")
    return level


def _output(text):
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r} to write into")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file")
    return path


def _figure(text):
    path = _output(text)
    return path if path.suffix else path.with_suffix(".png")  # as matplotlib would


def _report(text):
    return _with_suffix(text, (".html", ".png"))


def _result(text):
    return _with_suffix(text, (".statespace",))


def _with_suffix(text, suffixes):
    path = _output(text)
    if path.suffix.lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text!r} must end in {' or '.join(suffixes)}")
    return path


def _one_line(error):
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
