"""DeepStateSpace: the model that a network emits, its likelihood, forecasts and training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import statespace as ss
from statespace.forecasting import SkippedSeriesWarning

SERIES, STEPS, HORIZON = 5, 14, 4
BASE = ss.models.LocalLinearTrend() + ss.models.Seasonal(4)


def panel(seed=0, missing=0.15, horizon=0, **parts):
    """Random walks of very different sizes, a part missing, and two covariates."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.integers(-2, 5, size=(SERIES, 1))
    y = size * (5 + rng.normal(size=(SERIES, STEPS)).cumsum(axis=1))
    y[rng.random(y.shape) < missing] = np.nan
    return {"y": y, "covariates": rng.normal(size=(SERIES, STEPS + horizon, 2)), **parts}


def made(base=BASE, encoder="convolution", dtype="float64", **options):
    """A model with random weights, so that what it emits varies."""
    keras.utils.set_random_seed(1)
    return ss.models.DeepStateSpace(base, encoder, dtype=dtype, **options)


def stirred(model, inputs):
    """The model built for inputs, its affine maps far from constant."""
    model.log_likelihood(inputs)
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        if weight.path.endswith("kernel"):
            weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return model


def by_hand(emitted, scale):
    """Trend and dummy seasonal of period four, in the units of the data, from what is emitted."""
    transition = np.zeros((5, 5))
    transition[:2, :2] = [[1, 1], [0, 1]]
    transition[2] = [0, 0, -1, -1, -1]
    transition[3, 2] = transition[4, 3] = 1
    names = ("level.scale", "slope.scale", "seasonal.scale")
    noise = np.zeros((*emitted["level.scale"].shape, 5, 3))
    for i, name in enumerate(names):
        noise[..., i, i] = scale * emitted[name]
    return ss.LinearGaussianSSM(
        transition,
        noise,
        np.array([[1.0, 0, 1, 0, 0]]),
        scale[..., None, None] * emitted["irregular.scale"].numpy()[..., None, None],
        scale * emitted["initial_mean"],
        scale[..., None] * tf.linalg.diag(emitted["initial_scale"]),
    )


@pytest.mark.parametrize("encoder", ["lstm", "gru", "convolution"])
def test_the_likelihood_is_that_of_the_filter_on_the_model_built_by_hand(encoder):
    inputs = panel()
    model = stirred(made(encoder=encoder), inputs)
    emitted = model.emitted(inputs)
    assert all(np.ptp(x, axis=1).min() > 0.01 for name, x in emitted.items() if "." in name)
    y = inputs["y"]
    scale = np.nanmean(np.abs(y), axis=1, keepdims=True)
    expected = ss.kalman_filter(by_hand(emitted, scale), y[..., np.newaxis])
    np.testing.assert_allclose(model.log_likelihood(inputs), expected.log_likelihood, rtol=1e-10)
    own = ss.kalman_filter(model.state_space_model(inputs), y[..., np.newaxis])
    np.testing.assert_allclose(own.log_likelihood, expected.log_likelihood, rtol=1e-10)
    predicted = model(inputs)
    rows = expected.predicted_mean.numpy()
    np.testing.assert_allclose(predicted[..., 0], rows[..., 0] + rows[..., 2], rtol=1e-9)
    variance = expected.innovation_covariance[..., 0, 0]
    np.testing.assert_allclose(predicted[..., 1], np.sqrt(variance), rtol=1e-9)


def test_the_loss_is_the_likelihood_per_observed_value_of_scaled_series():
    inputs = panel()
    model = made()
    model.compile()
    got = model.evaluate(model.panel(inputs), batch_size=2, verbose=0, return_dict=True)["loss"]
    y = inputs["y"]
    scaled = y / np.nanmean(np.abs(y), axis=1, keepdims=True)
    total = np.sum(model.log_likelihood({**inputs, "y": scaled}))
    np.testing.assert_allclose(got, -total / np.sum(~np.isnan(y)), rtol=1e-6)


@pytest.mark.parametrize("scaling", [True, False])
def test_forecasts_are_the_filter_on_over_the_missing_steps(scaling):
    inputs = panel(horizon=HORIZON)
    model = stirred(made(scaling=scaling), panel())
    forecast = model.forecast(inputs, HORIZON)
    longer = np.pad(inputs["y"], [(0, 0), (0, HORIZON)], constant_values=np.nan)
    extended = {**inputs, "y": longer}
    expected = ss.kalman_filter(model.state_space_model(extended), longer[..., np.newaxis])
    variance = expected.innovation_covariance[:, -HORIZON:, 0, 0]
    np.testing.assert_allclose(forecast.variance, variance, rtol=1e-9)
    predicted = model(extended)
    np.testing.assert_allclose(forecast.mean, predicted[:, -HORIZON:, 0], rtol=1e-9)
    lower, upper = forecast.interval(0.9)
    np.testing.assert_allclose(upper - lower, 2 * 1.6448536270 * np.sqrt(variance), rtol=1e-6)
    np.testing.assert_allclose(
        np.sum(forecast.components().mean, axis=-1), forecast.mean, rtol=1e-9
    )
    paths = forecast.sample(4000, seed=1)
    error = (paths.mean(axis=0) - forecast.mean) / np.sqrt(variance)
    assert np.abs(error).max() < 5 / np.sqrt(4000)
    np.testing.assert_allclose(paths.std(axis=0) / np.sqrt(variance), 1, atol=0.06)


@pytest.mark.parametrize("encoder", ["lstm", "convolution"])
def test_ragged_series_are_as_if_alone(encoder):
    """Whatever pads them; and so are their forecasts, from each series' own end."""
    lengths = np.array([14, 9, 1, 12, 6])
    inputs = panel(horizon=HORIZON, static=np.random.default_rng(3).normal(size=(SERIES, 3)))
    model = stirred(made(encoder=encoder), {**inputs, "covariates": inputs["covariates"][:, :14]})
    inputs["y"][2, 0] = 3.0
    padded = {**inputs, "lengths": lengths}
    padded["y"] = np.where(np.arange(STEPS) < lengths[:, None], inputs["y"], -99.0)
    padded["covariates"] = inputs["covariates"].copy()
    for series, length in enumerate(lengths):
        padded["covariates"][series, length + HORIZON :] = np.nan
    forecast = model.forecast(padded, HORIZON)
    np.testing.assert_array_equal(forecast.result.values[1, -9:, 0], inputs["y"][1, :9])
    assert np.isnan(forecast.result.values[1, :-9]).all()
    total = model.log_likelihood({**padded, "covariates": inputs["covariates"][:, :STEPS]})
    for series, length in enumerate(lengths):
        one = slice(series, series + 1)
        alone = {
            "y": inputs["y"][one, :length],
            "covariates": inputs["covariates"][one, : length + HORIZON],
            "static": inputs["static"][one],
        }
        own = model.forecast(alone, HORIZON)
        np.testing.assert_allclose(forecast.mean[series], own.mean[0], rtol=1e-10)
        np.testing.assert_allclose(forecast.variance[series], own.variance[0], rtol=1e-10)
        alone["covariates"] = alone["covariates"][:, :length]
        np.testing.assert_allclose(total[series], model.log_likelihood(alone)[0], rtol=1e-10)


def test_forecasts_in_batches_are_those_in_one(monkeypatch):
    inputs = panel(horizon=HORIZON)
    model = stirred(made(), panel())
    whole = model.forecast(inputs, HORIZON)
    monkeypatch.setattr("statespace.networks.panel_forecast._MOST_AT_ONCE", 2)
    parts = model.forecast(inputs, HORIZON)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.sample(3, seed=0), whole.sample(3, seed=0), rtol=1e-9)
    np.testing.assert_allclose(parts[3].variance, whole.variance[3], rtol=1e-12)


def test_sizes_do_not_matter():
    """A series a million times as large has the same forecast, a million times as large."""
    inputs = panel(horizon=HORIZON)
    model = stirred(made(), panel())
    small = model.forecast(inputs, HORIZON)
    large = model.forecast({**inputs, "y": 1e6 * inputs["y"]}, HORIZON)
    np.testing.assert_allclose(large.mean, 1e6 * small.mean, rtol=1e-9)
    np.testing.assert_allclose(large.variance, 1e12 * small.variance, rtol=1e-9)


def test_a_series_without_observations_has_no_forecast_but_spoils_none():
    inputs = panel(horizon=HORIZON)
    model = stirred(made(), panel())
    expected = model.forecast(inputs, HORIZON)
    inputs["y"][1] = np.nan
    short = {**inputs, "covariates": inputs["covariates"][:, :STEPS]}
    assert model.log_likelihood(short)[1] == 0.0
    with pytest.warns(SkippedSeriesWarning, match=r"y\[1\]: it has no observation"):
        forecast = model.forecast(inputs, HORIZON)
    assert np.isnan(forecast.mean[1]).all()
    rest = [0, 2, 3, 4]
    np.testing.assert_allclose(forecast.mean[rest], expected.mean[rest], rtol=1e-12)
    inputs["y"][:] = np.nan
    with pytest.raises(ValueError, match=r"y\[0\]: it has no observation"):
        model.forecast(inputs, HORIZON)
    cold = made(scaling=False)  # then there is a start that the network has learned
    assert np.isfinite(cold.forecast(inputs, HORIZON).mean).all()


def test_constant_series_and_single_observations_train_and_are_forecast():
    constants = np.array([0.0, -7.0, 1e-8, 1e9, 4.0])
    y = np.repeat(constants[:, np.newaxis], 20, axis=1)
    y[-1, 1:] = np.nan
    model = made(ss.models.LocalLevel())
    model.compile(keras.optimizers.Adam(0.05))
    losses = model.fit(y, epochs=30, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses))
    assert losses[-1] < losses[0]
    mean = model.forecast(y, 2).mean
    np.testing.assert_allclose(mean[:4, 0], constants[:4], rtol=0.01, atol=1e-12)
    assert np.all(np.isfinite(mean))


def test_callbacks_validation_and_datasets():
    """Batches of dicts, or of tuples; what they give is what arrays give."""
    inputs = panel()
    model = made(dtype="float32")
    model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(model.panel(inputs)).batch(2)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=5)
    history = model.fit(data, epochs=3, validation_data=inputs, callbacks=[stop], verbose=0)
    assert set(history.history) == {"loss", "val_loss"}
    assert history.history["val_loss"][-1] < history.history["val_loss"][0]
    expected = history.history["val_loss"][-1]
    pairs = tf.data.Dataset.from_tensor_slices((inputs["y"], inputs["covariates"])).batch(3)
    for x in (data, pairs, inputs, (inputs["y"], inputs["covariates"])):
        np.testing.assert_allclose(model.evaluate(x, verbose=0), expected, rtol=1e-5)


@pytest.mark.slow
def test_compiled_by_xla_it_trains_the_same():
    losses = []
    for jit_compile in (False, True):
        model = made()
        model.compile(keras.optimizers.Adam(0.01), jit_compile=jit_compile)
        losses.append(model.fit(panel(), epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


BASES = {
    "level": ss.models.LocalLevel(),
    "damped": ss.models.DampedTrend() + ss.models.TrigonometricSeasonal(6, 2),
    "cycle": ss.models.SmoothTrend() + ss.models.Cycle(),
    "two seasonals": ss.models.LocalLevel() + ss.models.Seasonal(3) + ss.models.Seasonal(4),
    "smoothing": ss.models.ExponentialSmoothing(trend="add", damped=True),
    "matern": ss.models.MaternProcess(1.5),
    "two variables": ss.models.ConstantVelocity(2),
    "arima": ss.models.ARIMA((1, 1, 1)),
    "autoregression": ss.models.LocalLevel() + ss.models.Autoregressive(2),
    "regression": ss.models.LocalLevel() + ss.models.DynamicRegression(2),
}


@pytest.mark.parametrize("name", sorted(BASES))
def test_any_sum_of_components_is_a_base(name):
    """What is built of the emitted scales is what the component builds of them, step by step."""
    base = BASES[name]
    rng = np.random.default_rng(4)
    m = base.num_observed
    inputs = {"y": 3 + rng.normal(size=(2, 6, m))}
    if base.num_features:
        inputs["features"] = rng.normal(size=(2, 6, base.num_features))
    model = stirred(made(base, scaling=False), inputs)
    ssm, emitted = model.state_space_model(inputs), model.emitted(inputs)
    assert set(emitted) | set(model.parameters) == {
        *(p.name for p in base.parameters),
        "initial_mean",
        "initial_scale",
    }
    assert set(model.parameters) == {
        p.name for p in base.parameters if type(p) is not ss.models.parameters.Scale
    } | ({"matern.length_scale"} if name == "matern" else set())
    for series, step in [(0, 0), (1, 4)]:
        values = {k: v[series, step] for k, v in emitted.items() if not k.startswith("initial")}
        features = inputs["features"][series, step][None] if base.num_features else None
        expected = base.build(values | model.parameters, features=features)
        for field, rank in [
            ("transition_matrix", 2),
            ("transition_scale", 2),
            ("observation_matrix", 2),
            ("observation_scale", 2),
            ("observation_offset", 1),
        ]:
            got = getattr(ssm, field).numpy()
            got = np.broadcast_to(got, (2, 6, *got.shape[-rank:]))[series, step]
            wanted = np.reshape(getattr(expected, field), got.shape)
            np.testing.assert_allclose(got, wanted, rtol=1e-12, err_msg=field)


def test_fixed_parameters_and_where_others_set_out():
    model = made(
        BASE,
        fix={"seasonal.scale": 0.0},
        initial_values={"irregular.scale": 0.5, "level.scale": 2e-4},
    )
    emitted = model.emitted(panel())
    assert "seasonal.scale" not in emitted
    assert model.parameters["seasonal.scale"] == 0.0
    np.testing.assert_allclose(emitted["irregular.scale"], 0.5, rtol=0.3)
    np.testing.assert_allclose(emitted["level.scale"], 2e-4, rtol=0.3)
    scale = model.state_space_model(panel()).transition_scale
    assert np.all(scale[..., 2, 2] == 0.0)


def test_categories_have_embeddings():
    inputs = panel(category=np.array([0, 1, 2, 1, 0]))
    model = stirred(made(num_categories=3), inputs)
    same = {**inputs, "y": inputs["y"][[0] * 5], "covariates": inputs["covariates"][[0] * 5]}
    total = model.log_likelihood(same).numpy()
    np.testing.assert_allclose(total[[0, 1]], total[[4, 3]], rtol=1e-12)
    assert len(np.unique(np.round(total, 8))) == 3


def test_without_covariates_the_network_sees_the_age():
    y = panel()["y"]
    model = stirred(made(encoder="lstm"), {"y": y})
    scales = model.emitted({"y": y})["level.scale"]
    np.testing.assert_allclose(scales, np.broadcast_to(scales[:1], scales.shape), rtol=1e-12)
    assert np.all(np.diff(scales[0]) != 0)


def heteroscedastic(num_series, num_steps, seed):
    """Levels whose observation noise is five times as large where a covariate is one."""
    rng = np.random.default_rng(seed)
    loud = (rng.random((num_series, num_steps, 1)) < 0.5).astype(np.float64)
    level = 10 + np.cumsum(0.3 * rng.normal(size=(num_series, num_steps)), axis=1)
    size = np.exp(rng.normal(size=(num_series, 1)))
    noise = np.where(loud[..., 0] == 1, 2.5, 0.5) * rng.normal(size=level.shape)
    return size * (level + noise), loud, size


def test_noise_follows_a_covariate_and_forecasts_are_better_for_it():
    """On series that were not among those of the training."""
    horizon = 10
    y, loud, _ = heteroscedastic(60, 60, seed=5)
    keras.utils.set_random_seed(0)
    model = ss.models.DeepStateSpace(ss.models.LocalLevel(), "convolution")
    model.compile(keras.optimizers.Adam(0.02))
    model.fit({"y": y, "covariates": loud}, epochs=40, batch_size=20, verbose=0)
    y, loud, size = heteroscedastic(40, 60, seed=6)
    past, truth = y[:, :-horizon], y[:, -horizon:]
    emitted = model.emitted({"y": past, "covariates": loud[:, :-horizon]})["irregular.scale"]
    emitted = emitted.numpy() * np.mean(np.abs(past), axis=1, keepdims=True) / size
    where = loud[:, :-horizon, 0] == 1
    assert 2.0 < np.median(emitted[where]) < 3.0  # 2.5
    assert 0.4 < np.median(emitted[~where]) < 0.65  # 0.5
    forecast = model.forecast({"y": past, "covariates": loud}, horizon)
    plain = ss.models.LocalLevel().fit(past, num_starts=1, verbose=0).forecast(horizon)
    scores = [
        np.mean(ss.forecasting.crps_normal(truth, f.mean, np.sqrt(f.variance)) / size[:, 0])
        for f in (forecast, plain)
    ]
    assert scores[0] < 0.93 * scores[1]
