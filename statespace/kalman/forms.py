"""The forms of the recursion, all of which give the same numbers, and the choice between them."""

from collections.abc import Callable
from typing import NamedTuple


class Form(NamedTuple):
    """One way to run filter and smoother.

    Every function takes y, with NaN at each missing component, and the model's parameters in the
    order of ``statespace.ssm.PARAMETERS``; with ``diffuse``, the states with an exact diffuse start
    after them (bool ``[n]``).
    """

    log_likelihood: Callable  # -> (log-likelihood [...], info)
    per_step: Callable  # -> (log-likelihood per step [..., T], info)
    filter: Callable  # -> FilterResult
    smoother: Callable  # -> SmootherResult
    diffuse: bool = False  # whether there can be states with an exact diffuse start
