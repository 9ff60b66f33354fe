"""Diagonals and packed triangles against NumPy and MXNet's documented examples."""

import numpy as np
import pytest
import tensorflow as tf

from statespace import linalg_ops

A = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])


def test_examples_of_mxnet():
    """The numbers in the documentation of linalg_{extract,make}{diag,trian}."""
    np.testing.assert_array_equal(linalg_ops.extract_diag(A), [[1, 4], [5, 8]])
    np.testing.assert_array_equal(linalg_ops.extract_diag(A, offset=1), [[2], [6]])
    np.testing.assert_array_equal(linalg_ops.make_diag([1.0, 2.0]), [[1, 0], [0, 2]])
    np.testing.assert_array_equal(
        linalg_ops.make_diag([1.0, 2.0], offset=1), [[0, 1, 0], [0, 0, 2], [0, 0, 0]]
    )
    np.testing.assert_array_equal(linalg_ops.extract_triangle(A[0]), [1, 3, 4])
    np.testing.assert_array_equal(linalg_ops.extract_triangle(A[0], lower=False), [1, 2, 4])
    np.testing.assert_array_equal(linalg_ops.extract_triangle(A[0], offset=1), [2])
    np.testing.assert_array_equal(linalg_ops.extract_triangle(A[0], offset=-1), [3])
    x = [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(linalg_ops.make_triangle(x), [[1, 0], [2, 3]])
    np.testing.assert_array_equal(linalg_ops.make_triangle(x, lower=False), [[1, 2], [0, 3]])
    np.testing.assert_array_equal(
        linalg_ops.make_triangle(x, offset=1), [[0, 1, 2], [0, 0, 3], [0, 0, 0]]
    )
    np.testing.assert_array_equal(
        linalg_ops.make_triangle(x, offset=-1), [[0, 0, 0], [1, 0, 0], [2, 3, 0]]
    )


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_triangles_of_every_offset(n, lower, known):
    a = np.random.default_rng(n).normal(size=(3, n, n))
    for offset in range(1 - n, n) if n else [0]:
        spec = tf.TensorSpec(a.shape if known else [None] * 3, tf.float64)
        below = offset < 0 or (offset == 0 and lower)

        @tf.function(input_signature=[spec])
        def pack_and_unpack(a, offset=offset):
            packed = linalg_ops.extract_triangle(a, offset=offset, lower=lower)
            return packed, linalg_ops.make_triangle(packed, offset=offset, lower=lower)

        packed, unpacked = pack_and_unpack(a)
        index = np.tril_indices(n, offset) if below else np.triu_indices(n, offset)
        np.testing.assert_array_equal(packed, a[:, *index])
        np.testing.assert_array_equal(unpacked, np.tril(a, offset) if below else np.triu(a, offset))


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_extraction_and_construction_are_each_others_adjoint(offset):
    rng = np.random.default_rng(0)
    for extract, make in (
        (linalg_ops.extract_diag, linalg_ops.make_diag),
        (linalg_ops.extract_triangle, linalg_ops.make_triangle),
    ):
        a = tf.constant(rng.normal(size=(2, 4, 4)))
        with tf.GradientTape() as tape:
            tape.watch(a)
            x = extract(a, offset=offset)
        x_bar = tf.constant(rng.normal(size=x.shape))
        np.testing.assert_array_equal(tape.gradient(x, a, x_bar), make(x_bar, offset=offset))
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = make(x, offset=offset)
        np.testing.assert_array_equal(tape.gradient(y, x, a), extract(a, offset=offset))


def test_rectangular_diagonal():
    a = np.arange(6.0).reshape(2, 3)
    for offset in (-1, 0, 1, 2):
        np.testing.assert_array_equal(linalg_ops.extract_diag(a, offset=offset), np.diag(a, offset))


def test_no_numbers_on_a_diagonal():
    diagonal = tf.zeros([0])
    with tf.GradientTape() as tape:
        tape.watch(diagonal)
        x = linalg_ops.make_diag(diagonal, offset=-2)
    np.testing.assert_array_equal(x, np.zeros((2, 2)))
    assert tape.gradient(x, diagonal).shape == (0,)
    np.testing.assert_array_equal(linalg_ops.make_triangle(np.zeros(0), offset=1), [[0.0]])


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"make_triangle: entries has shape \(4,\)"):
        linalg_ops.make_triangle(np.zeros(4))
    with pytest.raises(ValueError, match=r"make_diag: diagonal has shape \(\)"):
        linalg_ops.make_diag(1.0)
    with pytest.raises(ValueError, match="make_diag: diagonal is int32"):
        linalg_ops.make_diag(np.zeros(3, np.int32))
    with pytest.raises(ValueError, match=r"extract_triangle: a has shape \(2, 3\)"):
        linalg_ops.extract_triangle(np.zeros((2, 3)))
    for extract in (linalg_ops.extract_diag, linalg_ops.extract_triangle):
        with pytest.raises(
            ValueError, match=r"a has shape \(2, 2, 2\); it must have a diagonal with offset -2"
        ):
            extract(A, offset=-2)
        with pytest.raises(ValueError, match=r"offset is 0\.5; it must be a Python integer"):
            extract(A, offset=0.5)


def test_shapes_seen_only_when_the_graph_runs():
    unknown = [tf.TensorSpec(None, tf.float64)]
    triangle = tf.function(linalg_ops.extract_triangle, input_signature=unknown)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a must be square"):
        triangle(np.zeros((2, 3)))
    build = tf.function(linalg_ops.make_triangle, input_signature=[tf.TensorSpec([None])])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"k \(k \+ 1\) / 2"):
        build(np.zeros(5, np.float32))


@pytest.mark.parametrize("name", ["extract_diag", "extract_triangle", "sum_log_diag", "make_diag"])
def test_axes_seen_only_when_the_graph_runs(name, native):
    function = tf.function(
        getattr(linalg_ops, name), input_signature=[tf.TensorSpec(None, tf.float64)]
    )
    too_few = () if name == "make_diag" else (3,)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{name}: \w+ must be \[\.\.\., "):
        function(np.zeros(too_few))


@pytest.mark.parametrize(
    ("shape", "offset"),
    [(shape, offset) for shape in ((7, 3), (3, 7), (3, 3)) for offset in (-2, 0, 2)]
    + [(shape, offset) for shape in ((2**31 + 1, 0), (5, 2**31 - 1, 0)) for offset in (-2, 0)],
)
def test_diagonal_of_a_matrix_far_from_square(shape, offset):
    a = tf.reshape(tf.range(np.prod(shape), dtype=tf.float64), tf.constant(shape, tf.int64))
    unknown = tf.TensorSpec([None] * len(shape), tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(a)
        x = linalg_ops.extract_diag(a, offset=offset)
        again = tf.function(
            lambda a: linalg_ops.extract_diag(a, offset=offset), input_signature=[unknown]
        )(a)
    assert tape.gradient(x, a).shape == shape
    assert x.shape == again.shape
    if a.shape.num_elements():
        np.testing.assert_array_equal(x, np.diagonal(a, offset))
        np.testing.assert_array_equal(again, x)
        np.testing.assert_array_equal(tape.gradient(x, a), tape.gradient(again, a))


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("extract_diag", (0, 2**31 + 1, 2**31 + 1), "must have fewer than 2.31 rows and columns"),
        ("extract_triangle", (0, 50_000, 50_000), "must not be larger than 46340"),
        ("make_triangle", (0, 50_000 * 50_001 // 2), "must not make a matrix larger than 46340"),
        ("make_diag", (0, 50_000), "must not make a matrix larger than 46340"),
        ("sum_log_diag", (0, 2**31 + 1, 2**31 + 1), "must have fewer than 2.31 rows and columns"),
    ],
)
def test_sizes_beyond_what_tensorflow_counts_are_refused(name, shape, message, static):
    function = getattr(linalg_ops, name)
    if not static:
        spec = tf.TensorSpec([None] * len(shape), tf.float64)
        function = tf.function(function, input_signature=[spec])
    refusal = ValueError if static else tf.errors.InvalidArgumentError
    with pytest.raises(refusal, match=f"{name}: .*{message}"):
        function(tf.zeros(tf.constant(shape, tf.int64), tf.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sum_log_diag_of_products_out_of_range(dtype, native):
    info = np.finfo(dtype)
    numbers = [info.max, info.tiny, info.tiny, 1.0, info.max, 3.0]
    logs = np.log(np.array(numbers, np.longdouble))
    got = linalg_ops.sum_log_diag(np.diag(np.array(numbers, dtype)))
    atol = 4 * info.eps * float(np.sum(np.abs(logs)))
    np.testing.assert_allclose(got, float(np.sum(logs)), rtol=0, atol=atol)


@pytest.mark.parametrize("bad", [0.0, -0.0, -1.0, np.inf, np.nan])
def test_sum_log_diag_fails_alone(bad, native):
    l = np.tile(2.0 * np.eye(3), (4, 1, 1))
    l[2, 1, 1] = bad
    l[0, 0, 2] = np.nan  # not on the diagonal: not read
    l = tf.constant(l)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(l)
        x = linalg_ops.sum_log_diag(l)
        unused = tf.reduce_sum(tf.gather(x, [0, 1, 3]))
    np.testing.assert_array_equal(np.isnan(x), [False, False, True, False])
    expected = np.where(np.arange(4) == 2, 0.0, 0.5)[:, None, None] * np.eye(3)
    np.testing.assert_array_equal(tape.gradient(unused, l), expected)
    assert np.all(np.isnan(np.diag(tape.gradient(x, l)[2])))
