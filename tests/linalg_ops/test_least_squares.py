"""Least squares against NumPy, certified coefficients, closed forms and finite differences."""

import numpy as np
import pytest
import tensorflow as tf
from external import nist
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import finite_differences

from statespace import linalg_ops

SHAPES = [(1, 1), (3, 3), (7, 3), (3, 7), (40, 20)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))


def problem(shape, num_sides=2, batch=(), seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*batch, *shape)), rng.normal(size=(*batch, shape[0], num_sides))


def closed_form(a, b, ridge):
    return np.linalg.solve(a.T @ a + ridge * np.eye(a.shape[1]), a.T @ b)


@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_numpy(shape, dtype, native):
    a, b = problem(shape, batch=(5,))
    x = linalg_ops.least_squares(a.astype(dtype), b.astype(dtype))
    tolerance = {np.float32: 1e-3, np.float64: 1e-11}[dtype]
    for item in range(5):
        expected = np.linalg.lstsq(a[item], b[item], rcond=None)[0]
        np.testing.assert_allclose(x[item], expected, rtol=tolerance, atol=tolerance)


@shapes
@pytest.mark.parametrize("ridge", [0.3, np.array(0.3), np.array([[0.1], [2.0]])], ids=str)
def test_ridge(shape, ridge, native):
    a, b = problem(shape, batch=(5,))
    x = linalg_ops.least_squares(a, b, ridge=ridge)
    batch = np.broadcast_shapes((5,), np.shape(ridge))
    assert x.shape == (*batch, shape[1], 2)
    for index in np.ndindex(*batch):
        expected = closed_form(a[index[-1]], b[index[-1]], np.broadcast_to(ridge, batch)[index])
        np.testing.assert_allclose(x[index], expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("which", ["a", "b"])
def test_axes_seen_only_when_the_graph_runs(which, native):
    unknown = [tf.TensorSpec(None, tf.float64)] * 2
    solve = tf.function(linalg_ops.least_squares, input_signature=unknown)
    a, b = (np.zeros(3) if name == which else np.zeros((3, 2)) for name in "ab")
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"least_squares: {which} must be"):
        solve(a, b)


def test_longley(native):
    """NIST StRD Longley: certified coefficients; condition number 5e9."""
    pytest.importorskip("statsmodels.datasets")
    data = nist.longley()
    a = np.column_stack([np.ones(16), data.x])
    x = linalg_ops.least_squares(a, data.y[:, np.newaxis])
    np.testing.assert_allclose(x[:, 0], data.coefficients, rtol=1e-9)


@pytest.mark.parametrize("base", [1.0, 0.1], ids=["Wampler1", "Wampler2"])
def test_wampler(base, native):
    """NIST StRD: a polynomial of degree 5 at 0 ... 20 with coefficients 1, or 10^-j."""
    powers = np.arange(21.0)[:, np.newaxis] ** np.arange(6)
    certified = base ** np.arange(6)
    x = linalg_ops.least_squares(powers, (powers @ certified)[:, np.newaxis])
    np.testing.assert_allclose(x[:, 0], certified, rtol=1e-8)


@shapes
@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_gradient_equals_finite_differences(shape, ridge, native):
    if shape == (40, 20):
        pytest.skip("too many differences")
    a, b = problem(shape)
    a = a + 2 * np.eye(*shape)
    arguments = [a, b] if ridge == 0.0 else [a, b, np.array(ridge)]

    def function(a, b, ridge=ridge):
        return tf.reduce_sum(tf.sin(linalg_ops.least_squares(a, b, ridge=ridge)))

    def slope(*arguments):
        arguments = [tf.convert_to_tensor(x) for x in arguments]
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            value = function(*arguments)
        return [tf.reduce_sum(g**2) for g in tape.gradient(value, arguments)]

    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = function(*variables)
    expected = finite_differences.gradient(function, arguments, step=1e-4)
    for got, wanted in zip(tape.gradient(value, variables), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-9)

    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = tf.add_n(slope(*variables))
    gradients = tape.gradient(value, variables)
    rng = np.random.default_rng(1)
    directions = [rng.normal(size=x.shape) for x in arguments]
    expected = finite_differences.directional(lambda *x: tf.add_n(slope(*x)), arguments, directions)
    got = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-8)


def test_gradient_of_an_ill_conditioned_problem(native):
    """b_bar = A^+' x_bar, at condition number 1e9, where the normal equations lose every digit."""
    rng = np.random.default_rng(2)
    u, _ = np.linalg.qr(rng.normal(size=(12, 5)))
    v, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    a = u @ np.diag(np.logspace(0, -9, 5)) @ v.T
    b = tf.constant(a @ rng.normal(size=(5, 1)))
    x_bar = rng.normal(size=(5, 1))
    with tf.GradientTape() as tape:
        tape.watch(b)
        value = tf.reduce_sum(x_bar * linalg_ops.least_squares(a, b))
    expected = np.linalg.pinv(a, rcond=1e-15).T @ x_bar
    got = tape.gradient(value, b).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (3, 3)])
def test_failure_stays_within_its_item(shape, native):
    a, b = problem(shape, batch=(6,))
    good = linalg_ops.least_squares(a, b).numpy()
    a[1] = 1.0  # dependent rows and columns
    a[2, 0, 0] = np.nan
    b[3, 0, 0] = np.inf
    a[4] = 0.0
    failed, fine = [1, 2, 3, 4], [0, 5]
    variables = [tf.constant(a), tf.constant(b)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        x = linalg_ops.least_squares(*variables)
        total = tf.reduce_sum(tf.gather(x, fine))
    assert np.all(np.isnan(x.numpy()[failed]))
    np.testing.assert_array_equal(x.numpy()[fine], good[fine])
    for gradient in tape.gradient(total, variables):
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient.numpy()[failed], 0.0)
    # With a ridge, any rank will do.
    assert np.all(np.isfinite(linalg_ops.least_squares(a, b, ridge=1.0).numpy()[[0, 1, 4, 5]]))
    ridge = tf.constant([1.0, 1.0, 1.0, 1.0, 1.0, -1.0], tf.float64)
    assert np.all(np.isnan(linalg_ops.least_squares(a, b, ridge=ridge).numpy()[5]))


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_batches_broadcast(shape, ridge, native):
    a, b = problem(shape)
    many_a, many_b = np.stack([a, 2 * a]), np.stack([b, b + 1, b - 1])[:, np.newaxis]
    with tf.GradientTape() as tape:
        variables = [tf.constant(many_a), tf.constant(many_b)]
        tape.watch(variables)
        x = linalg_ops.least_squares(*variables, ridge=ridge)
    assert x.shape == (3, 2, shape[1], 2)
    for i, j in np.ndindex(3, 2):
        expected = linalg_ops.least_squares(many_a[j], many_b[i, 0], ridge=ridge)
        np.testing.assert_allclose(x[i, j], expected, rtol=1e-13, atol=1e-13)
    for gradient, variable in zip(tape.gradient(x, variables), variables, strict=True):
        assert gradient.shape == variable.shape


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (3, 3)])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_unknown_static_shape(shape, ridge, native):
    a, b = problem(shape, batch=(2,))

    def value_and_gradient(a, b):
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            x = linalg_ops.least_squares(a, b, ridge=ridge)
        return x, *tape.gradient(x, [a, b])

    expected = value_and_gradient(tf.constant(a), tf.constant(b))
    signature = [tf.TensorSpec([None] * 3, tf.float64)] * 2
    got = tf.function(value_and_gradient, input_signature=signature)(a, b)
    for x, y in zip(got, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "ridge"),
    [
        ((6, 3), 0.0),
        # TensorFlow takes ten seconds to trace each.
        pytest.param((3, 6), 0.5, marks=pytest.mark.slow),
        pytest.param((3, 6), 0.0, marks=pytest.mark.slow),
        pytest.param((6, 3), 0.5, marks=pytest.mark.slow),
        pytest.param((3, 3), 0.0, marks=pytest.mark.slow),
        pytest.param((3, 3), 0.5, marks=pytest.mark.slow),
    ],
)
def test_further_derivatives_with_unknown_static_shape(shape, ridge, native):
    a, b = problem(shape, batch=(2,))

    def derivatives(a, b):
        """The derivative of the gradient along itself, and that of the value, forwards."""
        arguments = [a, b]
        with tf.GradientTape() as outer:
            outer.watch(arguments)
            with tf.GradientTape() as inner:
                inner.watch(arguments)
                squares = linalg_ops.least_squares(*arguments, ridge=ridge) ** 2
            gradients = inner.gradient(squares, arguments)
        second = outer.gradient(gradients, arguments, gradients)
        if not native:  # in a graph, TensorFlow's QR has no forward mode for unknown sizes
            return second
        with tf.autodiff.ForwardAccumulator(arguments, arguments) as accumulator:
            x = linalg_ops.least_squares(*arguments, ridge=ridge)
        return *second, accumulator.jvp(x)

    expected = derivatives(tf.constant(a), tf.constant(b))
    for unknown in ([None] * 3, [2, shape[0], None]):
        signature = [tf.TensorSpec(unknown, tf.float64), tf.TensorSpec([None] * 3, tf.float64)]
        got = tf.function(derivatives, input_signature=signature)(a, b)
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)])
def test_unknown_rank(shape, native):
    a, b = problem(shape, batch=(2,))
    unknown = [tf.TensorSpec(None, tf.float64)] * 2
    got = tf.function(linalg_ops.least_squares, input_signature=unknown)(a, b)
    np.testing.assert_allclose(got, linalg_ops.least_squares(a, b), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6)], ids=["tall", "wide"])
def test_second_derivative_where_the_equations_hold_exactly(shape, native):
    """As finite differences of the gradient; the residuals, all zero, must not come into it."""
    rng = np.random.default_rng(11)
    a = rng.normal(size=shape)
    b = tf.constant(a @ rng.normal(size=(shape[1], 2)))
    weights = rng.normal(size=(shape[1], 2))
    direction = rng.normal(size=shape)

    def slope(a):
        a = tf.convert_to_tensor(a)
        with tf.GradientTape() as tape:
            tape.watch(a)
            value = tf.reduce_sum(weights * linalg_ops.least_squares(a, b) ** 2)
        return tf.reduce_sum(direction * tape.gradient(value, a))

    with tf.GradientTape() as tape:
        at = tf.constant(a)
        tape.watch(at)
        value = slope(at)
    got = np.sum(tape.gradient(value, at) * direction)
    expected = finite_differences.directional(slope, [a], [direction])
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_status(native):
    a = np.random.default_rng(12).normal(size=(4, 5, 3))
    a[1, :, 2] = a[1, :, 0] - 2 * a[1, :, 1]
    a[2, 0, 0] = np.nan
    b = np.ones((4, 5, 1))
    b[3, 1, 0] = np.inf
    x, info = linalg_ops.least_squares(a, b, return_info=True)
    np.testing.assert_array_equal(info, [0, 3, 4, 4])
    np.testing.assert_array_equal(np.isnan(x).all(axis=(1, 2)), [False, True, True, True])
    assert np.all(np.isfinite(x[0]))
    message = r"least_squares: batch index \[1\] .*dependent row or column: 3"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        linalg_ops.least_squares(a, b, on_failure="raise")


def test_rejects_wrong_arguments_by_name():
    a, b = problem((3, 2))
    with pytest.raises(ValueError, match="least_squares: b has shape"):
        linalg_ops.least_squares(a, b[:2])
    with pytest.raises(ValueError, match=r"ridge is -1\.0; it must not be negative"):
        linalg_ops.least_squares(a, b, ridge=-1.0)
    with pytest.raises(ValueError, match="ridge is inf; it must not be"):
        linalg_ops.least_squares(a, b, ridge=np.inf)
    with pytest.raises(ValueError, match="least_squares: ridge is no array of numbers"):
        linalg_ops.least_squares(a, b, ridge=None)
    with pytest.raises(ValueError, match="least_squares: a is no array of numbers"):
        linalg_ops.least_squares(None, b)
    with pytest.raises(ValueError, match="ridge is float32 and a is float64"):
        linalg_ops.least_squares(a, b, ridge=tf.constant(1.0))


def gradient(function, arguments):
    arguments = [tf.convert_to_tensor(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
    return tape.gradient(value, arguments)


def check_derivatives(function, arguments):
    """The gradient of a function, and that of its gradient's squares, along a random direction."""

    def slope(*arguments):
        return tf.add_n([tf.reduce_sum(g**2) for g in gradient(function, arguments)])

    rng = np.random.default_rng(5)
    directions = [rng.normal(size=np.shape(x)) for x in arguments]
    for derived in (function, slope):
        got = gradient(derived, arguments)
        got = sum(np.sum(g * d) for g, d in zip(got, directions, strict=True))
        expected = finite_differences.directional(derived, arguments, directions)
        np.testing.assert_allclose(got, expected, rtol=1e-7)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (4, 4)])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("minimum_norm", [False, True])
def test_weights(shape, ridge, minimum_norm, native):
    a, b = problem(shape, batch=(4,))
    weights = np.random.default_rng(1).uniform(0.2, 3.0, size=(4, shape[0]))
    options = {"ridge": ridge, "minimum_norm": minimum_norm}
    x = linalg_ops.least_squares(a, b, weights=weights, **options)
    root = np.sqrt(weights)[..., np.newaxis]
    for item in range(4):
        scaled = root[item] * a[item], root[item] * b[item]
        numpy_s = np.linalg.lstsq(*scaled, rcond=None)[0]
        expected = closed_form(*scaled, ridge) if ridge else numpy_s
        np.testing.assert_allclose(x[item], expected, rtol=1e-9, atol=1e-10)
    # The weights' batch axes broadcast too.
    shared = linalg_ops.least_squares(a[0], b[0], weights=weights, **options)
    assert shared.shape == (4, shape[1], 2)
    np.testing.assert_allclose(shared[0], x[0], rtol=1e-13)


@pytest.mark.parametrize("minimum_norm", [False, True])
def test_derivatives_by_weights(minimum_norm, native):
    a, b = problem((6, 3))
    weights = np.random.default_rng(2).uniform(0.5, 2.0, size=6)

    def function(a, b, weights):
        x = linalg_ops.least_squares(a, b, weights=weights, minimum_norm=minimum_norm)
        return tf.reduce_sum(tf.sin(x))

    check_derivatives(function, [a, b, weights])


@pytest.mark.parametrize("minimum_norm", [False, True])
def test_rows_of_weight_zero_do_not_exist(minimum_norm, native):
    a, b = problem((7, 3))
    weights = np.array([1.0, 0.0, 2.0, 0.5, 0.0, 1.0, 1.0])
    there = weights > 0
    expected = linalg_ops.least_squares(
        a[there], b[there], weights=weights[there], minimum_norm=minimum_norm
    )
    a[1], b[4, 0] = np.nan, np.inf
    variables = [tf.constant(x) for x in (a, b, weights)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        x = linalg_ops.least_squares(
            variables[0], variables[1], weights=variables[2], minimum_norm=minimum_norm
        )
    np.testing.assert_allclose(x, expected, rtol=1e-12, atol=1e-13)
    for gradient in tape.gradient(x, variables):
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient.numpy()[~there], 0.0)


def test_a_negative_weight_fails_its_item(native):
    a, b = problem((5, 2))
    weights = np.ones((3, 5))
    weights[1, 2] = -1.0
    x, info = linalg_ops.least_squares(a, b, weights=weights, return_info=True)
    np.testing.assert_array_equal(info, [0, 3, 0])
    np.testing.assert_array_equal(np.isnan(x).all(axis=(1, 2)), [False, True, False])


def test_wrong_weights_are_named():
    a, b = problem((5, 2))
    with pytest.raises(ValueError, match=r"weights has shape \(4,\); it must be .* m = 5"):
        linalg_ops.least_squares(a, b, weights=np.ones(4))
    with pytest.raises(ValueError, match="weights is float32 and a is float64"):
        linalg_ops.least_squares(a, b, weights=np.ones(5, np.float32))
    with pytest.raises(ValueError, match=r"weights has shape \(\)"):
        linalg_ops.least_squares(a, b, weights=1.0 * np.float64(2.0))
    with pytest.raises(ValueError, match="weights has batch axes that do not broadcast"):
        linalg_ops.least_squares(np.stack([a] * 2), b, weights=np.ones((3, 5)))
    unknown = [tf.TensorSpec(None, tf.float64)] * 3
    solve = tf.function(
        lambda a, b, w: linalg_ops.least_squares(a, b, weights=w), input_signature=unknown
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="weights must have as many rows as a"):
        solve(a, b, np.ones(4))


@settings(max_examples=40)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 9),
    st.integers(0, 2**31),
    st.sampled_from([np.float32, np.float64]),
)
def test_minimum_norm_equals_numpy_at_any_rank(rows, columns, rank, seed, dtype):
    rng = np.random.default_rng(seed)
    rank = min(rank, rows, columns)
    u = np.linalg.qr(rng.normal(size=(3, rows, rows)))[0][..., :rank]
    v = np.linalg.qr(rng.normal(size=(3, columns, columns)))[0][..., :rank]
    a = (u * rng.uniform(0.3, 3.0, size=rank)) @ np.swapaxes(v, -1, -2)
    b = rng.normal(size=(3, rows, 2))
    x, info = linalg_ops.least_squares(
        a.astype(dtype), b.astype(dtype), minimum_norm=True, return_info=True
    )
    tolerance = {np.float32: 1e-4, np.float64: 1e-12}[dtype]
    np.testing.assert_array_equal(info, 0)
    for item in range(3):
        expected = np.linalg.lstsq(a[item], b[item], rcond=1e-10)[0]
        np.testing.assert_allclose(x[item], expected, rtol=tolerance, atol=tolerance)


def of_rank(shape, rank, seed=3):
    """Factors of a matrix whose singular values are one, or zero."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(size, rank)))[0] for size in shape)
    return left, right.T


@pytest.mark.parametrize(("shape", "rank"), [((6, 4), 2), ((3, 5), 2), ((4, 4), 1), ((5, 3), 3)])
def test_derivatives_of_the_minimum_norm(shape, rank, native):
    """Along changes that keep the rank: those of the factors of a product."""

    def function(left, right, b):
        a = tf.matmul(left, right)
        return tf.reduce_sum(tf.sin(linalg_ops.least_squares(a, b, minimum_norm=True)))

    check_derivatives(function, [*of_rank(shape, rank), problem(shape)[1]])


def test_minimum_norm_is_the_ordinary_solution_at_full_rank(native):
    a, b = problem((6, 3), batch=(2,))

    def value_and_gradient(**options):
        variables = [tf.constant(a), tf.constant(b)]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            x = linalg_ops.least_squares(*variables, **options)
        return x, *tape.gradient(x, variables)

    for got, expected in zip(
        value_and_gradient(minimum_norm=True), value_and_gradient(), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11)


def test_minimum_norm_with_a_condition_of_1e10(native):
    """Beside singular values that are zero: exact to the condition times eps, not its square."""
    rng = np.random.default_rng(4)
    u, v = (np.linalg.qr(rng.normal(size=(6, 6)))[0][:, :4] for _ in range(2))
    sigma, expected = np.logspace(0, -10, 4), v @ rng.normal(size=(4, 1))
    a = (u * sigma) @ v.T
    x = linalg_ops.least_squares(a, a @ expected, minimum_norm=True)
    np.testing.assert_allclose(x, expected, atol=1e-5)


def test_minimum_norm_under_xla_and_with_unknown_shapes(native):
    a, b = np.matmul(*of_rank((5, 4), 2)), problem((5, 4))[1]

    def value_and_gradient(a, b):
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            x = linalg_ops.least_squares(a, b, minimum_norm=True)
        return x, *tape.gradient(x, [a, b])

    expected = value_and_gradient(tf.constant(a), tf.constant(b))
    matrices, anything = ([tf.TensorSpec(shape, tf.float64)] * 2 for shape in ([None, None], None))
    for got in (
        tf.function(value_and_gradient, jit_compile=True)(tf.constant(a), tf.constant(b)),
        tf.function(value_and_gradient, input_signature=matrices)(a, b),
        tf.function(value_and_gradient, input_signature=anything)(a, b),
    ):
        for x, y in zip(got, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-12)


def test_minimum_norm_fails_only_where_something_is_not_finite(native):
    a, b = problem((4, 3), batch=(5,))
    a[0, :, 1] = a[0, :, 0]
    a[1] = 0.0
    a[2, 0, 0], b[3, 1, 1] = np.nan, np.inf
    variables = [tf.constant(a), tf.constant(b)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        x, info = linalg_ops.least_squares(*variables, minimum_norm=True, return_info=True)
        total = tf.reduce_sum(tf.gather(x, [0, 1, 4]))
    np.testing.assert_array_equal(info, [0, 0, 4, 4, 0])
    np.testing.assert_array_equal(np.isnan(x).all(axis=(1, 2)), info.numpy() > 0)
    np.testing.assert_array_equal(x[1], 0.0)
    for gradient in tape.gradient(total, variables):
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient.numpy()[2:4], 0.0)
    # A ridge may be zero for some items and not for others.
    ridge = tf.constant([0.0, 0.5, 0.0, 0.0, 0.5], tf.float64)
    ridged = linalg_ops.least_squares(a, b, ridge=ridge, minimum_norm=True)
    np.testing.assert_allclose(ridged[0], x[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ridged[4], closed_form(a[4], b[4], 0.5), rtol=1e-12)
