"""DeepStateSpace as a model of Keras, with frames, and what it refuses."""

import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import statespace as ss

BASE = ss.models.LocalLevel() + ss.models.Seasonal(3)
SERIES, STEPS, HORIZON = 4, 10, 3


def arrays(horizon=0):
    rng = np.random.default_rng(0)
    y = 5 + rng.normal(size=(SERIES, STEPS)).cumsum(axis=1)
    y[rng.random(y.shape) < 0.1] = np.nan
    return {"y": y, "covariates": rng.normal(size=(SERIES, STEPS + horizon, 2))}


def custom_encoder():
    inputs = keras.Input((None, 2))
    hidden = keras.layers.Conv1D(6, 2, padding="causal", activation="tanh")(inputs)
    return keras.Model(inputs, keras.layers.LayerNormalization()(hidden))


def frame(lengths=(10, 7, 4)):
    """Monthly series that end apart, with a covariate, a static column and a category."""
    rng = np.random.default_rng(1)
    months = pd.period_range("2020-01", periods=30, freq="M")
    parts = []
    for series, length in enumerate(lengths):
        start = 2 * series
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": f"shop {series}",
                    "ds": months[start : start + length + HORIZON],
                    "y": 10.0**series * (5 + rng.normal(size=length + HORIZON)),
                    "promotion": rng.normal(size=length + HORIZON),
                    "area": float(series),
                    "region": series % 2,
                }
            )
        )
    whole = pd.concat(parts, ignore_index=True)
    back = whole.groupby("unique_id").cumcount(ascending=False)
    return whole[back >= HORIZON], whole[back < HORIZON].drop(columns="y")


COLUMNS = {"covariates": ["promotion"], "static": ["area"], "category": "region"}

LOAD = """
import sys
import keras, numpy as np
from statespace.models import DeepStateSpace
folder = sys.argv[1]
inputs = dict(np.load(folder + "/inputs.npz"))
for name in ("named", "given"):
    model = keras.saving.load_model(f"{folder}/{name}.keras")
    forecast = model.forecast(inputs, 3)
    short = {"y": inputs["y"], "covariates": inputs["covariates"][:, :-3]}
    np.savez(f"{folder}/{name}.npz", mean=forecast.mean, variance=forecast.variance,
             paths=forecast.sample(4, seed=1), predicted=model.predict(short, verbose=0),
             steps=model.optimizer.iterations.numpy())
"""


def test_saved_models_give_the_same_bits_in_a_fresh_process(tmp_path):
    inputs, expected = arrays(HORIZON), {}
    short = {"y": inputs["y"], "covariates": inputs["covariates"][:, :-HORIZON]}
    np.savez(tmp_path / "inputs.npz", **inputs)
    for name, encoder in (("named", "lstm"), ("given", custom_encoder())):
        keras.utils.set_random_seed(0)
        model = ss.models.DeepStateSpace(
            BASE + ss.models.Cycle(), encoder, fix={"cycle.damping": 0.9}, smallest_scale=1e-3
        )
        model.compile(keras.optimizers.Adam(0.01))
        model.fit(short, epochs=2, verbose=0)
        forecast = model.forecast(inputs, HORIZON)
        expected[name] = {
            "mean": forecast.mean,
            "variance": forecast.variance,
            "paths": forecast.sample(4, seed=1),
            "predicted": model.predict(short, verbose=0),
            "steps": 2,
        }
        model.save(tmp_path / f"{name}.keras")
    subprocess.run([sys.executable, "-P", "-c", LOAD, str(tmp_path)], check=True)
    for name, results in expected.items():
        got = np.load(tmp_path / f"{name}.npz")
        for key, values in results.items():
            np.testing.assert_array_equal(got[key], values, err_msg=f"{name}, {key}")


def test_exported_models_give_the_same_bits(tmp_path):
    inputs = {name: x.astype(np.float32) for name, x in arrays().items()}
    model = ss.models.DeepStateSpace(BASE, "convolution")
    model(inputs)
    signature = {
        "y": keras.InputSpec(shape=(None, None), dtype="float32"),
        "covariates": keras.InputSpec(shape=(None, None, 2), dtype="float32"),
    }
    model.export(tmp_path / "exported", input_signature=[signature], verbose=False)
    exported = tf.saved_model.load(tmp_path / "exported")
    short = {name: x[:2, :7] for name, x in inputs.items()}
    np.testing.assert_array_equal(exported.serve(short), model.predict(short, verbose=0))


def test_configs_give_models_back():
    options = {
        "num_categories": 3,
        "embedding_dim": 2,
        "scaling": False,
        "smallest_scale": 0.01,
        "fix": {"seasonal.scale": 0.0},
        "initial_values": {"level.scale": 0.2},
        "algorithm": "univariate",
        "name": "panel",
    }
    for encoder in ("gru", custom_encoder()):
        model = ss.models.DeepStateSpace(BASE, encoder, **options)
        config = model.get_config()
        assert config.items() >= (options | {"name": "panel"}).items()
        again = type(model).from_config(config)
        assert again.get_config() == config
        assert again.base_model == BASE


def test_configs_of_functions_are_refused():
    def build(noise):
        return ss.LinearGaussianSSM([[1.0]], [[noise]], [[1.0]], [[1.0]], [0.0], [[1.0]])

    model = ss.models.DeepStateSpace(ss.models.Custom(build), "convolution")
    assert model(arrays()["y"]).shape == (SERIES, STEPS, 2)
    with pytest.raises(NotImplementedError, match="made of functions"):
        model.get_config()


def test_half_precision_encoders():
    """The encoder may compute in half precision; the weights and the filter do not."""
    model = ss.models.DeepStateSpace(BASE, "convolution", dtype="mixed_bfloat16")
    model.compile()
    assert np.isfinite(model.fit(arrays(), verbose=0).history["loss"][0])
    assert model(arrays()).dtype == tf.float32
    with pytest.raises(ValueError, match="dtype is float16"):
        ss.models.DeepStateSpace(BASE, dtype="float16")


def test_penalties_of_the_encoder_count():
    """They move weights that the likelihood alone would leave in place."""
    moved = []
    for penalty in (None, keras.regularizers.L2(100.0)):
        keras.utils.set_random_seed(0)
        encoder = keras.layers.Conv1D(4, 1, kernel_regularizer=penalty)
        model = ss.models.DeepStateSpace(BASE, encoder)
        model.compile(keras.optimizers.SGD(1e-4))
        model.fit(arrays(), epochs=5, verbose=0)
        moved.append(np.linalg.norm(encoder.kernel))
    assert moved[1] < 0.95 * moved[0]


def test_long_frames_in_and_out():
    past, future = frame()
    keras.utils.set_random_seed(0)
    model = ss.models.DeepStateSpace(BASE, "lstm", num_categories=2, dtype="float64")
    data = model.panel(past, **COLUMNS)
    np.testing.assert_array_equal(data["lengths"], [10, 7, 4])
    np.testing.assert_array_equal(data["category"], [0, 1, 0])
    np.testing.assert_array_equal(data["y"][2, :4, 0], past["y"][-4:])  # from the first step on
    np.testing.assert_array_equal(data["covariates"][1, :7, 0], past["promotion"][10:17])
    assert np.isnan(data["y"][2, 4:]).all()
    model.compile()
    model.fit(data, verbose=0)
    forecast = model.forecast(past, HORIZON, future=future, **COLUMNS)
    table = forecast.to_frame()
    assert table[["unique_id", "ds"]].equals(future[["unique_id", "ds"]].reset_index(drop=True))
    whole = np.zeros((3, 10 + HORIZON, 1))
    for series, length in enumerate(data["lengths"]):
        own = future["unique_id"] == f"shop {series}"
        whole[series, :length] = data["covariates"][series, :length]
        whole[series, length : length + HORIZON, 0] = future["promotion"][own]
    expected = model.forecast({**data, "covariates": whole}, HORIZON)
    np.testing.assert_allclose(table["mean"], np.ravel(expected.mean), rtol=1e-12)
    assert list(forecast.sample(5, seed=0).columns)[:2] == ["unique_id", "ds"]
    one = forecast["shop 1"]
    assert one.mean.index.equals(pd.PeriodIndex(future["ds"][3:6], freq="M"))
    ax = one.plot()
    assert len(ax.lines[0].get_ydata()) >= 7
    assert len(one.components().mean.columns) == 3


def test_frames_without_covariates_and_wide_frames():
    past, _ = frame()
    model = ss.models.DeepStateSpace(BASE, "convolution")
    model.compile()
    model.fit(past, verbose=0)
    assert len(model.forecast(past, 2).mean) == 6
    wide = pd.DataFrame(arrays()["y"].T, columns=list("abcd"))
    assert list(model.forecast(wide, 2).mean.columns) == list("abcd")
    single = pd.Series(arrays()["y"][0])
    assert model.forecast(single, 2).mean.shape == (2,)


REFUSED = {
    "no base": (lambda: ss.models.DeepStateSpace("level"), "base_model is a str"),
    "nothing to emit": (
        lambda: ss.models.DeepStateSpace(
            ss.models.LocalLevel(), fix={"level.scale": 1.0, "irregular.scale": 1.0}
        ),
        "no scale that a network could emit",
    ),
    "encoder unknown": (
        lambda: ss.models.DeepStateSpace(BASE, "transformer"),
        "encoder is 'transformer'; it must be one of 'lstm', 'gru', 'convolution'",
    ),
    "encoder without time": (
        lambda: ss.models.DeepStateSpace(BASE, keras.layers.LSTM(3)).log_likelihood(arrays()),
        "return_sequences=True",
    ),
    "parameter unknown": (
        lambda: ss.models.DeepStateSpace(BASE, initial_values={"slope.scale": 1.0}),
        "initial_values has 'slope.scale'; the parameters",
    ),
    "smallest scale": (
        lambda: ss.models.DeepStateSpace(BASE, smallest_scale=0.0),
        "smallest_scale is 0.0; it must be positive",
    ),
    "algorithm": (
        lambda: ss.models.DeepStateSpace(BASE, algorithm="fast"),
        "algorithm is 'fast'",
    ),
    "embedding of nothing": (
        lambda: ss.models.DeepStateSpace(BASE, embedding_dim=2),
        "embedding_dim goes with num_categories",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_arguments_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.fixture(scope="module")
def model():
    model = ss.models.DeepStateSpace(BASE, "convolution")
    model.log_likelihood(arrays())
    return model


def with_nan(value, *index):
    value = value.copy()
    value[index] = np.nan
    return value


X, Y = arrays()["covariates"], arrays()["y"]
HOSTILE = {
    "NaN among covariates": (
        {"y": Y, "covariates": with_nan(X, 2, 5, 1)},
        r"covariates\[2, 5, 1\] is nan; covariates must be known at every step",
    ),
    "covariates too short": (
        {"y": Y, "covariates": X[:, :-1]},
        r"covariates has shape \[4, 9, 2\]; it must be \[4, 10, columns\]",
    ),
    "of other series": ({"y": Y, "covariates": X[:-1]}, r"shape \[3, 10, 2\]; it must be \[4, 10"),
    "other columns": ({"y": Y, "covariates": X[..., :1]}, "covariates have 1 columns; .* for 2"),
    "no covariates": ({"y": Y}, "covariates have no columns; the model was built for 2"),
    "static of no use": (
        {"y": Y, "covariates": X, "static": X[:, 0]},
        "static have 2 columns; the model was built for none",
    ),
    "category of no use": (
        {"y": Y, "covariates": X, "category": np.zeros(4)},
        "category is given; it goes with num_categories",
    ),
    "features of no use": (
        {"y": Y, "covariates": X, "features": X},
        "features have 2 columns; the regressions of the base model need none",
    ),
    "unknown input": ({"y": Y, "covariate": X}, "dict of 'y', 'covariate'; it must have 'y'"),
    "lengths": (
        {"y": Y, "covariates": X, "lengths": [10, 0, 3, 4]},
        r"lengths\[1\] is 0; it must be from 1 to 10",
    ),
    "infinite": ({"y": np.where(Y > 5, np.inf, Y), "covariates": X}, "is infinite at step"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_inputs_refused(name, model):
    inputs, message = HOSTILE[name]
    model.compile()
    with pytest.raises(ValueError, match=message):
        model.fit(inputs, verbose=0)


def test_what_datasets_hold_is_checked_as_well(model):
    bad = {"y": Y, "covariates": with_nan(X, 2, 5, 1)}
    model.compile()
    with pytest.raises(tf.errors.InvalidArgumentError, match="covariates must be finite"):
        model.fit(tf.data.Dataset.from_tensors(bad), verbose=0)
    categories = ss.models.DeepStateSpace(BASE, "convolution", num_categories=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="category must be from 0 to 1"):
        categories.log_likelihood({"y": Y, "category": [0, 1, 2, 0]})


def test_weights_that_have_diverged_are_said_to():
    model = ss.models.DeepStateSpace(BASE, "convolution")
    model.log_likelihood(Y)
    model.trainable_weights[-1].assign(model.trainable_weights[-1] * np.nan)
    model.compile()
    with pytest.raises(tf.errors.InvalidArgumentError, match="log_likelihood: batch index"):
        model.fit(Y, verbose=0)
    with pytest.raises(FloatingPointError, match=r"y\[0\]: the filter broke down at step 0"):
        model.forecast(Y, 2)


def test_a_target_beside_the_inputs_is_refused(model):
    with pytest.raises(ValueError, match="fit takes the series as part of x, and no y"):
        model.fit(X, Y)
    with pytest.raises(ValueError, match="fit takes no sample_weight"):
        model.fit(arrays(), sample_weight=np.ones(SERIES))


def test_forecasts_refused(model):
    with pytest.raises(ValueError, match="horizon is 0; it must be a positive int"):
        model.forecast(arrays(), 0)
    with pytest.raises(ValueError, match=r"it must be \[4, 13, columns\], for .* 10 \+ 3 to come"):
        model.forecast(arrays(), 3)
    with pytest.raises(ValueError, match="future is for long frames"):
        model.forecast(arrays(3), 3, future=pd.DataFrame())
    past, future = frame()
    with pytest.raises(ValueError, match="there is no column 'price'"):
        model.panel(past, covariates=["price"])
    with pytest.raises(ValueError, match="'promotion' is not the same in all rows of shop 0"):
        model.panel(past, static=["promotion"])
    with pytest.raises(ValueError, match="shop 1, 2020-11: 'promotion' has no value"):
        model.forecast(past, 3, covariates=["promotion"], future=future.drop(index=[21]))
