"""The Kalman layers in all the ways in which Keras uses a layer."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from layers.kalman_cases import BATCH, CASES, LAYERS, OBSERVED, STEPS, made, observations

import statespace as ss
from statespace.layers import scoring

# Tracing the start of a stationary process takes long.
DYNAMICS = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] * (case == "autoregression"))
        for case in sorted(CASES)
    ],
)
KINDS = pytest.mark.parametrize("kind", sorted(LAYERS))


def panel(num_series=24, num_steps=12, seed=0):
    """Noisy sines that begin anywhere, a part missing, and what they are without noise."""
    rng = np.random.default_rng(seed)
    steps = np.arange(num_steps) / 2 + rng.uniform(0, 6, size=(num_series, 1))
    truth = np.sin(steps)[..., np.newaxis].astype(np.float32)
    y = truth + 0.3 * rng.normal(size=truth.shape).astype(np.float32)
    y[rng.random(y.shape) < 0.1] = np.nan
    return y, truth


def functional(**options):
    """An encoder of the noise on the features, and a smoother; two inputs."""
    y, covariate = keras.Input((None, 1), name="y"), keras.Input((None, 1), name="covariate")
    scale = keras.layers.Dense(1, activation="softplus", name="encoder")(covariate)
    smoother = ss.layers.KalmanSmoother(
        2, output="observations", join_standard_deviation=True, name="smoother", **options
    )
    return keras.Model([y, covariate], smoother((y, scale)))


class Subclassed(keras.Model):
    """Filter, then a decoder, built when first called."""

    def __init__(self):
        super().__init__()
        self.filter = ss.layers.KalmanFilter(3, likelihood_weight=0.1)
        self.decoder = keras.layers.Dense(1)

    def call(self, y):
        return self.decoder(self.filter(y))


def sequential():
    return keras.Sequential([ss.layers.KalmanSmoother(3), keras.layers.Dense(1)])


def assert_learns(model, x, y, loss, before=None, **options):
    model.compile(keras.optimizers.Adam(0.02), loss, **options)
    first = model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)["loss"]
    start = [w.numpy() for w in model.trainable_variables]
    model.fit(x, y, batch_size=8, epochs=4, verbose=0)
    for variable, old in zip(model.trainable_variables, start, strict=True):
        assert not np.array_equal(variable, old), f"{variable.path} has not moved"
    assert model.evaluate(x, y, batch_size=8, verbose=0, return_dict=True)["loss"] < first


@pytest.mark.parametrize("make", [sequential, Subclassed], ids=["sequential", "subclassed"])
def test_models_of_each_kind_learn(make):
    keras.utils.set_random_seed(0)
    y, truth = panel()
    assert_learns(make(), y, truth, "mse")


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["graph", "XLA"]
)
def test_an_encoder_of_the_noise_learns(jit_compile):
    keras.utils.set_random_seed(0)
    y, truth = panel()
    covariate = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    metrics = [ss.layers.IntervalCoverage(0.9), ss.layers.MeanGaussianCRPS()]
    model = functional(likelihood_weight=0.1)
    loss = ss.layers.GaussianLogScore()
    assert_learns(model, [y, covariate], truth, loss, metrics=metrics, jit_compile=jit_compile)
    got = model.evaluate([y, covariate], truth, batch_size=10, verbose=0, return_dict=True)
    predicted = model.predict([y, covariate], verbose=0)
    mean, deviation = predicted[..., :1], predicted[..., 1:]
    inside = np.mean(np.abs(truth - mean) < 1.6448536 * deviation)
    np.testing.assert_allclose(got["interval_coverage"], inside, rtol=1e-5)
    expected = scoring.scores.crps_normal(truth, mean, deviation)
    np.testing.assert_allclose(got["gaussian_crps"], np.mean(expected), rtol=1e-5)


@KINDS
def test_compiled_by_xla_it_gives_the_same(kind):
    """Values and gradients, of padded series."""
    layer, inputs = made(kind, "learned, all emitted", return_scale=True)
    mask = tf.constant(np.arange(STEPS) < np.array([[7], [4], [6]]))

    def run(inputs):
        with tf.GradientTape() as tape:
            outputs = layer(inputs, mask=mask)
            total = tf.add_n([tf.reduce_sum(tf.sin(x)) for x in outputs])
        return outputs, tape.gradient(total, [w.value for w in layer.trainable_weights])

    expected, got = run(inputs), tf.function(run, jit_compile=True)(inputs)
    for x, y in zip(tf.nest.flatten(got), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-10)


def test_ragged_series_from_a_dataset():
    """tf.data pads, a Masking layer marks what is padding, the loss leaves it out."""
    keras.utils.set_random_seed(0)
    lengths = [3, 5, 8, 4, 6, 7]
    y, truth = panel(len(lengths), max(lengths))

    def generate():
        for series, length in enumerate(lengths):
            yield np.nan_to_num(y[series, :length]), truth[series, :length]

    spec = tf.TensorSpec([None, 1], tf.float32)
    data = tf.data.Dataset.from_generator(generate, output_signature=(spec, spec))
    data = data.padded_batch(3, ([8, 1], [8, 1]), padding_values=(-99.0, np.nan))
    inputs = keras.Input((None, 1))
    masked = keras.layers.Masking(-99.0)(inputs)
    outputs = ss.layers.KalmanFilter(2, output="observations", join_standard_deviation=True)(masked)
    model = keras.Model(inputs, outputs)
    model.compile("adam", ss.layers.GaussianLogScore(), metrics=[ss.layers.MeanGaussianLogScore()])
    got = model.evaluate(data, verbose=0, return_dict=True)
    alone = []
    for x, z in generate():
        predicted = model(x[np.newaxis]).numpy()[0]
        alone.append(scoring.scores.log_score_normal(z, predicted[:, :1], predicted[:, 1:]))
    expected = np.mean(np.concatenate(alone))
    np.testing.assert_allclose(got["gaussian_log_score"], expected, rtol=1e-5)
    assert np.isfinite(model.fit(data, epochs=1, verbose=0).history["loss"][0])


def test_masks_are_passed_on():
    mask = tf.constant(np.arange(STEPS) < np.array([[7], [4], [6]]))
    y = tf.zeros([BATCH, STEPS, 1])
    layer = ss.layers.KalmanSmoother(2, return_covariance=True, return_log_likelihood=True)
    mean_mask, covariance_mask, none = layer.compute_mask(y, mask)
    assert mean_mask is mask
    assert covariance_mask is mask
    assert none is None
    last = ss.layers.KalmanSmoother(2, return_sequences=False)
    assert last.compute_mask(y, mask) is None
    assert layer.compute_mask((y, y), [mask, None])[0] is mask
    assert layer.compute_mask({"observations": y}, {"observations": mask})[0] is mask


@KINDS
@DYNAMICS
@pytest.mark.parametrize("return_sequences", [False, True])
def test_shapes_are_known_beforehand(kind, case, return_sequences):
    layer, inputs = made(
        kind,
        case,
        return_sequences=return_sequences,
        join_standard_deviation=True,
        return_covariance=True,
        return_scale=True,
        return_log_likelihood=True,
    )
    outputs = layer(inputs)
    shapes = layer.compute_output_shape(keras.tree.map_structure(np.shape, inputs))
    assert [tuple(x.shape) for x in outputs] == list(shapes)
    symbolic = keras.tree.map_structure(
        lambda x: keras.Input((None, *x.shape[2:]), dtype=x.dtype), inputs
    )
    for known, x in zip(layer(symbolic), outputs, strict=True):
        assert known.dtype == x.dtype.name == "float64"
        assert len(known.shape) == len(x.shape)
        assert known.shape[2:] == tuple(x.shape[2:])


def test_a_stateful_model_predicts_a_stream():
    keras.utils.set_random_seed(0)
    y, _ = panel(4, 12)
    inputs = keras.Input(batch_shape=(4, None, 1))
    layer = ss.layers.KalmanFilter(2, stateful=True)
    model = keras.Model(inputs, layer(inputs))
    whole = keras.Sequential([keras.Input((None, 1)), ss.layers.KalmanFilter(2)])
    whole.set_weights([w.numpy() for w in layer.trainable_weights])
    expected = whole.predict(y, verbose=0)
    for _ in range(2):
        parts = [model.predict(y[:, i : i + 4], batch_size=4, verbose=0) for i in (0, 4, 8)]
        np.testing.assert_allclose(np.concatenate(parts, 1), expected, rtol=1e-6, atol=1e-6)
        layer.reset_state()


LOAD = """
import sys
import keras, numpy as np, tensorflow as tf
import statespace.layers
folder = sys.argv[1]
x = [np.load(f"{folder}/{name}.npy") for name in ("y", "covariate")]
model = keras.saving.load_model(folder + "/model.keras")
exported = tf.saved_model.load(folder + "/exported")
np.savez(folder + "/got.npz", keras=model.predict(x, verbose=0), exported=exported.serve(x))
"""


def test_saved_models_give_the_same_bits_in_a_fresh_process(tmp_path):
    keras.utils.set_random_seed(0)
    y, truth = panel()
    covariate = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    model = functional(likelihood_weight=0.1, fix={"initial_scale": [2.0, 2.0]})
    model.compile("adam", ss.layers.GaussianCRPS(), metrics=[ss.layers.IntervalCoverage(0.8)])
    model.fit([y, covariate], truth, epochs=1, verbose=0)
    expected = model.predict([y, covariate], verbose=0)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "covariate.npy", covariate)
    subprocess.run([sys.executable, "-P", "-c", LOAD, str(tmp_path)], check=True)
    got = np.load(tmp_path / "got.npz")
    for name in ("keras", "exported"):
        np.testing.assert_array_equal(got[name], expected, err_msg=name)


@DYNAMICS
def test_configs_give_layers_back(case, tmp_path):
    """In a saved model, whatever the dynamics are made of, with the same bits."""
    _, inputs = made("smoother", case)
    symbolic = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype="float64"), inputs)
    if isinstance(inputs, dict):
        symbolic = {k: keras.Input(x.shape[1:], dtype="float64", name=k) for k, x in inputs.items()}
    layer = ss.layers.KalmanSmoother(
        **CASES[case][0], dtype="float64", name="smoother", diffuse_scale=7.0
    )
    model = keras.Model(symbolic, layer(symbolic))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(inputs), model(inputs))
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config


def test_configs_of_functions_are_refused():
    def build(noise):
        return ss.LinearGaussianSSM([[0.5]], [[1.0]], [[1.0]], [[noise]], [0.0], [[1.0]])

    layer = ss.layers.KalmanFilter(dynamics=ss.models.Custom(build), dtype="float64")
    assert layer(observations()[..., :1]).shape == (BATCH, STEPS, 1)
    with pytest.raises(NotImplementedError, match="made of functions"):
        layer.get_config()


def test_mixed_precision_is_refused():
    for policy in ("mixed_float16", "mixed_bfloat16", "float16"):
        with pytest.raises(ValueError, match=f'dtype is {policy}; .* dtype="float32"'):
            ss.layers.KalmanFilter(2, dtype=policy)
    layer = ss.layers.KalmanFilter(2, dtype="float32")  # in a model of half precision
    assert layer(tf.zeros([1, 3, 1], tf.float16)).dtype == tf.float32


HOSTILE = {
    "no axis of time": (np.zeros((3, 2)), r"observations has shape \(3, 2\).*observations\[\.\.\."),
    "other variables": (np.zeros((3, 7, 3)), r"observations has shape .* must be .*m = 2"),
    "scale of other steps": (
        (observations(), np.ones((BATCH, STEPS + 1, OBSERVED))),
        r"observation_noise_scale has shape \(3, 8, 2\).*time = 7",
    ),
    "scale of no variables": (
        (observations(), np.ones((BATCH, STEPS))),
        r"observation_noise_scale has shape \(3, 7\)",
    ),
    "scale not square": (
        (observations(), np.ones((BATCH, STEPS, OBSERVED, 3))),
        r"observation_noise_scale has shape \(3, 7, 2, 3\).*\[batch, time, m, m\]",
    ),
    "disturbances": (
        (observations(), np.ones((BATCH, STEPS, 2)), np.ones((BATCH, STEPS, 5))),
        r"transition_noise_scale has shape \(3, 7, 5\).*k = 2",
    ),
    "controls": (
        (observations(), np.ones((BATCH, STEPS, 2)), np.ones((BATCH, STEPS, 2)), np.ones((3, 7))),
        r"controls has shape \(3, 7\)",
    ),
    "too many parts": ((observations(),) * 5, "a tuple of 5"),
    "no observations": ({"controls": np.ones((3, 7, 1))}, "must have 'observations'"),
    "an unknown part": ({"observations": observations(), "noise": np.ones((3, 7, 1))}, "'noise'"),
    "times unused": (
        {"observations": observations(), "times": np.ones((3, 7))},
        "times are given",
    ),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_inputs_that_do_not_fit_are_named(case):
    inputs, message = HOSTILE[case]
    dynamics = ss.LinearGaussianSSM(
        np.eye(2), np.eye(2), np.eye(2), np.eye(2), np.zeros(2), np.eye(2)
    )
    with pytest.raises(ValueError, match=message):
        ss.layers.KalmanSmoother(dynamics=dynamics)(inputs)


WRONG = {
    "state_dim is 0": {"state_dim": 0},
    "give state_dim": {},
    "state_dim is 3, but dynamics": {"state_dim": 3, "dynamics": ss.models.LocalLevel()},
    "dynamics is a str": {"dynamics": "level"},
    "output is 'predictions'": {"state_dim": 2, "output": "predictions"},
    "algorithm is 'fast'": {"state_dim": 2, "algorithm": "fast"},
    "likelihood_weight is -1": {"state_dim": 2, "likelihood_weight": -1},
    "diffuse_scale is 0": {"state_dim": 2, "diffuse_scale": 0},
    "fix has 'slope.scale'": {"dynamics": ss.models.LocalLevel(), "fix": {"slope.scale": 1.0}},
    r"initial_values\['level.scale'\] is -1": {
        "dynamics": ss.models.LocalLevel(),
        "initial_values": {"level.scale": -1.0},
    },
    r"fix\['level.scale'\] has shape \(2,\)": {
        "dynamics": ss.models.LocalLevel(),
        "fix": {"level.scale": [1.0, 1.0]},
    },
}


@pytest.mark.parametrize("message", sorted(WRONG))
def test_wrong_arguments_are_named(message):
    with pytest.raises(ValueError, match=message):
        ss.layers.KalmanSmoother(**WRONG[message])


def test_a_stateful_layer_says_what_it_needs():
    with pytest.raises(ValueError, match="stateful needs a known batch size"):
        ss.layers.KalmanFilter(2, stateful=True)(keras.Input((None, 1)))
    layer = ss.layers.KalmanFilter(
        dynamics=ss.models.LocalLevel(), stateful=True, diffuse_scale=None
    )
    with pytest.raises(ValueError, match="give diffuse_scale a number"):
        layer(tf.zeros([1, 3, 1]))
    layer = ss.layers.KalmanFilter(dynamics=ss.models.ConstantVelocity(2), stateful=True)
    with pytest.raises(ValueError, match="stateful layers take no times"):
        layer({"observations": tf.zeros([1, 3, 2]), "times": tf.zeros([1, 3])})
    layer = ss.layers.KalmanFilter(2, stateful=True)
    layer(tf.zeros([3, 2, 1]))
    with pytest.raises(ValueError, match="of 2 series; the layer is stateful and was built for 3"):
        layer(tf.zeros([2, 2, 1]))


def test_the_last_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="the observations have no step"):
        ss.layers.KalmanFilter(2, return_sequences=False)(tf.zeros([2, 0, 1]))
