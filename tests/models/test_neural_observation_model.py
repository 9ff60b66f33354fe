"""NeuralObservationModel: its evidence bound, missing frames, training and saving."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import dense

import statespace as ss
from statespace.networks.evidence_bound import Potentials, divergence

BATCH, STEPS, SIZE = 3, 6, 4


def frames(seed=0, missing=True):
    """``[BATCH, STEPS, SIZE]``, with a frame missing, the end of a series, and single entries."""
    x = np.random.default_rng(seed).normal(size=(BATCH, STEPS, SIZE))
    if missing:
        x[0, 2] = x[1, 4:] = x[2, 1, :2] = np.nan
    return x


def made(dynamics=3, decoder=True, dtype="float64", seed=0, **options):
    keras.utils.set_random_seed(seed)
    if not isinstance(dynamics, ss.models.Model):
        options = {"signal_dim": 2, **options}
    return ss.models.NeuralObservationModel(
        keras.layers.Dense(5, "tanh", dtype=dtype),
        dynamics,
        keras.layers.Dense(SIZE, dtype=dtype) if decoder else None,
        dtype=dtype,
        **options,
    )


CASES = {
    "learned": {},
    "mixture": {"num_transition_matrices": 2},
    "velocity": {"dynamics": ss.models.ConstantVelocity(2)},
    "bernoulli": {"likelihood": "bernoulli"},
}


def frames_of(case):
    """Within [0, 1] where they are probabilities."""
    x = frames()
    return 1 / (1 + np.exp(-x)) if case == "bernoulli" else x


each_case = pytest.mark.parametrize("case", sorted(CASES))


def dense_model(ssm, num_steps, item):
    """One series of a model, for the oracle."""
    arrays = []
    for name, rank in zip(dense.Model._fields, (2, 2, 2, 2, 1, 1, 1, 2), strict=True):
        x = getattr(ssm, FIELDS[name]).numpy()
        lead = (BATCH, num_steps) if name not in ("m0", "s0") else (BATCH,)
        arrays.append(np.broadcast_to(x, (*lead, *x.shape[x.ndim - rank :]))[item])
    return dense.Model(*arrays)


FIELDS = {
    "f": "transition_matrix",
    "g": "transition_scale",
    "h": "observation_matrix",
    "c": "observation_scale",
    "b": "transition_offset",
    "d": "observation_offset",
    "m0": "initial_mean",
    "s0": "initial_scale",
}


def test_divergence_is_that_of_the_joint_distributions():
    model = made()
    x = frames()
    found = model.smoothed(x)
    potentials = Potentials(found.pseudo_observation, found.noise_scale)
    got = divergence(
        potentials, found.signal_mean, found.signal_covariance, found.log_likelihood
    ).numpy()
    ssm = model.smoother.state_space_model(tuple(potentials))
    for item in range(BATCH):
        one = dense_model(ssm, STEPS, item)
        mean, covariance = dense.joint_moments(one)
        after = dense.posterior(one, found.pseudo_observation[item].numpy())
        size = len(mean)
        mean_after, covariance_after = after[0].ravel(), after[1].reshape(size, size)
        precision = np.linalg.inv(covariance)
        shift = mean_after - mean
        expected = 0.5 * (
            np.trace(precision @ covariance_after)
            + shift @ precision @ shift
            - size
            + np.linalg.slogdet(covariance)[1]
            - np.linalg.slogdet(covariance_after)[1]
        )
        np.testing.assert_allclose(got[item], expected, rtol=1e-9)


def test_bound_is_the_likelihood_where_encoder_and_decoder_are_linear():
    """Identities, with the noise of the frames for that of the pseudo-observations."""
    identity = {"kernel_initializer": "identity", "use_bias": False, "dtype": "float64"}
    model = ss.models.NeuralObservationModel(
        keras.layers.Dense(2, **identity),
        3,
        keras.layers.Dense(2, **identity),
        signal_dim=2,
        smallest_scale=0.5,
        dtype="float64",
    )
    rng = np.random.default_rng(1)
    y = rng.normal(size=(1, STEPS, 2))
    y[0, 3] = np.nan
    copies = np.repeat(y, 4000, axis=0)  # each with draws of its own
    model.build(copies.shape)
    model.pseudo_observation.set_weights([np.eye(2), np.zeros(2)])
    model.pseudo_observation_noise.set_weights(
        [np.zeros((2, 2)), np.full(2, -1e3)]
    )  # softplus of it is zero
    model.log_frame_scale.assign(np.log(0.5))
    keras.utils.set_random_seed(2)
    model(copies)
    scale = np.full((1, STEPS, 2), 0.5)
    ssm = model.smoother.state_space_model((y, scale))
    expected = -ss.log_likelihood(ssm, y)[0] / (STEPS - 1)
    np.testing.assert_allclose(model.losses[0], expected, rtol=0.01)


def test_smoothed_is_the_kalman_smoother_of_the_pseudo_observations():
    model = made()
    x = frames()
    found = model.smoothed(x)
    seen = ~np.isnan(x).all(axis=-1)
    np.testing.assert_array_equal(~np.isnan(found.pseudo_observation).any(axis=-1), seen)
    encoded = model.encoder(np.nan_to_num(x))
    np.testing.assert_allclose(
        found.pseudo_observation.numpy()[seen], model.pseudo_observation(encoded).numpy()[seen]
    )
    ssm = model.smoother.state_space_model((found.pseudo_observation, found.noise_scale))
    expected = ss.kalman_smoother(ssm, found.pseudo_observation)
    np.testing.assert_allclose(found.state_mean, expected.smoothed_mean, atol=1e-12)
    np.testing.assert_allclose(found.state_covariance, expected.smoothed_covariance, atol=1e-12)
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, rtol=1e-12)
    joined = model(x).numpy()
    np.testing.assert_allclose(joined[..., :2], found.signal_mean, atol=1e-12)
    variance = np.diagonal(found.signal_covariance, axis1=-2, axis2=-1)
    np.testing.assert_allclose(joined[..., 2:] ** 2, variance, atol=1e-12)


@each_case
def test_series_that_end_early_are_what_they_are_alone(case):
    model = made(**CASES[case])
    x = frames()
    together, alone = model.smoothed(x), model.smoothed(x[1:2, :4])
    for got, expected in zip(together, alone, strict=True):
        got = got[1:2, :4] if expected.shape.rank > 1 else got[1:2]
        np.testing.assert_allclose(got, expected, atol=1e-10)


@each_case
def test_further_steps_are_missing_frames(case):
    model = made(**CASES[case])
    x = frames()
    longer = np.concatenate([x, np.full((BATCH, 3, SIZE), np.nan)], axis=1)
    for got, expected in zip(model.smoothed(x, 3), model.smoothed(longer), strict=True):
        np.testing.assert_array_equal(got, expected)
    decoded = model.reconstruct(x, 3, seed=1)
    assert decoded.shape == longer.shape
    np.testing.assert_array_equal(decoded, model.reconstruct(longer, seed=1))
    assert np.any(decoded != model.reconstruct(x, 3, seed=2))
    filled = model.impute(x).numpy()
    np.testing.assert_array_equal(filled[~np.isnan(x)], x[~np.isnan(x)])
    np.testing.assert_array_equal(filled[np.isnan(x)], model.reconstruct(x).numpy()[np.isnan(x)])
    if case == "bernoulli":
        assert np.all((decoded > 0) & (decoded < 1))


def test_mixed_transition_matrices_are_of_what_was_seen_so_far():
    model = made(num_transition_matrices=3)
    x = frames(missing=False)
    model(x)
    seen = model.smoothed(x).pseudo_observation
    matrices = model.transitions(seen)
    assert matrices.shape == (BATCH, STEPS, 3, 3)
    assert np.ptp(matrices, axis=1).max() > 1e-3
    later = model.transitions(tf.concat([seen[:, :4], seen[:, 4:] + 1.0], axis=1))
    np.testing.assert_array_equal(later[:, :4], matrices[:, :4])
    # All alike, they are what a model with one has.
    one = made()
    one(x)
    model.transitions.matrices.assign(
        np.broadcast_to(one.smoother.parameters["transition_matrix"], (3, 3, 3))
    )
    for weight in one.smoother.trainable_weights:
        for other in model.smoother.trainable_weights:
            if other.name == weight.name:
                other.assign(weight)
    expected = one.smoothed(x)
    w = tf.where(tf.ones_like(seen, tf.bool), expected.pseudo_observation, seen)
    states, _, _ = model._moments(Potentials(w, expected.noise_scale))
    np.testing.assert_allclose(states[0], expected.state_mean, atol=1e-12)


@each_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_weight_has_a_gradient(case, dtype):
    model = made(dtype=dtype, **CASES[case])
    x = frames_of(case).astype(dtype)
    with tf.GradientTape() as tape:
        model(x, training=True)
        loss = tf.add_n(model.losses)
    for weight, gradient in zip(
        model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True
    ):
        assert gradient is not None, weight.path
        assert np.all(np.isfinite(gradient)), weight.path


def test_learns_which_frames_cannot_be_trusted():
    """Supervised: a frame is a noisy measurement, or, as its second entry says, mere noise."""
    rng = np.random.default_rng(0)
    steps = np.arange(30) / 3 + rng.uniform(0, 6, size=(40, 1))
    truth = np.sin(steps)[..., np.newaxis]
    covered = rng.random(truth.shape) < 0.3
    noise = rng.normal(size=truth.shape) * np.where(covered, 3.0, 0.1)
    x = np.concatenate([truth + noise, covered], axis=-1).astype("float32")
    keras.utils.set_random_seed(0)
    model = ss.models.NeuralObservationModel(keras.layers.Dense(16, "tanh"), 3, signal_dim=1)
    loss, coverage = ss.layers.GaussianLogScore(), ss.layers.IntervalCoverage(0.9)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=[coverage])
    model.fit(x[:32], truth[:32], epochs=40, batch_size=16, verbose=0)
    result = model.evaluate(x[32:], truth[32:], verbose=0, return_dict=True)
    assert result["loss"] < 0.2  # a sine that one knows nothing of has 1.07
    assert 0.7 < result["interval_coverage"] <= 1
    scale = model.smoothed(x[32:]).noise_scale.numpy()
    hidden = covered[32:]
    assert np.median(scale[hidden]) > 4 * np.median(scale[~hidden])


def test_learns_to_fill_gaps_without_targets():
    rng = np.random.default_rng(3)
    steps = np.arange(24) / 2 + rng.uniform(0, 6, size=(48, 1))
    loading = rng.normal(size=(2, 6))
    whole = np.stack([np.sin(steps), np.cos(steps)], axis=-1) @ loading
    whole += 0.05 * rng.normal(size=whole.shape)
    x = whole.copy()
    x[:, 10:14] = np.nan
    keras.utils.set_random_seed(0)
    model = ss.models.NeuralObservationModel(
        keras.layers.Dense(8), 2, keras.layers.Dense(6), signal_dim=2
    )
    model.compile(keras.optimizers.Adam(0.03))
    history = model.fit(x, epochs=120, batch_size=16, verbose=0).history["loss"]
    assert history[-1] < history[0] - 2
    gap = (model.impute(x).numpy() - whole)[:, 10:14]
    assert np.sqrt(np.mean(gap**2)) < 0.5 * np.std(whole)


@pytest.mark.parametrize(
    "case",  # to train and load takes long
    [pytest.param(case, marks=[pytest.mark.slow] * (case != "mixture")) for case in sorted(CASES)],
)
def test_saved_models_predict_the_same_in_a_new_process(case, tmp_path):
    model = made(dtype="float32", **CASES[case])
    x = frames_of(case).astype("float32")
    model.compile("adam")
    model.fit(x, epochs=1, verbose=0)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "expected.npy", model.predict(x, verbose=0))
    model.save(tmp_path / "model.keras")
    program = (
        "import keras, numpy as np, statespace as ss\n"
        "ss.models.NeuralObservationModel\n"
        f"folder = {str(tmp_path)!r}\n"
        "model = keras.saving.load_model(folder + '/model.keras')\n"
        "got = model.predict(np.load(folder + '/x.npy'), verbose=0)\n"
        "assert np.array_equal(got, np.load(folder + '/expected.npy')), 'not the same'\n"
        "model.fit(np.load(folder + '/x.npy'), epochs=1, verbose=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_targets_may_be_states_and_images_frames():
    model = ss.models.NeuralObservationModel(
        keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.Flatten()]),
        ss.models.ConstantVelocity(2),
        target="states",
    )
    images = np.random.default_rng(0).integers(0, 255, size=(2, 5, 8, 8, 1), dtype=np.uint8)
    assert model(images).shape == (2, 5, 8) == model.compute_output_shape(images.shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "lstm"}, "encoder is a str"),
        ({"decoder": 3}, "decoder is a int"),
        ({"dynamics": 0}, "state_dim"),
        ({"dynamics": None}, "dynamics"),
        ({"signal_dim": None}, "give signal_dim"),
        ({"dynamics": ss.models.LocalLevel()}, "signal_dim is 2, but"),
        (
            {"dynamics": ss.models.LocalLevel(), "signal_dim": 1, "num_transition_matrices": 2},
            "only learned dynamics are mixtures",
        ),
        ({"num_transition_matrices": 0}, "num_transition_matrices"),
        ({"likelihood": "poisson"}, "likelihood"),
        ({"target": "frames"}, "target"),
        ({"smallest_scale": 0.0}, "smallest_scale is 0.0; it must be finite and positive"),
        ({"frame_scale": np.inf}, "frame_scale is inf; it must be finite and positive"),
        ({"noise_scale": "small"}, "noise_scale is 'small'; it must be finite and positive"),
        ({"evidence_weight": -1.0}, "evidence_weight is -1.0; it must be finite and not neg"),
    ],
)
def test_wrong_arguments(options, message):
    arguments = {"encoder": keras.layers.Dense(2), "dynamics": 3, "signal_dim": 2} | options
    with pytest.raises(ValueError, match=message):
        ss.models.NeuralObservationModel(**arguments)


def test_wrong_frames():
    with pytest.raises(ValueError, match=r"Of series of numbers a frame is \[1\]"):
        made()(np.zeros((2, 3)))
    model = made()
    model(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"it must be \[batch, time, 4\]"):
        model.smoothed(np.zeros((2, 3, 5)))
    with pytest.raises(ValueError, match="horizon"):
        model.smoothed(np.zeros((2, 3, 4)), -1)
    with pytest.raises(ValueError, match="needs a decoder"):
        made(decoder=False).reconstruct(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"decoder makes \(None, 4\)"):
        made()(np.zeros((2, 3, 5)))
    images = ss.models.NeuralObservationModel(keras.layers.Conv2D(2, 3), 3, signal_dim=2)
    with pytest.raises(ValueError, match="Flatten at its end"):
        images(np.zeros((2, 3, 8, 8, 1)))


@pytest.mark.slow
@each_case
def test_xla_gives_the_same(case):
    x = frames().astype("float32")
    losses = []
    for jit_compile in (False, True):
        model = made(dtype="float32", **CASES[case])
        model.compile("adam", jit_compile=jit_compile)
        losses.append(model.fit(x, epochs=2, batch_size=3, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_networks_of_half_precision_around_a_smoother_in_full():
    model = made(dtype="mixed_bfloat16")
    model.compile("adam")
    losses = model.fit(frames().astype("float32"), epochs=2, verbose=0).history["loss"]
    assert np.all(np.isfinite(losses))
    assert all(weight.dtype == "float32" for weight in model.trainable_weights)


def test_frames_of_probabilities_are_checked():
    model = made(likelihood="bernoulli")
    with pytest.raises(tf.errors.InvalidArgumentError, match="frames must be from 0 to 1"):
        model(frames())
