"""The command ``statespace``: forecasts from a CSV file, and a demonstration.

Exit codes: 0 for success, 2 for anything the user can mend, with one line on standard error that
says what. Results go to standard output, progress to standard error.
"""

import argparse
import os
import sys
from pathlib import Path

from statespace.forecasting.errors import InputError

_MAX_HORIZON = 100_000
_PRINTED_ROWS = 24  # of a forecast that also goes to a file


def main(arguments=None) -> int:
    """Runs the command line.

    Args:
      arguments: list of strings; by default those of the process.

    Returns:
      The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (InputError, OSError) as error:
        print(f"statespace: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="statespace",
        description="Smooth and forecast time series with structural state-space models.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    forecast = commands.add_parser(
        "forecast",
        help="forecast a series from a CSV file",
        description="Fit a structural model to a series from a CSV file and forecast it. Absent "
        "dates and empty fields count as missing values.",
    )
    forecast.set_defaults(run=_forecast)
    forecast.add_argument("file", metavar="FILE.csv", help="the data; the first line names columns")
    forecast.add_argument(
        "--horizon", type=_horizon, default=12, metavar="N", help="steps to forecast (default: 12)"
    )
    forecast.add_argument(
        "--model",
        default="trend",
        metavar="EXPRESSION",
        help='terms joined by "+": level, trend, seasonal(PERIOD); for monthly data with a '
        'seasonal pattern "trend + seasonal(12)" (default: trend)',
    )
    forecast.add_argument(
        "--level",
        type=_level,
        default=0.9,
        metavar="P",
        help="probability of the intervals (default: 0.9)",
    )
    forecast.add_argument(
        "--log",
        action="store_true",
        help="model the logarithm of the values: for swings that grow with the level",
    )
    forecast.add_argument("--date", metavar="COLUMN", help="column of dates (default: found)")
    forecast.add_argument("--value", metavar="COLUMN", help="column of values (default: found)")
    forecast.add_argument("--out", type=_output, metavar="FILE.csv", help="write the forecast here")
    forecast.add_argument("--plot", type=_figure, metavar="FILE.png", help="draw the forecast here")
    forecast.add_argument("--quiet", action="store_true", help="no progress on standard error")

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


def _forecast(options):
    def progress(text):
        if not options.quiet:
            print(text, file=sys.stderr, flush=True)

    _require_extra()
    from statespace.forecasting.csv_file import read_series
    from statespace.forecasting.frequency import describe

    series = read_series(options.file, date=options.date, value=options.value)
    progress(
        f"Read {series.count()} values of {series.name!r} from {_shown(series.index[0])} to "
        f"{_shown(series.index[-1])}, {describe(series.index)}, {series.isna().sum()} missing."
    )
    values = _logarithm(series) if options.log else series

    import numpy as np

    _import_tensorflow()
    from statespace.forecasting.expression import parse_model

    model = parse_model(options.model)
    progress(f"Fitting {options.model}{' to the logarithm' if options.log else ''}.")
    result = model.fit(values, verbose=0 if options.quiet else 1)
    forecast = result.forecast(options.horizon)
    transform = np.exp if options.log else None
    table = forecast.to_frame(options.level, transform)
    print(result.summary())
    print()
    shown = _PRINTED_ROWS if options.out and len(table) > _PRINTED_ROWS else len(table)
    print(table.head(shown).to_string(float_format="{:.6g}".format))
    if shown < len(table):
        print(f"... and {len(table) - shown} more rows in {options.out}")
    if options.out:
        table.to_csv(options.out)
        progress(f"Wrote {options.out}.")
    if options.plot:
        _draw(forecast, options, transform)
        progress(f"Wrote {options.plot}.")


def _draw(forecast, options, transform):
    import matplotlib

    matplotlib.use("Agg")
    levels = sorted({0.5, options.level})
    ax = forecast.plot(levels=levels, transform=transform)
    ax.set_title(f"{Path(options.file).name}: {options.model}", loc="left")
    try:
        ax.figure.savefig(options.plot, dpi=150)
    except ValueError as error:  # a format that matplotlib does not know
        raise InputError(f"{options.plot}: {error}") from None


def _demo(options):
    _require_extra()
    import matplotlib

    matplotlib.use("Agg")
    _import_tensorflow()
    from statespace.forecasting.demo import run

    run(options.out)


def _logarithm(series):
    import numpy as np

    if (series <= 0).any():
        first = series.index[series <= 0][0]
        raise InputError(
            f"--log needs values above zero; {series.name!r} is {series[first]:g} at "
            f"{_shown(first)}."
        )
    return np.log(series)


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


def _horizon(text):
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MAX_HORIZON:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number of steps from 1 to {_MAX_HORIZON}"
        )
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


def _shown(entry):
    return f"{entry:%Y-%m-%d}" if hasattr(entry, "strftime") else str(entry)


def _one_line(error):
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
