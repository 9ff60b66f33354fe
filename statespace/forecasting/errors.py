"""What tells users that something is wrong with their data or request."""


class InputError(ValueError):
    """The data, or what was asked of them, cannot be used; the message says why and what to do.

    The command line prints its message on one line and exits with status 2.
    """


class SkippedSeriesWarning(UserWarning):
    """Some series of a batch could not be used and were left out; the message names them."""
