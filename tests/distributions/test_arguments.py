"""What the constructor accepts beyond TensorFlow Probability, and what it refuses."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from distributions.cases import DENSE, TABLE, Ours, Theirs, arrays, fixed

import statespace as ss

tfd = tfp.distributions
T = 4
RNG = np.random.default_rng(11)
ARRAYS = {k: tf.constant(v) for k, v in arrays(RNG, 2, 1).items()}
X = RNG.normal(size=(T, 1))


def arguments(**changes):
    return fixed(T)(ARRAYS) | changes


def normal(size, dtype=tf.float64):
    return tfd.MultivariateNormalDiag(tf.zeros([size], dtype), tf.ones([size], dtype))


def test_functions_of_time_may_return_tensors():
    """TensorFlow Probability wants linear operators of them."""
    case = TABLE["moving"]
    theirs = case.build(Theirs)
    ours = Ours(
        **dict(theirs.parameters)
        | {
            name: lambda t, name=name: getattr(theirs, name)(t).to_dense()
            for name in ("transition_matrix", "observation_matrix")
        }
    )
    np.testing.assert_allclose(ours.log_prob(case.x), theirs.log_prob(case.x), rtol=1e-10)


def test_the_prior_may_be_a_function_of_time():
    seen = []

    def prior(t):
        seen.append(int(t))
        return fixed(T)(ARRAYS)["initial_state_prior"]

    model = Ours(**arguments(initial_state_prior=prior, initial_step=3))
    np.testing.assert_allclose(model.log_prob(X), Theirs(**arguments()).log_prob(X), rtol=1e-10)
    assert set(seen) == {3}
    assert model.latent_size_tensor() == 2


def test_functions_see_the_times_of_the_model():
    seen = []

    def matrix(t):
        assert (t.shape, t.dtype) == ((), tf.int32)
        seen.append(int(t))
        return ARRAYS["f"]

    model = Ours(**arguments(transition_matrix=matrix, initial_step=10))
    seen.clear()
    model.log_prob(X)
    assert seen == [10, 11, 12, 13]


def test_lists_and_integers():
    noise = tfd.MultivariateNormalDiag(scale_diag=[0.5])
    options = {"num_timesteps": 3, "transition_noise": noise, "observation_noise": noise}
    models = [
        kind(transition_matrix=f, observation_matrix=h, initial_state_prior=noise, **options)
        for kind, f, h in ((Ours, [[1]], [[2.0]]), (Theirs, [[1.0]], [[2.0]]))
    ]
    x = [[0.3], [1.0], [-0.2]]
    assert models[0].dtype == tf.float32
    np.testing.assert_allclose(*(model.log_prob(x) for model in models), rtol=1e-6)


@pytest.mark.parametrize("model_batch", [(4, 1), (3,)])
def test_batches_that_broadcast_either_way(model_batch):
    """Of these, TensorFlow Probability can compute no posterior samples and no samples."""
    p = {k: tf.constant(v) for k, v in arrays(RNG, 2, 1, (4, 1), (3,)).items()}
    model = Ours(**fixed(T)(p))
    assert model.batch_shape == (4, 3)
    x = RNG.normal(size=(*model_batch, T, 1))
    got = model.log_prob(x)
    assert got.shape == (4, 3)
    for index in np.ndindex(4, 3):
        own = {k: v[index[1]] if k in ("mean", "scale") else v[index[0], 0] for k, v in p.items()}
        item = np.broadcast_to(x, (4, 3, T, 1))[index]
        expected = Theirs(**fixed(T)(own)).log_prob(item)
        np.testing.assert_allclose(got[index], expected, rtol=1e-10)


def test_singular_noise_and_a_singular_prediction():
    """A known start and a state without noise: TensorFlow Probability's smoother returns NaN."""
    zero = tf.zeros([2, 2], tf.float64)
    start = tfd.MultivariateNormalTriL(ARRAYS["mean"], zero)
    narrow = tfd.MultivariateNormalDiag(scale_diag=tf.constant([0.5, 0.0], tf.float64))
    model = Ours(
        **arguments(
            initial_state_prior=start,
            transition_noise=narrow,
            transition_matrix=tf.constant([[1.0, 1.0], [0.0, 1.0]], tf.float64),
        )
    )
    means, covs = model.posterior_marginals(X)
    assert np.all(np.isfinite(means))
    again = model.backward_smoothing_pass(*model.forward_filter(X)[1:5])
    np.testing.assert_allclose(again[0], means, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(again[1], covs, rtol=1e-9, atol=1e-12)


def test_to_ssm_is_the_same_model():
    case = TABLE["moving models"]
    ssm = case.build(Ours).to_ssm()
    assert isinstance(ssm, ss.LinearGaussianSSM)
    np.testing.assert_allclose(
        ss.log_likelihood(ssm, case.x), case.build(Theirs).log_prob(case.x), rtol=1e-10
    )


def test_variables_are_read_by_every_call():
    scale = tfp.util.TransformedVariable(
        tf.constant([0.5], tf.float64), tfp.bijectors.Exp(), dtype=tf.float64
    )
    matrix = tf.Variable(ARRAYS["f"])
    options = arguments(
        transition_matrix=matrix, observation_noise=tfd.MultivariateNormalDiag(scale_diag=scale)
    )
    ours, theirs = Ours(**options), Theirs(**options)
    assert {v.ref() for v in ours.trainable_variables} == {
        v.ref() for v in theirs.trainable_variables
    }
    for _ in range(2):
        with tf.GradientTape(persistent=True) as tape:
            values = ours.log_prob(X), theirs.log_prob(X)
        np.testing.assert_allclose(*values, rtol=1e-10)
        pairs = zip(*(tape.gradient(v, ours.trainable_variables) for v in values), strict=True)
        for got, expected in pairs:
            np.testing.assert_allclose(got, expected, rtol=1e-8)
        matrix.assign(0.5 * matrix)
        scale.assign(tf.constant([0.9], tf.float64))


def test_slices():
    p = {k: tf.constant(v) for k, v in arrays(RNG, 2, 1, (4, 1), (3,)).items()}
    model = Ours(**fixed(T)(p) | {"observation_matrix": DENSE(p["h"])})
    full = model.log_prob(X).numpy()
    for index in (np.s_[1:3], np.s_[2], np.s_[..., -1], np.s_[:, tf.newaxis, 1:]):
        part = model[index]
        assert isinstance(part, Ours)
        assert part.batch_shape == full[index].shape
        np.testing.assert_allclose(part.log_prob(X), full[index], rtol=1e-12)
    for name in ("moving models", "mask of the model"):
        with pytest.raises(ValueError, match="cannot be sliced"):
            TABLE[name].build(Ours)[0]


def test_copies():
    model = Ours(**arguments())
    longer = model.copy(num_timesteps=6, name="longer")
    assert (longer.event_shape, longer.name) == ((6, 1), "longer")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"transition_matrix": tf.eye(3, dtype=tf.float64)},
            r"transition_matrix has shape \(3, 3\)",
        ),
        ({"transition_matrix": tf.ones([2], tf.float64)}, "it must be a matrix"),
        ({"observation_matrix": tf.eye(2, dtype=tf.float64)}, r"it must be \(1, 2\)"),
        (
            {"observation_matrix": lambda t: tf.eye(2, dtype=tf.float64)},
            "observation_matrix has sha",
        ),
        ({"transition_noise": normal(3)}, r"transition_noise has shape \(3,\)"),
        ({"transition_noise": tfd.Normal(tf.zeros(2, tf.float64), 1.0)}, "distribution of vectors"),
        (
            {"transition_noise": 1.0},
            "transition_noise is a float; it must be a multivariate normal",
        ),
        (
            {"observation_noise": normal(1, tf.float32)},
            "observation_noise is float32, .* is float64",
        ),
        ({"transition_matrix": tf.eye(2)}, "transition_matrix is float32, initial_state_prior is"),
        (
            {"transition_noise": tfd.Independent(tfd.Normal(tf.zeros(2, tf.float64), 1.0), 1)},
            "whose mean and covariance are not known",
        ),
        (
            {
                "initial_state_prior": tfd.MultivariateNormalDiag(tf.zeros([5, 2], tf.float64)),
                "transition_matrix": tf.zeros([3, 2, 2], tf.float64),
            },
            r"batch shapes do not broadcast: transition_matrix \(3,\)",
        ),
        ({"num_timesteps": 0}, "num_timesteps is 0"),
        ({"num_timesteps": 2.5}, "num_timesteps is 2.5"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        Ours(**arguments(**changes)).log_prob(X)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(T), r"x must end in the event shape \(4, 1\); it has shape \(4,\)"),
        (np.zeros((T + 1, 1)), r"event shape \(4, 1\); it has shape \(5, 1\)"),
        (np.zeros((T, 2)), r"event shape \(4, 1\); it has shape \(4, 2\)"),
        (np.zeros((3, T, 1)), r"do not broadcast against the batch shape \(2,\)"),
        (tf.zeros((T, 1)), "mixed dtypes: x is float32, the model is float64"),
    ],
)
def test_bad_data(x, message):
    model = Ours(**arguments(transition_matrix=tf.stack([ARRAYS["f"]] * 2)))
    with pytest.raises(ValueError, match=message):
        model.log_prob(x)
    with pytest.raises(ValueError, match=message):
        model.posterior_marginals(x)


def test_failures():
    """Observations without noise of a state without uncertainty."""
    certain = tfd.MultivariateNormalDiag(scale_diag=tf.zeros([2], tf.float64))
    silent = tfd.MultivariateNormalDiag(scale_diag=tf.zeros([1], tf.float64))
    options = arguments(
        initial_state_prior=certain, transition_noise=certain, observation_noise=silent
    )
    assert np.isnan(Ours(**options).log_prob(X))
    with pytest.raises(tf.errors.InvalidArgumentError, match="covariance not positive definite"):
        Ours(**options, validate_args=True).log_prob(X)
