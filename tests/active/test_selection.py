"""Batches chosen by rank-one updates, against models fitted again and all subsets."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from statespace import active
from statespace.models import (
    BayesianLinearRegression,
    FixedPrior,
    GaussianProcess,
    NormalInverseGamma,
    SparseGaussianProcess,
)

CRITERIA = ["information_gain", "variance", "variance_reduction"]
NOISE = 0.3
PARAMS = {"noise_variance": NOISE**2}
GP = GaussianProcess(tfp.math.psd_kernels.ExponentiatedQuadratic(np.float64(1.1), np.float64(0.9)))


def points(count, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, d))


def regression(x):
    return BayesianLinearRegression(FixedPrior(NOISE, 1.0)).fit(x, np.zeros(len(x)))


def process(x):
    return GP.condition(x, np.zeros(len(x)), PARAMS)


def variances(model, at):
    return model.predict(at, noise=False).variance().numpy()


def by_refitting(fit, x, candidates, reference, num, criterion):
    """Greedy selection with a model fitted for every candidate and step."""
    at = candidates if reference is None else reference
    chosen, gains = [], []
    for _ in range(num):
        known = np.concatenate([x, candidates[chosen]])
        model = fit(known)
        value = {
            "information_gain": lambda m=model: 0.5 * np.log1p(variances(m, candidates) / NOISE**2),
            "variance": lambda m=model: variances(m, candidates),
            "variance_reduction": lambda m=model, known=known: np.array(
                [
                    np.mean(variances(m, at) - variances(fit(np.append(known, c[None], 0)), at))
                    for c in candidates
                ]
            ),
        }[criterion]()
        gain = np.where(np.isin(np.arange(len(candidates)), chosen), -np.inf, value)
        chosen.append(int(np.argmax(gain)))
        gains.append(value[chosen[-1]])
    return chosen, gains


@pytest.mark.parametrize(
    ("criterion", "reference"),
    [*((criterion, None) for criterion in CRITERIA), ("variance_reduction", points(5, seed=2) + 1)],
)
@pytest.mark.parametrize("fit", [regression, process])
def test_equals_refitting(fit, criterion, reference):
    x, candidates = points(4), points(7, seed=1)
    got = active.select(fit(x), candidates, 4, criterion=criterion, reference=reference)
    chosen, gains = by_refitting(fit, x, candidates, reference, 4, criterion)
    np.testing.assert_array_equal(got.indices, chosen)
    np.testing.assert_allclose(got.gains, gains, rtol=1e-10)


def test_sparse_processes_of_all_points_choose_like_exact_ones():
    x, y, candidates = points(9), np.zeros(9), points(7, seed=1)
    kernel = tfp.math.psd_kernels.ExponentiatedQuadratic(np.float64(1.1), np.float64(0.9))
    inducing = np.concatenate([x, candidates])
    sparse = SparseGaussianProcess(kernel, len(inducing)).condition(
        x, y, {"inducing_points": inducing, **PARAMS}
    )
    got, want = active.select(sparse, candidates, 4), active.select(process(x), candidates, 4)
    np.testing.assert_array_equal(got.indices, want.indices)
    np.testing.assert_allclose(got.gains, want.gains, rtol=1e-5)


@given(seed=st.integers(0, 10_000), m=st.integers(3, 7), num=st.integers(1, 3))
@settings(max_examples=25)
def test_information_beside_the_best_subset(seed, m, num):
    """Never above it, never below 1 - 1/e of it, and equal to it for one observation."""
    rng = np.random.default_rng(seed)
    root, noise = rng.normal(size=(m, 2)), rng.uniform(0.05, 1.0, size=m)
    got = active.greedy(root, noise, num)
    total = got.gains.numpy().sum()
    chosen = got.indices.numpy()
    assert len(set(chosen)) == num
    np.testing.assert_allclose(
        total, active.joint_information_gain(root[chosen], noise[chosen]), rtol=1e-11
    )
    best = max(
        float(active.joint_information_gain(root[list(s)], noise[list(s)]))
        for s in itertools.combinations(range(m), num)
    )
    assert (1 - np.exp(-1)) * best <= total <= best * (1 + 1e-12)
    if num == 1:
        np.testing.assert_allclose(total, best, rtol=1e-12)


def test_gains_of_information_fall():
    gains = active.greedy(points(30), 0.1, 12).gains.numpy()
    assert np.all(np.diff(gains) < 0)


def test_equal_noise_makes_variance_and_information_choose_alike():
    model, candidates = regression(points(4)), points(20, seed=1)
    first = active.select(model, candidates, 6)
    second = active.select(model, candidates, 6, criterion="variance")
    np.testing.assert_array_equal(first.indices, second.indices)
    noise = np.ones(20)
    noise[first.indices[0]] = 1e3  # where nothing is learnt, variance still wants to look
    third = active.select(model, candidates, 6, noise_variance=noise)
    assert first.indices[0] not in third.indices.numpy()
    assert (
        active.select(model, candidates, 1, criterion="variance", noise_variance=noise).indices
        == (first.indices[:1])
    )


def test_a_candidate_may_be_repeated():
    root = np.array([[10.0], [0.1]])
    np.testing.assert_array_equal(active.greedy(root, 1e4, 2, replace=True).indices, [0, 0])
    np.testing.assert_array_equal(active.greedy(root, 1e4, 2).indices, [0, 1])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_batches_are_loops(criterion):
    x, candidates = points(10).reshape(2, 5, 3), points(14, seed=1).reshape(2, 7, 3)
    model = BayesianLinearRegression(FixedPrior(NOISE, 1.0)).fit(x, np.zeros((2, 5)))
    together = active.select(model, candidates, 3, criterion=criterion)
    assert together.indices.shape == together.gains.shape == (2, 3)
    for i in range(2):
        one = active.select(regression(x[i]), candidates[i], 3, criterion=criterion)
        np.testing.assert_array_equal(together.indices[i], one.indices)
        np.testing.assert_allclose(together.gains[i], one.gains, rtol=1e-11)


def test_unknown_noise_cancels():
    """What is told of the weights given the noise does not depend on it."""
    x, y, candidates = points(12), points(12, 1, seed=3)[:, 0], points(9, seed=1)
    unknown = BayesianLinearRegression(NormalInverseGamma(weight_scale=2.0)).fit(x, y)
    known = BayesianLinearRegression(FixedPrior(5.0, 10.0)).fit(x, y)
    first, second = (active.select(model, candidates, 4) for model in (unknown, known))
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_allclose(first.gains, second.gains, rtol=1e-10)


def test_float32_and_graphs():
    exact = active.greedy(points(8), 0.5, 3)
    for dtype in (np.float32, np.float64):
        root = points(8).astype(dtype)
        for jit_compile in (False, True):
            graph = tf.function(lambda root: active.greedy(root, 0.5, 3), jit_compile=jit_compile)
            chosen = graph(tf.constant(root))
            assert chosen.gains.dtype == dtype
            np.testing.assert_array_equal(chosen.indices, exact.indices)
            np.testing.assert_allclose(chosen.gains, exact.gains, rtol=1e-5)


def test_refusals():
    model, candidates = regression(points(4)), points(3)
    with pytest.raises(ValueError, match="num is 4, and there are 3 candidates"):
        active.select(model, candidates, 4)
    with pytest.raises(ValueError, match="num is 0; it must be a positive int"):
        active.select(model, candidates, 0)
    with pytest.raises(ValueError, match="criterion is 'entropy'; it must be one of"):
        active.select(model, candidates, 1, criterion="entropy")
    with pytest.raises(ValueError, match="reference goes with"):
        active.select(model, candidates, 1, reference=candidates)
    with pytest.raises(ValueError, match=r"noise_variance\[1\] is 0.0; it must be positive"):
        active.select(model, candidates, 1, noise_variance=[1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=r"noise_variance has shape \(2,\); it must broadcast"):
        active.select(model, candidates, 1, noise_variance=[1.0, 1.0])
    with pytest.raises(ValueError, match="model is a GaussianProcess; it must be a fitted"):
        active.select(GP, candidates, 1)
    with pytest.raises(ValueError, match="nothing is fitted yet"):
        active.select(BayesianLinearRegression(), candidates, 1)
    with pytest.raises(ValueError, match=r"with D = 3 features"):
        active.select(model, candidates[:, :2], 1)
    with pytest.raises(ValueError, match=r"x\[0, 1\] is nan; leave that row out"):
        active.select(model, np.where(np.eye(3, k=1) > 0, np.nan, candidates), 1)
    for reference, message in (
        (candidates[None], "must have the same batch axes"),
        (candidates[:, :2], "the same batch axes, features and dtype"),
        (candidates.astype(np.float32), "reference float32 with shape"),
        (np.ones((3, 3), int), "reference is int64; it must be float32 or float64"),
        (candidates[:0], r"reference_root has shape \(0, 4\); it must have rows"),
    ):
        with pytest.raises(ValueError, match=message):
            active.select(model, candidates, 1, criterion="variance_reduction", reference=reference)


def test_refusals_of_roots():
    root = points(3)
    with pytest.raises(ValueError, match="criterion is 'entropy'; it must be one of"):
        active.greedy(root, 1.0, 1, criterion="entropy")
    with pytest.raises(ValueError, match="reference_root goes with"):
        active.greedy(root, 1.0, 1, reference_root=root)
    with pytest.raises(ValueError, match=r"root\[2, 1\] is inf; leave the candidate out"):
        active.greedy(np.where(np.arange(9).reshape(3, 3) == 7, np.inf, root), 1.0, 1)
    with pytest.raises(ValueError, match=r"noise_variance has shape \(2, 3\); candidates have"):
        active.greedy(root, np.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="there are 0 candidates"):
        active.greedy(root[:0], 1.0, 1, replace=True)
    unknown = tf.function(
        lambda root: active.greedy(root, 1.0, 4),
        input_signature=[tf.TensorSpec([None, 3], "double")],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="num is 4, and there are fewer"):
        unknown(root)
    np.testing.assert_array_equal(unknown(points(8)).indices, active.greedy(points(8), 1.0, 4)[0])
