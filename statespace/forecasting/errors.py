"""What tells users that something is wrong with their data or request."""

import warnings

_MOST_NAMED = 5  # series in a warning; the rest are counted


class InputError(ValueError):
    """The data, or what was asked of them, cannot be used; the message says why and what to do.

    The command line prints its message on one line and exits with status 2.
    """


class SkippedSeriesWarning(UserWarning):
    """Some series of a batch could not be used and were left out; the message names them."""


def speak_of_skipped(labels, reasons, error=InputError):
    """Warns the caller's caller's caller of series that are skipped.

    Args:
      labels: what messages call the series.
      reasons: why each is skipped, in words; empty where it is not.
      error: what to raise instead where all are.
    """
    named = [f"{label}: {why}" for label, why in zip(labels, reasons, strict=True) if why]
    if not named:
        return
    if len(named) == len(labels):
        raise error(named[0])
    more = [f"... and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    first = f"Skipped {len(named)} of {len(labels)} series, for which the result holds NaN:"
    message = "\n".join([first, *named[:_MOST_NAMED], *more])
    warnings.warn(message, SkippedSeriesWarning, stacklevel=4)
