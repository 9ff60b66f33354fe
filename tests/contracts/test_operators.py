"""What every operator owes its callers, for every operator, both implementations, both dtypes."""

import re

import numpy as np
import pytest
import tensorflow as tf
from contracts.operators import OPERATORS, REPRESENTATIVES
from contracts.table import directions, loss, outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import finite_differences

from statespace import config, linalg_ops

every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=lambda op: op.name)
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
needs_native = pytest.mark.skipif(
    not config.native_available(), reason="the compiled library is not available"
)
TOLERANCE = {np.float32: 2e-5, np.float64: 2e-14}
# A refusal begins with the name of the operator, or of its compiled op.
REFUSAL = re.compile(rf"\b({'|'.join(linalg_ops.__all__)}|Statespace\w+): ")


def relative_error(x, expected):
    x, expected = np.asarray(x, np.float64), np.asarray(expected, np.float64)
    assert x.shape == expected.shape
    return np.max(np.abs(x - expected), initial=0.0) / max(np.max(np.abs(expected), initial=0), 1)


def cotangents(rng, results):
    return [tf.constant(rng.normal(size=x.shape), x.dtype) for x in results]


@every_operator
@dtypes
@pytest.mark.parametrize("batch", [(), (1,), (9,), (2, 3)])
def test_equals_numpy(operator, dtype, batch, native):
    arguments = operator.make(np.random.default_rng(0), batch, dtype)
    results = outputs(operator.apply(*arguments))
    for index in np.ndindex(*batch):
        expected = outputs(operator.oracle(*(x[index].astype(np.float64) for x in arguments)))
        for x, y in zip(results, expected, strict=True):
            assert relative_error(x.numpy()[index], y) < TOLERANCE[dtype]


@every_operator
def test_gradient_equals_finite_differences(operator, native):
    rng = np.random.default_rng(1)
    arguments = operator.make(rng, (2,), np.float64)
    weights = cotangents(rng, outputs(operator.apply(*arguments)))
    function = loss(operator, weights)
    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = function(*variables)
    gradients = tape.gradient(value, variables)
    for seed in range(3):
        along = directions(operator, np.random.default_rng(seed), arguments)
        expected = finite_differences.directional(function, arguments, along)
        got = sum(np.sum(g * d) for g, d in zip(gradients, along, strict=True))
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-9)


@every_operator
def test_second_derivative_equals_finite_differences(operator, native):
    rng = np.random.default_rng(2)
    arguments = operator.make(rng, (2,), np.float64)
    weights = cotangents(rng, outputs(operator.apply(*arguments)))
    along = directions(operator, rng, arguments)

    def slope(*arguments):
        variables = [tf.convert_to_tensor(x) for x in arguments]
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = loss(operator, weights)(*variables)
        gradients = tape.gradient(value, variables)
        return tf.add_n([tf.reduce_sum(g * d) for g, d in zip(gradients, along, strict=True)])

    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = slope(*variables)
    gradients = tape.gradient(value, variables)
    expected = finite_differences.directional(slope, arguments, along)
    got = sum(np.sum(g * d) for g, d in zip(gradients, along, strict=True))
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-8)


@needs_native
@every_operator
@dtypes
def test_native_equals_reference(operator, dtype):
    rng = np.random.default_rng(3)
    arguments = [tf.constant(x) for x in operator.make(rng, (7,), dtype)]
    results = {}
    for compiled in (True, False):
        config.use_native(compiled)
        try:
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                values = outputs(operator.apply(*arguments))
            weights = cotangents(np.random.default_rng(4), values)
            results[compiled] = values + tape.gradient(values, arguments, weights)
        finally:
            config.use_native(True)
    for x, y in zip(results[True], results[False], strict=True):
        assert relative_error(x, y) < {np.float32: 1e-4, np.float64: 1e-12}[dtype]


@every_operator
@dtypes
def test_batch_equals_its_members_bit_for_bit(operator, dtype):
    arguments = operator.make(np.random.default_rng(5), (11,), dtype)
    together = outputs(operator.apply(*arguments))
    for item in range(11):
        alone = outputs(operator.apply(*(x[item] for x in arguments)))
        for x, y in zip(together, alone, strict=True):
            np.testing.assert_array_equal(x.numpy()[item], y.numpy())


@every_operator
def test_failure_stays_within_its_item(operator, native):
    if operator.spoil is None:
        pytest.skip("nothing can fail")
    arguments = operator.make(np.random.default_rng(6), (5,), np.float64)
    good = outputs(operator.apply(*arguments))
    bad = 2
    arguments[0][bad] = operator.spoil(arguments[0][bad])
    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        results = outputs(operator.apply(*variables))
        # The failed item is not used: its cotangent is zero.
        total = tf.add_n([tf.reduce_sum(tf.gather(x, [0, 1, 3, 4])) for x in results])
    for x, y in zip(results, good, strict=True):
        assert np.all(np.isnan(x.numpy()[bad]))
        np.testing.assert_array_equal(np.delete(x, bad, axis=0), np.delete(y, bad, axis=0))
    for gradient in tape.gradient(total, variables):
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(gradient.numpy()[bad], 0.0)


@every_operator
def test_empty_batches(operator, native):
    arguments = [x[:0] for x in operator.make(np.random.default_rng(7), (1,), np.float64)]
    variables = [tf.constant(x) for x in arguments]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        results = outputs(operator.apply(*variables))
    assert all(x.shape[0] == 0 for x in results)
    for x, y in zip(tape.gradient(results, variables), variables, strict=True):
        assert x.shape == y.shape


# TensorFlow takes seconds to trace and compile a reference; one form of each is enough by default.
IN_GRAPHS = [
    *(pytest.param(op, "native", id=f"native-{op.name}") for op in OPERATORS),
    *(
        pytest.param(
            op,
            "reference",
            id=f"reference-{op.name}",
            marks=[] if op in REPRESENTATIVES else pytest.mark.slow,
        )
        for op in OPERATORS
    ),
]


@pytest.mark.parametrize(("operator", "native"), IN_GRAPHS, indirect=["native"])
@pytest.mark.parametrize("jit", [False, True])
def test_graph_equals_eager(operator, jit, native):
    rng = np.random.default_rng(8)
    arguments = [tf.constant(x) for x in operator.make(rng, (3,), np.float64)]
    weights = cotangents(rng, outputs(operator.apply(*arguments)))

    def value_and_gradient(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            results = outputs(operator.apply(*arguments))
            value = tf.add_n([tf.reduce_sum(w * x) for w, x in zip(weights, results, strict=True)])
        return *results, *tape.gradient(value, arguments)

    expected = value_and_gradient(*arguments)
    got = tf.function(value_and_gradient, jit_compile=jit)(*arguments)
    for x, y in zip(got, expected, strict=True):
        assert relative_error(x, y) < 1e-12


@pytest.mark.parametrize(("operator", "native"), IN_GRAPHS, indirect=["native"])
def test_unknown_static_shapes(operator, native):
    arguments = operator.make(np.random.default_rng(9), (3,), np.float64)
    expected = outputs(operator.apply(*arguments))
    for shape in ([None, None, None], [3, None, None], [None, *operator.core_dims[0]]):
        signature = [tf.TensorSpec(shape, tf.float64)]
        signature += [tf.TensorSpec([None] * 3, tf.float64) for _ in arguments[1:]]
        function = tf.function(operator.apply, input_signature=signature)
        for x, y in zip(outputs(function(*arguments)), expected, strict=True):
            assert relative_error(x, y) < 1e-13


@needs_native
@every_operator
def test_unknown_rank(operator):
    arguments = operator.make(np.random.default_rng(9), (3,), np.float64)
    expected = outputs(operator.apply(*arguments))
    signature = [tf.TensorSpec(None, tf.float64) for _ in arguments]
    function = tf.function(operator.apply, input_signature=signature)
    for x, y in zip(outputs(function(*arguments)), expected, strict=True):
        assert relative_error(x, y) < 1e-13


@every_operator
def test_rejects_wrong_arguments_by_name(operator, native):
    arguments = operator.make(np.random.default_rng(10), (2,), np.float64)
    with pytest.raises(ValueError, match=r"int32|must be float32 or float64"):
        operator.apply(*(x.astype(np.int32) for x in arguments))
    with pytest.raises(ValueError, match="must be"):
        operator.apply(np.zeros(3), *arguments[1:])
    if len(arguments) > 1:
        with pytest.raises(ValueError, match="mixed dtypes"):
            operator.apply(arguments[0].astype(np.float32), *arguments[1:])


@needs_native
@every_operator
@settings(max_examples=15)
@given(data=st.data())
def test_kernel_survives_any_shape(operator, data):
    """Shapes the wrapper cannot see are checked by the kernel: a result or a clear refusal."""
    shapes = [
        data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 5]), min_size=2, max_size=5))
        for _ in operator.core_dims
    ]
    function = tf.function(
        operator.apply,
        input_signature=[tf.TensorSpec([None] * len(shape), tf.float64) for shape in shapes],
    )
    arguments = [np.random.default_rng(0).normal(size=shape) for shape in shapes]
    refusal, results = None, []
    try:
        results = outputs(function(*arguments))
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        refusal = str(error)
    assert refusal is None or REFUSAL.search(refusal)
    rank = len(shapes[0]) - 2  # of the batch
    assert all(x.shape.rank >= rank for x in results)


@needs_native
@settings(max_examples=30)
@given(
    batches=st.sampled_from(
        [((), (3,)), ((3,), ()), ((2, 1), (3,)), ((1,), (4,)), ((2, 3), (1, 3))]
    )
)
def test_triangular_solve_broadcasts(batches):
    operator = next(op for op in OPERATORS if op.name == "solve-lower-left-4")
    rng = np.random.default_rng(11)
    l = tf.constant(operator.make(rng, batches[0], np.float64)[0])
    b = tf.constant(operator.make(rng, batches[1], np.float64)[1])
    full = np.broadcast_shapes(*batches)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([l, b])
        x = operator.apply(l, b)
        y = operator.apply(
            tf.broadcast_to(l, (*full, *l.shape[-2:])), tf.broadcast_to(b, (*full, *b.shape[-2:]))
        )
    np.testing.assert_array_equal(x, y)
    for got, expected in zip(tape.gradient(x, [l, b]), tape.gradient(y, [l, b]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)


def test_lq_gradient_is_nan_at_a_singular_matrix(native):
    a = tf.constant([[[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]], [[1.0, 0.0, 0.0], [1.0, 2.0, 3.0]]])
    with tf.GradientTape() as tape:
        tape.watch(a)
        l, q = linalg_ops.lq(a)
        total = tf.reduce_sum(l) + tf.reduce_sum(q)
    gradient = tape.gradient(total, a)
    assert np.all(np.isnan(gradient[0]))
    assert np.all(np.isfinite(gradient[1]))
