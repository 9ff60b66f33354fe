"""Models written as text."""

import pytest

from statespace import LinearGaussianSSM, models
from statespace.forecasting.errors import InputError
from statespace.forecasting.expression import can_be_written, parse_model

# Arguments for each class that takes some, with all that its repr may show.
ARGUMENTS = {
    "ARIMA": [
        {"order": (2, 1, 0)},
        {"order": (0, 1, 1), "seasonal_order": (0, 1, 1, 12)},
        {"order": (1, 0, 0), "mean": True, "name": "errors"},
    ],
    "Autoregressive": [{}, {"order": 3}, {"order": 2, "name": "short_memory"}],
    "ConstantAcceleration": [{}, {"dims": 3}],
    "ConstantVelocity": [{}, {"dims": 2}],
    "Cycle": [{}, {"shortest": 18, "longest": 144.5, "damped": False, "name": "business"}],
    "DynamicFactor": [{"num_factors": 1, "factor_order": 2, "num_series": 4}],
    "DynamicRegression": [{"num_features": 2}, {"num_features": 1, "name": "price"}],
    "ExponentialSmoothing": [
        {},
        {"trend": "add", "damped": True},
        {"trend": "add", "seasonal": "add", "period": 12},
    ],
    "MaternProcess": [{}, {"nu": 0.5}, {"nu": 2.5, "name": "slow"}],
    "Regression": [
        {"num_features": 2},
        {"num_features": 1, "as_states": False, "name": "price"},
    ],
    "Seasonal": [{"period": 12}, {"period": 7, "name": "week"}],
    "TrigonometricSeasonal": [
        {"period": 7, "harmonics": 2},
        {"period": 365.25, "harmonics": 3, "name": "year"},
    ],
    "VectorAutoregressive": [{"order": 1, "num_series": 2}],
}
CASES = [
    (name, arguments)
    for name in models.__all__
    if issubclass(getattr(models, name), models.Model)
    and name not in ("Component", "Custom", "Model", "StructuralModel")
    for arguments in ARGUMENTS.get(name, [{}])
]


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_every_model_is_read_from_what_it_prints(name, arguments):
    model = getattr(models, name)(**arguments)
    same = parse_model(repr(model))
    assert type(same) is type(model)
    assert same == model
    assert same.parameters == model.parameters
    assert same.state_names == model.state_names
    assert can_be_written(model)


def test_sums():
    model = (
        models.LocalLinearTrend()
        + models.Seasonal(12)
        + models.Seasonal(7, name="week")
        + models.Regression(2, as_states=False)
    )
    same = parse_model(repr(model))
    assert same == model
    assert same.parameters == model.parameters
    assert same.state_names == model.state_names
    assert can_be_written(model)


def test_models_that_cannot_be_written():
    class Jump(models.LocalLevel):
        def __repr__(self):
            return "LocalLevel()"

    def walk(step):
        one = [[1.0]]
        return LinearGaussianSSM(one, [[step]], one, one, [0.0], [[0.0]], diffuse=[True])

    assert not can_be_written(models.Custom(walk))
    assert not can_be_written(Jump())
    assert not can_be_written(models.Seasonal(4) + Jump())


@pytest.mark.parametrize(
    ("expression", "model"),
    [
        ("level", "LocalLevel()"),
        (" trend+seasonal( 12 ) ", "LocalLinearTrend() + Seasonal(12)"),
        ("level + seasonal(7) + seasonal(24)", "LocalLevel() + Seasonal(7) + Seasonal(24)"),
        ("Trend + SEASONAL (4)", "LocalLinearTrend() + Seasonal(4)"),
        ("smooth_trend + irregular", "SmoothTrend() + Irregular()"),
        ("damped_trend + trigonometric(7, 3)", "DampedTrend() + TrigonometricSeasonal(7, 3)"),
        ("cycle + ar(2)", "Cycle(2.5, 60) + Autoregressive(2)"),
        ("Cycle(18, longest=144, damped=False)", "Cycle(18, 144, damped=False)"),
        ("level + regression(2)", "LocalLevel() + Regression(2)"),
        ("level + dynamic_regression(2)", "LocalLevel() + DynamicRegression(2)"),
        ("arima(1, 1, 1)", "ARIMA((1, 1, 1))"),
        ("arima(0,1,1)(0,1,1,12)", "ARIMA((0, 1, 1), (0, 1, 1, 12))"),
        ("arima((0,1,1), (0,1,1,12))", "ARIMA((0, 1, 1), (0, 1, 1, 12))"),
        ("ARIMA(1,0,0)(1,0,0,4, mean=True)", "ARIMA((1, 0, 0), (1, 0, 0, 4), mean=True)"),
        ("arima(1, 0, 0, mean=True)", "ARIMA((1, 0, 0), mean=True)"),
        ("level + (seasonal(4) + cycle)", "LocalLevel() + Seasonal(4) + Cycle(2.5, 60)"),
        ("matern(1.5)", "MaternProcess(1.5)"),
        ("velocity", "ConstantVelocity(1)"),
        ("acceleration(2)", "ConstantAcceleration(2)"),
    ],
)
def test_short_names(expression, model):
    assert repr(parse_model(expression)) == model


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "The model is empty"),
        ("level +", "cannot be read. Terms are joined"),
        ("trend seasonal(12)", "cannot be read. Terms are joined"),
        ("level\0", "cannot be read"),
        ("(" * 100_000, "cannot be read"),
        ("-" * 100_000 + "1", "cannot be read"),
        ("prophet", "no term 'prophet'; there are level, trend, .*, and the classes ARIMA, "),
        ("StructuralModel()", "no term 'StructuralModel'"),
        ("PCA(2)", "no term 'PCA'"),
        ("Custom(f)", "no argument"),
        ("__import__('os')", "no term '__import__'"),
        ("level.fit", "'level.fit' is no term"),
        ("level * 2", r"'level \* 2' is no term"),
        ("level + 2", "'2' is no term"),
        ("level + level()()", "no term of a model"),
        ("seasonal(**{'period': 2})", "name each argument"),
        ("seasonal", r"missing a required argument: 'period'; it is written seasonal\(period"),
        ("seasonal(4, 5)", "too many positional arguments"),
        ("seasonal(4, length=5)", "unexpected keyword argument 'length'"),
        ("seasonal(x)", r"'x' in 'seasonal\(x\)' is no argument"),
        ("seasonal(print(4))", "is no argument"),
        ("seasonal(1)", "from 2 to 2000"),
        ("seasonal(99999999999)", "from 2 to 2000"),
        ("seasonal('12')", "from 2 to 2000, .* given was '12'"),
        ("arima(1, 0)", r"three whole numbers from zero; given was \(1, 0\)"),
        ("arima(1, 0, 1)(1, 0, 1)", "the seasonal order of an ARIMA"),
        ("level + trend", "no data could tell them apart"),
        ("level + velocity(2)", "observe different numbers"),
    ],
)
def test_errors(expression, message):
    with pytest.raises(InputError, match=f"(?i){message}"):
        parse_model(expression)
