"""The methods by name: how each matches moments, and how it takes an observation in."""

from collections.abc import Callable
from typing import NamedTuple

from statespace.linalg_ops.arguments import check_choice, positive_int
from statespace.nonlinear import iterated, matching
from statespace.nonlinear.step import condition

OPTIONS = {
    "extended": (),
    "iterated": ("iterations",),
    "unscented": ("alpha", "beta", "kappa"),
    "cubature": (),
}
METHODS = tuple(OPTIONS)


class Method(NamedTuple):
    """A way to replace functions by linear ones."""

    match: Callable  # (function, mean, scale, inputs) -> Matched
    # (function, y, noise, mean, scale, inputs, bad, matched at the predicted state) -> Update
    update: Callable
    residuals: int  # q, the columns of a residual
    linearisations: int = 1  # of the whole path, by the smoother


def choose(op: str, name: str, n: int, options: dict) -> Method:
    """The method of this name for n states.

    Args:
      op: the public function, for messages.
      options: what the user gave of ``OPTIONS``, None where nothing.

    Raises:
      ValueError: there is no such method, or an option is wrong or not one of its own.
    """
    check_choice(op, "method", name, METHODS)
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in OPTIONS[name]:
            owner = next(method for method, keys in OPTIONS.items() if key in keys)
            raise ValueError(f"{op}: {key} is for method {owner!r}, not for {name!r}.")
    if name == "iterated":
        iterations = positive_int(op, "iterations", given.get("iterations", 5))
        return Method(matching.linearised, iterated.updater(iterations), 0, iterations)
    if name == "extended":
        return Method(matching.linearised, _update, 0)
    try:
        rule = matching.unscented(n, **_UNSCENTED | given) if name == "unscented" else None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{op}: {error}") from None
    return Method(rule or matching.cubature(n), _update, n)


_UNSCENTED = {"alpha": 1.0, "beta": 0.0, "kappa": None}


def _update(function, y, noise, mean, scale, inputs, bad, matched):
    return condition(y, noise, matched, bad)


ALONG_PATH = Method(matching.linearised_along, _update, 0)  # of a problem with a path
