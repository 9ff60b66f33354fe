"""Functions of symmetric matrices: divided differences and both derivatives against mpmath."""

import functools

import mpmath
import numpy as np
import pytest
import tensorflow as tf

from statespace import linalg_ops

FUNCTIONS = {
    "sqrt": (None, mpmath.sqrt),
    "inv_sqrt": (None, lambda x: 1 / mpmath.sqrt(x)),
    "log": (None, mpmath.log),
    "exp": (None, mpmath.exp),
    "power 1.7": (1.7, lambda x: x ** mpmath.mpf(1.7)),
    "power -0.3": (-0.3, lambda x: x ** mpmath.mpf(-0.3)),
    "power 3": (3, lambda x: x**3),
    "power -2": (-2, lambda x: x**-2),
}
functions = pytest.mark.parametrize("function", FUNCTIONS)
gaps = pytest.mark.parametrize(
    "gap", [0.0, 1e-14, 1e-10, 1e-5, 1e-3, 0.05, 0.124, 0.126, 0.9, 1.1, 30.0]
)


def _divided_difference(f, points):
    """By limits: equal points are moved apart by far less than the test can see."""
    mpmath.mp.dps = 120
    points = [mpmath.mpf(float(x)) * (1 + i * mpmath.mpf("1e-30")) for i, x in enumerate(points)]
    values = [f(x) for x in points]
    for order in range(1, len(points)):
        values = [
            (values[i + 1] - values[i]) / (points[i + order] - points[i])
            for i in range(len(values) - 1)
        ]
    return float(values[0])


def _orthogonal(rng, n):
    return np.linalg.qr(rng.normal(size=(n, n)))[0]


def _symmetric(rng, n):
    x = rng.normal(size=(n, n))
    return x + x.T


def _apply(function, a):
    return linalg_ops.matrix_function(a, function.split()[0], power=FUNCTIONS[function][0])


@functions
@gaps
def test_both_derivatives(function, gap, native):
    """Against Daleckii and Krein's formulas in the basis in which the matrix was made."""
    rng = np.random.default_rng(0)
    n, f = 4, FUNCTIONS[function][1]
    eigenvalues = np.array([1.0, 1.0 + 0.4 * gap, 1.0 + gap, 2.5])
    q = _orthogonal(rng, n)
    a = (q * eigenvalues) @ q.T
    weights, direction = _symmetric(rng, n), _symmetric(rng, n)
    g, h = q.T @ weights @ q, q.T @ direction @ q
    first = np.array([[_divided_difference(f, (x, y)) for y in eigenvalues] for x in eigenvalues])
    second = np.array(
        [
            [[_divided_difference(f, (x, y, z)) for z in eigenvalues] for y in eigenvalues]
            for x in eigenvalues
        ]
    )
    half = np.einsum("ikj,ik,kj->ij", second, g, h)
    a = tf.constant(0.5 * (a + a.T))
    with tf.GradientTape() as outer:
        outer.watch(a)
        with tf.GradientTape() as inner:
            inner.watch(a)
            value = tf.reduce_sum(weights * _apply(function, a))
        gradient = inner.gradient(value, a)
        slope = tf.reduce_sum(gradient * direction)
    condition = eigenvalues.max()  # of f at the eigenvalues, which carry an error of eps times it
    scale = condition * np.max(np.abs(first)) * np.max(np.abs(g))
    np.testing.assert_allclose(gradient, q @ (first * g) @ q.T, atol=1e-13 * scale)
    scale = condition * np.max(np.abs(second)) * np.max(np.abs(g)) * np.max(np.abs(h))
    expected = q @ (half + half.T) @ q.T
    np.testing.assert_allclose(outer.gradient(slope, a), expected, atol=1e-12 * scale)


@functions
@gaps
def test_divided_differences_are_right_to_rounding(function, gap):
    """Seen through diagonal matrices, whose eigenvalues are exact."""
    f = FUNCTIONS[function][1]
    x = [1.5, 1.5 + 0.4 * gap, 1.5 + gap]
    a = tf.constant(np.diag(x))
    weights = np.ones((3, 3))
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = tf.reduce_sum(weights * _apply(function, a))
    expected = [[_divided_difference(f, (y, z)) for z in x] for y in x]
    if gap == 0:  # whatever the basis, the same
        expected = _divided_difference(f, x[:2]) * weights
    np.testing.assert_allclose(tape.gradient(value, a), expected, rtol=2e-14)


def _every_mode(value, x, direction, compiled=lambda way: way):
    """The derivative of a scalar along a direction, and twice along it, in every way there is."""

    def forward(x):
        with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
            y = value(x)
        return accumulator.jvp(y)

    def reverse(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = value(x)
        return tf.reduce_sum(direction * tape.gradient(y, x))

    def reverse_over(first):
        def second(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                slope = first(x)
            return tf.reduce_sum(direction * tape.gradient(slope, x))

        return second

    def forward_over_reverse(x):
        with tf.autodiff.ForwardAccumulator(x, direction) as accumulator:
            slope = reverse(x)
        return accumulator.jvp(slope)

    first = [forward, reverse]
    second = [reverse_over(forward), reverse_over(reverse), forward_over_reverse]
    return [[float(compiled(way)(x)) for way in ways] for ways in (first, second)]


@pytest.mark.parametrize("gap", [0.0, 1e-13, 1e-8])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@functions
def test_every_mode_at_close_eigenvalues(function, gap, graph, native):
    """Forward mode, too, must not go through the eigenvectors, which close eigenvalues turn."""
    if graph and not native:
        pytest.skip("in a graph, forward mode passes through a reference's own operations")
    q = _orthogonal(np.random.default_rng(4), 3)
    a = tf.constant((q * [1.0, 1.0 + gap, 2.0]) @ q.T)
    direction, weights = (tf.constant(_symmetric(np.random.default_rng(k), 3)) for k in (5, 6))

    def value(a):
        return tf.reduce_sum(weights * _apply(function, a))

    compiled = functools.partial(tf.function, autograph=False) if graph else lambda way: way
    first, second = _every_mode(value, a, direction, compiled)
    step = 1e-3  # central differences of the scalar, which has no trouble with the gap
    at = [float(value(a + k * step * direction)) for k in (-2, -1, 0, 1, 2)]
    slope = (at[0] - 8 * at[1] + 8 * at[3] - at[4]) / (12 * step)
    curvature = (-at[0] + 16 * at[1] - 30 * at[2] + 16 * at[3] - at[4]) / (12 * step**2)
    np.testing.assert_allclose(first, slope, rtol=1e-7)
    np.testing.assert_allclose(second, curvature, rtol=2e-6)


def test_there_is_no_third_derivative(native):
    """NaN, where the rules of the second derivative would give a wrong number."""
    a = tf.constant(np.diag([1.0, 1.0, 3.0]))
    with tf.GradientTape() as third:
        third.watch(a)
        with tf.GradientTape() as second:
            second.watch(a)
            with tf.GradientTape() as first:
                first.watch(a)
                value = tf.reduce_sum(linalg_ops.matrix_function(a, "exp") ** 2)
            gradient = first.gradient(value, a)
        hessian = second.gradient(gradient, a)
    assert np.all(np.isfinite(hessian))
    assert np.any(np.isnan(third.gradient(hessian, a)))


def test_float32_gradient_at_a_repeated_eigenvalue(native):
    q = _orthogonal(np.random.default_rng(1), 3)
    weights = np.array([[1.0, 2.0, 3.0], [2.0, 5.0, 6.0], [3.0, 6.0, 9.0]])
    a = tf.constant((q * [2.0, 2.0, 2.0]) @ q.T, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = tf.reduce_sum(tf.constant(weights, tf.float32) * _apply("log", a))
    np.testing.assert_allclose(tape.gradient(value, a), weights / 2, rtol=3e-6)


@pytest.mark.parametrize("power", [0, 1, 2, 3, 4, 5])
def test_whole_powers_of_indefinite_matrices(power, native):
    rng = np.random.default_rng(2)
    x, weights = _symmetric(rng, 4), _symmetric(rng, 4)
    a = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(a)
        result = linalg_ops.matrix_function(a, "power", power=power)
    expected = np.zeros((4, 4))
    for k in range(power):
        left, right = (np.linalg.matrix_power(x, m) for m in (k, power - 1 - k))
        expected += left @ weights @ right
    scale = max(np.linalg.norm(x, 2), 1) ** power * 10
    np.testing.assert_allclose(result, np.linalg.matrix_power(x, power), atol=1e-14 * scale)
    got = tape.gradient(result, a, tf.constant(weights))
    np.testing.assert_allclose(got, expected, atol=1e-14 * scale)


def test_powers_at_the_zero_matrix(native):
    zero = tf.zeros([2, 2], tf.float64)
    for power, slope in ((1, 1.0), (2, 0.0), (1.5, 0.0)):
        with tf.GradientTape() as tape:
            tape.watch(zero)
            result = linalg_ops.matrix_function(zero, "power", power=power)
        np.testing.assert_array_equal(result, np.zeros((2, 2)))
        got = tape.gradient(result, zero, tf.ones([2, 2], tf.float64))
        np.testing.assert_array_equal(got, slope * np.ones((2, 2)))


@pytest.mark.parametrize(
    ("name", "power", "eigenvalues", "info"),
    [
        ("sqrt", None, [-0.1, 1.0, 2.0], 1),
        ("log", None, [0.0, 0.0, 2.0], 2),
        ("log", None, [-1.0, 1.0, 2.0], 1),
        ("inv_sqrt", None, [0.0, 1.0, 2.0], 1),
        ("power", -1, [0.0, 1.0, 2.0], 1),
        ("power", 0.5, [-2.0, -1.0, 2.0], 2),
        ("exp", None, [0.0, 1.0, 800.0], 1),
    ],
)
def test_no_value(name, power, eigenvalues, info, native):
    a = tf.constant(np.stack([np.eye(3), np.diag(eigenvalues), 2 * np.eye(3)]))
    with tf.GradientTape() as tape:
        tape.watch(a)
        result, status = linalg_ops.matrix_function(a, name, power=power, return_info=True)
        used = tf.reduce_sum(result[0]) + tf.reduce_sum(result[2])
    np.testing.assert_array_equal(status, [0, info, 0])
    assert np.all(np.isnan(result[1]))
    assert np.all(np.isfinite(result.numpy()[[0, 2]]))
    gradient = tape.gradient(used, a).numpy()
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[1] == 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"matrix_function: batch index \[1\]"):
        linalg_ops.matrix_function(a, name, power=power, on_failure="raise")


def test_square_root_of_a_singular_matrix(native):
    """A value, since rounding must not make it fail, but no derivative."""
    q = _orthogonal(np.random.default_rng(3), 5)[:, :2]
    root, info = linalg_ops.matrix_function(q @ q.T, "sqrt", return_info=True)
    assert info == 0
    np.testing.assert_allclose(root, q @ q.T, atol=1e-7)
    a = tf.constant(np.stack([np.zeros((2, 2)), np.eye(2)]))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(a)
        root = linalg_ops.matrix_function(a, "sqrt")
        second = root[1]
    gradient = tape.gradient(root, a)
    assert np.all(np.isnan(gradient[0]))
    np.testing.assert_array_equal(tape.gradient(second, a)[0], np.zeros((2, 2)))


@pytest.mark.parametrize(("name", "power"), [("power", None), ("log", 2.0), ("power", np.inf)])
def test_rejects_a_wrong_power(name, power):
    with pytest.raises(ValueError, match="power"):
        linalg_ops.matrix_function(np.eye(2), name, power=power)


def test_rejects_an_unknown_name():
    with pytest.raises(ValueError, match="name is 'cos'"):
        linalg_ops.matrix_function(np.eye(2), "cos")
