"""One step of EM against the textbook's, from the joint distribution of all that is random."""

import numpy as np
import pytest
import tensorflow as tf

import statespace as ss
from statespace.forecasting import em
from statespace.forecasting.data import as_batch
from statespace.forecasting.fit import pose
from statespace.models import Custom, LocalLevel
from statespace.models.parameters import LowerTriangle, Parameter, Scale

T, START = 9, np.array([[1.0, 0.0], [0.3, 0.8]])
TRIANGLES = [LowerTriangle(name, dims=(2, 2)) for name in "gc"]


def full(f, h, g, c):
    g, c = (p.matrix(x) for p, x in zip(TRIANGLES, (g, c), strict=True))
    return ss.LinearGaussianSSM(f, g, h, c, [1.0, -1.0], START)


def diagonal(f, h, g, c):
    return ss.LinearGaussianSSM(f, tf.linalg.diag(g), h, tf.linalg.diag(c), [1.0, -1.0], START)


def with_offsets(b, d):
    return ss.LinearGaussianSSM(
        np.array([[0.5, 0.2], [0.0, 0.7]]),
        START,
        np.array([[1.0, 0.4], [0.2, 1.0]]),
        np.diag([0.5, 0.8]),
        [1.0, -1.0],
        START,
        transition_offset=b,
        observation_offset=d,
    )


def shared(a, loading):
    """a is in F twice, and the loading in both rows of H."""
    return ss.LinearGaussianSSM(
        a * np.eye(2) + np.array([[0.0, 0.3], [0.0, 0.0]]),
        np.array([[0.8, 0.0], [0.3, 0.6]]),
        loading * np.array([[1.0, 0.0], [2.0, 0.0]]) + np.array([[0.0, 1.0], [0.0, -1.0]]),
        np.array([[0.5, 0.0], [0.2, 0.4]]),
        [1.0, -1.0],
        START,
    )


def of_order_two(phi):
    """w_{t+1} = phi_1 w_t + phi_2 w_{t-1} + noise, by way of a_t = phi_2 w_{t-1}."""
    left = tf.concat([phi[0], phi[1]], axis=0) @ np.eye(2, 4)
    start = np.eye(4) + 0.2 * np.tri(4)
    return ss.LinearGaussianSSM(
        left + np.eye(4, k=2),
        np.vstack([START, np.zeros((2, 2))]),
        np.eye(2, 4),
        np.diag([0.5, 0.8]),
        [1.0, -1.0, 0.5, 0.2],
        start,
    )


FREE = (Parameter("f", shape=(2, 2)), Parameter("h", shape=(2, 2)))
MODELS = {
    "full": Custom(full, (*FREE, *TRIANGLES)),
    "diagonal": Custom(diagonal, (*FREE, Scale("g", shape=(2,)), Scale("c", shape=(2,)))),
}


def sum_of_moments(ssm, y):
    """Sums of E[. | y] over steps, by conditioning all normal variables on y at once.

    x_0, all states' noise and all observations' noise are linear in independent normals u, and so
    is everything else.
    """
    f, g, h, c = (
        getattr(ssm, name).numpy()
        for name in (
            "transition_matrix",
            "transition_scale",
            "observation_matrix",
            "observation_scale",
        )
    )
    b, d = ssm.transition_offset.numpy(), ssm.observation_offset.numpy()
    n = len(f)
    size = n + 4 * T
    x, mean = np.zeros((T, n, size)), np.zeros((T, n))
    x[0, :, :n], mean[0] = ssm.initial_scale.numpy(), ssm.initial_mean.numpy()
    for t in range(T - 1):
        x[t + 1], mean[t + 1] = f @ x[t], f @ mean[t] + b
        x[t + 1][:, n + 2 * t : n + 2 * t + 2] += g
    noise = np.zeros((T, 2, size))
    for t in range(T):
        noise[t][:, n + 2 * (T + t) : n + 2 * (T + t) + 2] = c
    seen = ~np.isnan(y)
    design, rest = (h @ x + noise)[seen], (y - mean @ h.T - d)[seen]
    gain = np.linalg.solve(design @ design.T, design).T
    u, spread = gain @ rest, np.eye(size) - gain @ design

    def product(one, other):
        (p, a), (q, e) = one, other
        return np.outer(p @ u + a, q @ u + e) + p @ spread @ q.T

    def total(ones, others):
        return sum(map(product, ones, others))

    states, noises = list(zip(x, mean, strict=True)), [(r, np.zeros(2)) for r in noise]
    shocks = [(x[t + 1] - f @ x[t], np.zeros(n)) for t in range(T - 1)]
    observed = [(h @ s + r, h @ a + d) for (s, a), r in zip(states, noise, strict=True)]
    return {
        "xs": [[product(s, other) for other in states] for s in states],
        "S11": total(states[1:], states[1:]),
        "S10": total(states[1:], states[:-1]),
        "S00": total(states[:-1], states[:-1]),
        "Q": total(shocks, shocks) / (T - 1),
        "noises": [product(r, r) for r in noises],
        "yx": [product(o, s) for o, s in zip(observed, states, strict=True)],
        "xx": [product(s, s) for s in states],
        "means": [p @ u + a for p, a in states],
    }


def stepped(model, y, seed=0):
    """Values before and after one step, and after the part of it that moves coefficients."""
    values, layout = as_batch(y, 2)
    problem, _ = pose(model, values, layout)
    ascent = em.Ascent(problem)
    free = np.random.default_rng(seed).uniform(-0.5, 0.5, (1, problem.size))
    before = ascent.at(free, np.zeros(1, int))
    after = ascent.step(before)
    one = [{k: v[0] for k, v in problem.params(p.free).items()} for p in (before, after)]
    return *one, after.height - before.height


def data(missing):
    y = np.random.default_rng(7).normal(size=(T, 2)).cumsum(axis=0)
    if missing:
        y[2, 0] = y[5, 1] = np.nan
        y[6] = np.nan
    return y


@pytest.mark.parametrize(("name", "missing"), [("full", False), ("diagonal", True)])
def test_transitions_loadings_and_covariances(name, missing):
    model, y = MODELS[name], data(missing)
    old, new, gain = stepped(model, y)
    assert gain > 0
    at_old = sum_of_moments(model.build(old), y)
    np.testing.assert_allclose(
        new["f"], at_old["S10"] @ np.linalg.inv(at_old["S00"]), rtol=1e-8, atol=1e-10
    )
    seen = ~np.isnan(y)
    for row in range(2):
        yx = sum(m[row] for m, s in zip(at_old["yx"], seen, strict=True) if s[row])
        xx = sum(m for m, s in zip(at_old["xx"], seen, strict=True) if s[row])
        np.testing.assert_allclose(new["h"][row], np.linalg.solve(xx, yx), rtol=1e-8, atol=1e-10)

    between = sum_of_moments(model.build(new | {k: old[k] for k in "gc"}), y)
    built = model.build(new)
    g, c = built.transition_scale.numpy(), built.observation_scale.numpy()
    f = new["f"]
    s11, s10, s00 = (between[name] for name in ("S11", "S10", "S00"))
    expected = (s11 - s10 @ f.T - f @ s10.T + f @ s00 @ f.T) / (T - 1)
    np.testing.assert_allclose(between["Q"], expected, rtol=1e-10)  # that the oracle is right
    if name == "full":
        np.testing.assert_allclose(g @ g.T, expected, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(c @ c.T, sum(between["noises"]) / T, rtol=1e-8, atol=1e-10)
    else:
        np.testing.assert_allclose(np.diag(g @ g.T), np.diag(expected), rtol=1e-8)
        squares = np.array([np.diag(m) for m in between["noises"]])
        np.testing.assert_allclose(
            np.diag(c @ c.T), [squares[s, i].mean() for i, s in enumerate(seen.T)], rtol=1e-8
        )


def test_a_covariance_where_some_of_a_vector_is_missing():
    model, y = Custom(full, (*FREE, *TRIANGLES)), data(missing=True)
    old, new, _ = stepped(model, y)
    between = sum_of_moments(model.build(new | {k: old[k] for k in "gc"}), y)
    c = model.build(new).observation_scale.numpy()
    seen = ~np.isnan(y).all(axis=1)
    expected = sum(m for m, s in zip(between["noises"], seen, strict=True) if s) / seen.sum()
    np.testing.assert_allclose(c @ c.T, expected, rtol=1e-8, atol=1e-10)


def test_offsets():
    model = Custom(with_offsets, (Parameter("b", shape=(2,)), Parameter("d", shape=(2,))))
    y = data(missing=True)
    old, new, _ = stepped(model, y)
    ssm, moments = model.build(old), sum_of_moments(model.build(old), y)
    means = np.array(moments["means"])
    f, h = ssm.transition_matrix.numpy(), ssm.observation_matrix.numpy()
    np.testing.assert_allclose(new["b"], (means[1:] - means[:-1] @ f.T).mean(axis=0), rtol=1e-8)
    np.testing.assert_allclose(new["d"], np.nanmean(y - means @ h.T, axis=0), rtol=1e-8)


def test_one_parameter_in_several_entries():
    model, y = Custom(shared, (Parameter("a"), Parameter("loading"))), data(missing=False)
    old, new, _ = stepped(model, y)
    ssm, moments = model.build(old), sum_of_moments(model.build(old), y)
    g, c = ssm.transition_scale.numpy(), ssm.observation_scale.numpy()
    q, r = np.linalg.inv(g @ g.T), np.linalg.inv(c @ c.T)
    # Generalised least squares of x_{t+1} - (0.3 x_{t,2}, 0) on x_t, for one coefficient.
    fixed = np.array([[0.0, 0.3], [0.0, 0.0]])
    a = np.trace(q @ (moments["S10"] - fixed @ moments["S00"])) / np.trace(q @ moments["S00"])
    assert new["a"] == pytest.approx(a, rel=1e-9)
    pattern, fixed = np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[0.0, 1.0], [0.0, -1.0]])
    xx, yx = sum(moments["xx"]), sum(moments["yx"])
    loading = np.trace(pattern.T @ r @ (yx - fixed @ xx)) / np.trace(pattern.T @ r @ pattern @ xx)
    assert new["loading"] == pytest.approx(loading, rel=1e-9)


def test_coefficients_that_a_state_without_noise_carries_to_one_that_has():
    model, y = Custom(of_order_two, (Parameter("phi", shape=(2, 2, 2)),)), data(missing=True)
    old, new, _ = stepped(model, y)
    xs = np.array(sum_of_moments(model.build(old), y)["xs"])  # E[x_s x_t' | y], [T, T, 4, 4]
    # The regression of w_{t+1} on w_t and w_{t-1}; w_1 - a_0 on w_0, as the start is given.
    left, right = np.zeros((2, 4)), np.zeros((4, 4))
    for t in range(T - 1):
        now, past = slice(0, 2), slice(2, 4)
        left[:, now] += xs[t + 1, t][:2, :2]
        right[now, now] += xs[t, t][:2, :2]
        if t == 0:
            left[:, now] -= xs[0, 0][2:, :2]
            continue
        left[:, past] += xs[t + 1, t - 1][:2, :2]
        right[now, past] += xs[t, t - 1][:2, :2]
        right[past, now] += xs[t - 1, t][:2, :2]
        right[past, past] += xs[t - 1, t - 1][:2, :2]
    np.testing.assert_allclose(np.hstack(new["phi"]), left @ np.linalg.inv(right), rtol=1e-8)


def test_scales_are_what_the_disturbance_smoother_says():
    y = np.array(ss.datasets.nile(), np.float64)
    y[[3, 40, 41]] = np.nan
    values, layout = as_batch(y)
    problem, _ = pose(LocalLevel(), values, layout)
    ascent = em.Ascent(problem)
    before = ascent.at(np.zeros((1, 2)), np.zeros(1, int))
    old, new = (problem.params(p.free) for p in (before, ascent.step(before)))
    smoothed = ss.disturbance_smoother(LocalLevel().build(old), values)
    squares = {
        "level.scale": smoothed.state_mean[..., 0] ** 2 + smoothed.state_covariance[..., 0, 0],
        "irregular.scale": smoothed.observation_mean[..., 0] ** 2
        + smoothed.observation_covariance[..., 0, 0],
    }
    expected = {
        "level.scale": np.sqrt(np.mean(squares["level.scale"][0, :-1])),
        "irregular.scale": np.sqrt(np.mean(squares["irregular.scale"][0][~np.isnan(y)])),
    }
    for name, ratio in expected.items():
        assert new[name][0] == pytest.approx(old[name][0] * ratio, rel=1e-9)
