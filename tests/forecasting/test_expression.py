"""Model expressions of the command line."""

import pytest

from statespace.forecasting.errors import InputError
from statespace.forecasting.expression import parse_model


@pytest.mark.parametrize(
    ("expression", "model"),
    [
        ("level", "LocalLevel()"),
        (" trend+seasonal( 12 ) ", "LocalLinearTrend() + Seasonal(12)"),
        ("level + seasonal(7) + seasonal(24)", "LocalLevel() + Seasonal(7) + Seasonal(24)"),
        ("Trend + SEASONAL (4)", "LocalLinearTrend() + Seasonal(4)"),
    ],
)
def test_expressions(expression, model):
    assert repr(parse_model(expression)) == model


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "An empty term .* level, trend, seasonal"),
        ("level +", "An empty term"),
        ("arima(1,0,1)", "Unknown term 'arima"),
        ("trend seasonal(12)", "Unknown term 'trend seasonal"),
        ("__import__('os')", "Unknown term"),
        ("seasonal", "lacks its period"),
        ("seasonal(x)", "lacks its period"),
        ("seasonal(1)", "from 2 to 2000"),
        ("seasonal(99999999999)", "from 2 to 2000"),
        ("level + trend", "no data could tell them apart"),
    ],
)
def test_errors(expression, message):
    with pytest.raises(InputError, match=message):
        parse_model(expression)
