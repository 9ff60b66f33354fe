"""The error that tells users what is wrong with their data or request."""


class InputError(ValueError):
    """The data, or what was asked of them, cannot be used; the message says why and what to do.

    The command line prints its message on one line and exits with status 2.
    """
