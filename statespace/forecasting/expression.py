"""Models written as text: what the command line takes, and what saved results hold."""

import ast
import inspect

from statespace.forecasting.errors import InputError

# Short names, and the classes of statespace.models that they stand for.
_SHORT = {
    "level": "LocalLevel",
    "trend": "LocalLinearTrend",
    "smooth_trend": "SmoothTrend",
    "damped_trend": "DampedTrend",
    "seasonal": "Seasonal",
    "trigonometric": "TrigonometricSeasonal",
    "cycle": "Cycle",
    "ar": "Autoregressive",
    "arima": "ARIMA",
    "ets": "ExponentialSmoothing",
    "regression": "Regression",
    "dynamic_regression": "DynamicRegression",
    "matern": "MaternProcess",
    "velocity": "ConstantVelocity",
    "acceleration": "ConstantAcceleration",
    "irregular": "Irregular",
}
# They cannot be written in full: what they are made of is a function, a network, or a sum.
_UNWRITTEN = ("Component", "Custom", "DeepStateSpace", "Model", "StructuralModel")
_ADVICE = 'Terms are joined by "+", as in "trend + seasonal(12)".'


def parse_model(expression):
    """Builds the model that an expression names.

    Nothing is evaluated but literals: numbers, strings in quotes, True, False, None and tuples of
    them.

    Args:
      expression: terms joined by "+". A term is a class of :mod:`statespace.models` with its
        arguments, as models print themselves (``Regression(2, as_states=False)``), or a short name,
        in capitals or not: ``level``, ``trend``, ``smooth_trend``, ``damped_trend``,
        ``seasonal(12)``, ``trigonometric(7, 3)``, ``cycle``, ``ar(2)``, ``arima(1, 1, 1)``,
        ``arima(0, 1, 1)(0, 1, 1, 12)``, ``ets(trend="add")``, ``regression(2)``,
        ``dynamic_regression(2)``, ``matern(1.5)``, ``velocity``, ``acceleration``, ``irregular``.

    Returns:
      A :class:`statespace.models.Model`.

    Raises:
      InputError: the expression is none, a term is unknown, its arguments are not those of the
        class, or the terms do not fit each other.

    Example:
      >>> parse_model("trend + seasonal(12) + regression(2)")
      LocalLinearTrend() + Seasonal(12) + Regression(2)
      >>> parse_model("arima(0, 1, 1)(0, 1, 1, 12)")
      ARIMA((0, 1, 1), (0, 1, 1, 12))
    """
    if not expression.strip():
        raise InputError(f"The model is empty. {_ADVICE}")
    try:
        return _sum(ast.parse(expression.strip(), mode="eval").body)
    except InputError as error:
        raise InputError(f"Model {expression!r}: {error}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"Model {expression!r} cannot be read. {_ADVICE}") from None


def can_be_written(model) -> bool:
    """Whether ``parse_model(repr(model))`` is the same model in all that it consists of."""
    try:
        same = parse_model(repr(model))
    except InputError:
        return False
    return _contents(same) == _contents(model)


def _contents(model):
    """Kinds and attributes of the components."""
    return [(type(component), vars(component)) for component in model.components]


def _sum(node):
    """The model of a term, or of a sum."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)):
        return _term(node)
    left, right = _sum(node.left), _sum(node.right)
    try:
        return left + right
    except ValueError as error:  # two trends, two regressions of one name
        raise InputError(str(error)) from None


def _term(node):
    """The model of a name or a call."""
    if isinstance(node, ast.Name):
        return _made(node.id, (), {})
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        positional, named = _arguments(node)
        if node.func.id.lower() == "arima" and _are_numbers(positional):
            positional = (positional,)
        return _made(node.func.id, positional, named)
    if isinstance(node, ast.Call) and _is_seasonal_arima(node):
        order, named = _arguments(node.func)
        seasonal_order, more = _arguments(node)
        return _made(node.func.func.id, (order, seasonal_order), named | more)
    raise InputError(f"{ast.unparse(node)!r} is no term of a model. {_ADVICE}")


def _made(name, positional, named):
    """An object of the class that a name stands for."""
    cls = _class(name)
    signature = inspect.signature(cls)
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise InputError(f"{name}: {error}; it is written {name}{signature}.") from None
    try:
        return cls(*positional, **named)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from None


def _class(name):
    """The class of a full or a short name."""
    from statespace import models

    full = [
        x
        for x in models.__all__
        if x not in _UNWRITTEN and issubclass(getattr(models, x), models.Model)
    ]
    short = [x for x, cls in _SHORT.items() if hasattr(models, cls)]
    if name in full:
        return getattr(models, name)
    if name.lower() in short:
        return getattr(models, _SHORT[name.lower()])
    raise InputError(
        f"There is no term {name!r}; there are {', '.join(short)}, and the classes "
        f"{', '.join(full)}."
    )


def _arguments(call):
    """Positional and named arguments of a call, all of them literals."""
    if any(word.arg is None for word in call.keywords):
        raise InputError(f"{ast.unparse(call)!r}: name each argument; ** is not understood.")
    positional = tuple(_literal(value, call) for value in call.args)
    return positional, {word.arg: _literal(word.value, call) for word in call.keywords}


def _literal(node, call):
    try:
        return ast.literal_eval(node)
    except (TypeError, ValueError):
        raise InputError(
            f"{ast.unparse(node)!r} in {ast.unparse(call)!r} is no argument. Those are "
            f"numbers, True, False, None, words in quotes, and tuples of these."
        ) from None


def _are_numbers(values):
    """Whether they are the (p, d, q) of an ARIMA, without the parentheses."""
    return bool(values) and not any(isinstance(value, tuple | type(None)) for value in values)


def _is_seasonal_arima(call):
    """Whether a call is one as in arima(0, 1, 1)(0, 1, 1, 12)."""
    inner = call.func
    return (
        isinstance(inner, ast.Call)
        and isinstance(inner.func, ast.Name)
        and inner.func.id.lower() == "arima"
    )
