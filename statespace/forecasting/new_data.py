"""The parameters of a fit on other data: steps that follow, or other series."""

import itertools
from dataclasses import replace

import numpy as np

from statespace.forecasting.data import as_batch, as_features, as_times, check_columns
from statespace.forecasting.errors import InputError
from statespace.forecasting.layout import LongLayout


def append(result, y, features=None, times=None):
    """The result over old and new steps; see :meth:`FitResult.append`."""
    values, layout, features = _following(result, y, features)
    features, times = with_future(result, values.shape[1], layout, features, times)
    values = np.concatenate([result.values, values], axis=1)
    problem = replace(result.problem, values=values, features=features, times=times)
    return _on(result, problem, result.layout.joined(layout), result.start)


def extend(result, y, features=None, times=None):
    """The result over new steps alone, which follow the old; see :meth:`FitResult.extend`."""
    values, layout, features = _following(result, y, features)
    ahead = result.forecast(values.shape[1], features, times)
    first = slice(result.values.shape[1], None)
    features, times = (None if x is None else x[:, first] for x in ahead.known)
    problem = replace(result.problem, values=values, features=features, times=times)
    return _on(result, problem, layout, ahead.first_state)


def apply(result, y, features=None, times=None):
    """The result over other data of as many series; see :meth:`FitResult.apply`."""
    values, layout = as_batch(_in_order(y, result.layout), result.model.num_observed)
    if len(values) != len(result.values):
        raise InputError(
            f"The result has {len(result.values)} series; the new data have {len(values)}."
        )
    problem = replace(
        result.problem,
        values=values,
        features=as_features(
            features, result.model, layout, values.shape, result.problem.feature_names
        ),
        times=as_times(times, result.model, values.shape),
    )
    return _on(result, problem, layout, None)


def with_future(result, horizon, layout, features, times):
    """Features and times of the data and the steps after them.

    Args:
      result: a fit.
      horizon: number of steps to come, h.
      layout: theirs.
      features, times: of the steps to come, as for ``FitResult.forecast``.

    Returns:
      Arrays [1 or N, T + h, K] and [1 or N, T + h], or None where there are none.
    """
    model = result.model
    shape = (len(result.values), horizon, model.num_observed)
    features = as_features(features, model, layout, shape, result.problem.feature_names)
    if features is not None:
        features = _joined(result.problem.features, features)
    past = result.problem.times
    if model.uses_times and past is not None:
        if times is None:
            step = np.median(np.diff(past, axis=1), axis=1)[:, np.newaxis]
            times = past[:, -1:] + step * np.arange(1, horizon + 1)
        times = _joined(past, as_times(times, model, shape))
        if (np.diff(times) < 0).any():
            raise InputError("The times to come lie before the last of the data.")
    elif times is not None:
        raise InputError("times are given for the steps to come, but the data had none.")
    return features, times


def _following(result, y, features):
    """New data, checked to go on where the old ones end: values, layout and features."""
    old = result.layout
    y = _in_order(y, old)
    values, layout = as_batch(y, result.model.num_observed, after=old)
    _check_names(layout, old)
    if type(layout) is not type(old) or len(values) != len(result.values):
        raise InputError(
            f"The new data must be of the form of the old ones, {len(result.values)} series in "
            f"a {type(old).__name__.removesuffix('Layout')}; given were {len(values)} in a "
            f"{type(layout).__name__.removesuffix('Layout')}."
        )
    follows = old.future(result.values.shape[1], values.shape[1])
    if isinstance(layout, LongLayout):
        _check_rows(layout.index, follows.index, values.shape[1])
    elif hasattr(layout, "index") and not layout.index.equals(follows.index):
        from statespace.forecasting.frequency import describe

        raise InputError(
            f"The new data begin at {layout.index[0]}; those of the result end just before "
            f"{follows.index[0]}, at steps of {describe(old.index)}."
        )
    if isinstance(layout, LongLayout) and isinstance(features, list | tuple):  # columns of y
        check_columns(y.columns, features)
        features = y[["unique_id", "ds", *features]]
    return values, follows, features


def _names(layout):
    """What the series, or the variables of one, are called; None if they have no names."""
    return getattr(layout, "variables", getattr(layout, "columns", None))


def _in_order(y, layout):
    """A frame with its series in the order of a layout, if it has all of these and no others."""
    names = _names(layout)
    if names is None or not hasattr(y, "columns"):
        return y
    long = isinstance(layout, LongLayout) and "unique_id" in y.columns
    own = y["unique_id"] if long else y.columns
    if set(own) != set(names):
        return y
    order = np.argsort(names.get_indexer(own), kind="stable")
    return y.iloc[order] if long else y.iloc[:, order]


def _check_names(layout, old):
    """New data must be of the series of the old ones."""
    given, needed = _names(layout), _names(old)
    if given is None or needed is None:
        return
    absent = needed[~needed.isin(given)]
    if len(absent):
        raise InputError(
            f"The new data lack {absent[0]!r}; they have {', '.join(map(repr, given[:20]))}."
        )


def _check_rows(given, expected, num_steps):
    """Ids and dates of new rows of a long frame must be those that follow."""
    for row, (own, other) in enumerate(itertools.zip_longest(given, expected)):
        if own != other:
            there, due = ("no row" if x is None else f"{x[0]}, {x[1]}" for x in (own, other))
            raise InputError(
                f"The new data must have the next {num_steps} steps of every series, and NaN for "
                f"what is not known yet. In place of {due} there is {there} (row {row})."
            )


def _on(result, problem, layout, start):
    """The same estimates on other data."""
    result = replace(result, problem=problem, layout=layout, start=start)
    if start is None:
        height = problem.log_likelihood(result.estimates.free, np.arange(len(problem.values)))
    else:
        from statespace.kalman.filter import log_likelihood

        height = log_likelihood(result._ssm, problem.values).numpy()
    return replace(result, estimates=result.estimates._replace(log_likelihood=height))


def _joined(past, future):
    count = max(len(past), len(future))
    past, future = (np.broadcast_to(x, (count, *x.shape[1:])) for x in (past, future))
    return np.concatenate([past, future], axis=1)
