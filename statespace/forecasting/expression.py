"""Model expressions of the command line: "trend + seasonal(12)"."""

import re

from statespace.forecasting.errors import InputError

TERMS = "level, trend, seasonal(PERIOD)"


def parse_model(expression):
    """Builds the model that an expression names.

    Args:
      expression: terms joined by "+": ``level``, ``trend`` and ``seasonal(PERIOD)``, in capitals
        or not.

    Returns:
      A :class:`statespace.models.Model`.

    Raises:
      InputError: a term is unknown or does not fit the others.

    Example:
      >>> parse_model("trend + seasonal(12)")
      LocalLinearTrend() + Seasonal(12)
    """
    from statespace.models.structural import StructuralModel

    try:
        terms = [_term(term.strip().lower()) for term in expression.split("+")]
        return StructuralModel(*terms) if len(terms) > 1 else terms[0]
    except InputError:
        raise
    except ValueError as error:  # from the models: a bad period, two trends
        raise InputError(f"Model {expression!r}: {error}") from None


def _term(term):
    from statespace import models

    simple = {"level": models.LocalLevel, "trend": models.LocalLinearTrend}
    if term in simple:
        return simple[term]()
    seasonal = re.fullmatch(r"seasonal\s*\(\s*(\d+)\s*\)", term)
    if seasonal:
        return models.Seasonal(int(seasonal[1]))
    if term.startswith("seasonal"):
        raise InputError(
            f"{term!r} lacks its period, a whole number of steps, as in seasonal(12) for months."
        )
    what = f"Unknown term {term!r}" if term else "An empty term"
    raise InputError(f"{what} in the model; the terms are {TERMS}, joined by '+'.")
