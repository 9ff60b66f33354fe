"""``statespace forecast``: from a file to tables, figures, a report and a saved fit."""

import os
import sys
import warnings
from pathlib import Path

import numpy as np

from statespace.forecasting.data_file import read_data
from statespace.forecasting.errors import InputError
from statespace.forecasting.frequency import describe
from statespace.forecasting.methods import METHODS

_PRINTED_ROWS = 24  # of a forecast that also goes to a file
_NAMED = 5  # series in a warning; the rest are counted


def run(options, import_tensorflow):
    """Does what the options ask for.

    Args:
      options: of the command line.
      import_tensorflow: called before the first use of TensorFlow, which takes seconds: a file
        that cannot be read is told at once.

    Raises:
      InputError: the data, or what was asked of them, cannot be used.
      OSError: a file cannot be read or written.
    """

    def progress(text):
        if not options.quiet:
            print(text, file=sys.stderr, flush=True)

    data = read_data(
        options.file,
        series=options.id,
        date=options.date,
        value=options.value,
        features=options.features,
    )
    _check_features_to_come(data, options.horizon)
    progress(_description(data))
    y = _logarithm(data) if options.log else data.y
    import_tensorflow()
    from statespace.forecasting.expression import parse_model

    model = parse_model(options.model)
    _check_number_of_features(model, options)
    of = " to the logarithm" if options.log else ""
    progress(f"Fitting {options.model}{of}: {METHODS[options.method]}.")
    verbose = 0 if options.quiet else 1
    result = model.fit(y, options.method, data.features, verbose=verbose)
    _warn_of_unfinished(result)
    forecast = result.forecast(options.horizon, data.features)
    evaluation = _evaluated(model, y, data.features, options)
    table = _table(forecast, data, options)
    try:
        _print(result, table, evaluation, data, options)
        sys.stdout.flush()
    except BrokenPipeError:  # its reader, such as head, has had enough; the files are still to come
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for path, write in (
        (options.out, lambda path: table.to_csv(path, index=not data.is_long)),
        (options.plot, lambda path: _draw(forecast, path, options)),
        (options.report, lambda path: _report(forecast, table, evaluation, path, options)),
        (options.save, result.save),
    ):
        if path:
            write(path)
            progress(f"Wrote {path}.")


def _description(data):
    """What was read, in a line."""
    values, missing = data.values, data.values.isna().sum()
    if data.is_long:
        rows = data.y.groupby("unique_id", sort=False).size()
        first, last = data.y["ds"].min(), data.y["ds"].max()
        return (
            f"Read {len(rows)} series of {rows.min()} to {rows.max()} rows from {_shown(first)} to "
            f"{_shown(last)}, {missing} values missing."
        )
    return (
        f"Read {values.count()} values of {values.name!r} from {_shown(values.index[0])} to "
        f"{_shown(values.index[-1])}, {describe(values.index)}, {missing} missing."
    )


def _logarithm(data):
    """The data with the logarithms of the values."""
    values = data.values
    wrong = (values <= 0).to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        name, date = values.name, values.index[row]
        if data.is_long:
            name, date = data.y[["unique_id", "ds"]].iloc[row]
        raise InputError(
            f"--log needs values above zero; {name!r} is {values.iloc[row]:g} at {_shown(date)}."
        )
    return data.y.assign(y=np.log(values)) if data.is_long else np.log(values)


def _check_features_to_come(data, horizon):
    """Rows after the last values must reach as far as the forecast."""
    if data.features is None:
        return
    if data.is_long:
        known = data.y.groupby("unique_id", sort=False).size()
        rows = data.features.groupby("unique_id", sort=False).size() - known
        label, count = rows.idxmin(), rows.min()
    else:
        label, count = data.values.name, len(data.features) - len(data.y)
    if count < horizon:
        raise InputError(
            f"--features must be known over the horizon of {horizon} steps; after the last value "
            f"of {label!r} there {'is 1 row' if count == 1 else f'are {count} rows'}. Add rows "
            f"with features and no value, or choose a shorter --horizon."
        )


def _check_number_of_features(model, options):
    given, needed = len(options.features), model.num_features
    if given != needed:
        raise InputError(
            f"--features names {given} columns, and the model {options.model!r} takes {needed}. A "
            f"regression says how many it takes, as in --model 'trend + regression(2)' --features "
            f"price holiday."
        )


def _warn_of_unfinished(result):
    """Names the series whose estimates are not final; the summary shows the first few alone."""
    unfinished = ~np.ravel(result.converged) & ~np.ravel(result.skipped)
    labels = [x for x, which in zip(result.layout.labels(), unfinished, strict=True) if which]
    if labels:
        more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
        warnings.warn(
            f"The optimiser did not finish for {len(labels)} of {len(unfinished)} series: "
            f"{', '.join(labels[:_NAMED])}{more}.",
            stacklevel=2,
        )


def _evaluated(model, y, features, options):
    """The evaluation asked for, or None."""
    if options.evaluate is None:
        return None
    from statespace.forecasting.evaluation import evaluate

    return evaluate(
        model,
        y,
        options.horizon,
        num_origins=options.evaluate,
        levels=_levels(options),
        features=features,
        method=options.method,
        verbose=0 if options.quiet else 1,
    )


def _table(forecast, data, options):
    """The forecast with intervals of all levels, in the names of the file."""
    first, *others = (forecast.to_frame(level, _transform(options)) for level in _levels(options))
    for other in others:
        more = other.columns.difference(first.columns, sort=False)
        first = first.join(other[more])
    names = zip(("unique_id", "ds"), data.names, strict=True)
    return first.rename(columns=dict(names)) if data.is_long else first


def _print(result, table, evaluation, data, options):
    print(result.summary())
    print()
    shown = _PRINTED_ROWS if options.out and len(table) > _PRINTED_ROWS else len(table)
    print(table.head(shown).to_string(float_format="{:.6g}".format, index=not data.is_long))
    if shown < len(table):
        print(f"... and {len(table) - shown} more rows in {options.out}")
    if evaluation is not None:
        print()
        print(f"Forecasts from {options.evaluate} origins in the past{_scale(options)}")
        print(evaluation.to_frame().to_string(float_format="{:.4g}".format))


def _draw(forecast, path, options):
    from matplotlib.figure import Figure

    from statespace.forecasting.report import draw_forecast, forecast_height

    figure = Figure(figsize=(9, forecast_height(forecast)), layout="constrained")
    draw_forecast(figure, forecast, _shown_levels(options), _transform(options))
    figure.suptitle(_title(options), x=0.01, ha="left")
    _save_figure(figure, path)


def _report(forecast, table, evaluation, path, options):
    from statespace.forecasting.report import sections, write_html, write_png

    parts = sections(
        forecast,
        table,
        evaluation=evaluation,
        levels=_shown_levels(options),
        transform=_transform(options),
        scale=_scale(options),
    )
    write = write_html if path.suffix.lower() == ".html" else write_png
    write(path, _title(options), parts)


def _save_figure(figure, path):
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:  # a format that matplotlib does not know
        raise InputError(f"{path}: {error}") from None


def _title(options):
    return f"{Path(options.file).name}: {options.model}"


def _scale(options):
    return " (of the logarithm)" if options.log else ""


def _transform(options):
    return np.exp if options.log else None


def _levels(options):
    return sorted(set(options.level))


def _shown_levels(options):
    """Those of a fan: one more that shows where the middle is, if there is one only."""
    return sorted({0.5, *options.level}) if len(options.level) == 1 else _levels(options)


def _shown(entry):
    return f"{entry:%Y-%m-%d}" if hasattr(entry, "strftime") else str(entry)
