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
        ("seasonal (4)", "Seasonal(4)"),
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
        ("Trend", "Unknown term 'Trend'"),
        ("__import__('os')", "Unknown term"),
        ("seasonal", "lacks its period"),
        ("seasonal(x)", "lacks its period"),
        ("seasonal(1)", "at least 2"),
        ("level + trend", "no data could tell them apart"),
    ],
)
def test_errors(expression, message):
    with pytest.raises(InputError, match=message):
        parse_model(expression)
