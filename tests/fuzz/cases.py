"""Hostile calls: how they are drawn, and how one is made."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from contracts.operators import OPERATORS
from contracts.table import outputs

from fuzz import messages
from statespace import linalg_ops, native

SIZES = (0, 1, 2, 3, 17)
HUGE = (2**29 + 1, 2**31 - 1, 2**31, 2**31 + 1, 2**40)
# The references make identity matrices and go through all columns, even if the batch is empty.
HUGE_FOR_REFERENCES = (2**8 + 1,)
MOST_ELEMENTS = 20_000
STRANGE_DTYPES = (np.int32, np.int64, np.float16, np.complex128, np.bool_, np.str_)
MODES = ("eager", "static", "unknown_dimensions", "unknown_rank")


@dataclass(frozen=True)
class Subject:
    """What is called."""

    apply: Callable  # (*arguments, **attributes) -> tensor or tensors
    cores: tuple[tuple[int, ...], ...]  # core shapes that fit; equal numbers stand for equal sizes
    attributes: tuple[str, ...]  # bools, to be drawn
    op_names: tuple[str, ...]  # one of which a refusal must name,
    argument_names: tuple[str, ...]  # and one of these
    is_gradient: bool = False
    derivatives: int = 2  # how often it is differentiated


@dataclass(frozen=True)
class Case:
    """One call."""

    mode: str
    derivative: int  # 0: the call, 1: its gradient, 2: the gradient of that
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    fill: str
    seed: int
    attributes: tuple[tuple[str, bool], ...]

    def run(self, subject):
        """Makes the call and computes every output."""
        arguments = self._arguments()
        attributes = dict(self.attributes)

        def call(*arguments):
            return _derivative(
                lambda *x: subject.apply(*x, **attributes), arguments, self.derivative
            )

        if self.mode != "eager":
            call = tf.function(call, input_signature=[self._spec(x) for x in arguments])
        for x in call(*arguments):
            x.shape.assert_is_fully_defined()

    def _spec(self, x):
        x = tf.convert_to_tensor(x)
        if self.mode == "unknown_rank":
            return tf.TensorSpec(None, x.dtype)
        if self.mode == "unknown_dimensions":
            return tf.TensorSpec([None] * x.shape.rank, x.dtype)
        return tf.TensorSpec(x.shape, x.dtype)

    def _arguments(self):
        rng = np.random.default_rng(self.seed)
        return [
            _array(rng, shape, np.dtype(dtype), self.fill)
            for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
        ]


def subject(name: str) -> Subject:
    """The subject of a name on the command line."""
    if name.startswith("Statespace"):
        return _raw_op(name)
    operator = next(op for op in OPERATORS if op.name == name)
    functions = [getattr(linalg_ops, x) for x in linalg_ops.__all__]
    parameters = {x for function in functions for x in inspect.signature(function).parameters}
    raw = [_raw_op(entry) for entry in raw_op_names()]
    return Subject(
        apply=operator.apply,
        cores=operator.core_dims,
        attributes=(),
        op_names=(*linalg_ops.__all__, *raw_op_names()),
        argument_names=(*parameters, *(x for op in raw for x in op.argument_names)),
    )


def raw_op_names() -> list[str]:
    """Names of the ops of the compiled library."""
    api = native.api()
    return [entry.name.decode() for entry in api.ops[: api.num_ops]]


def _raw_op(name):
    importlib.import_module("statespace.kalman")  # registers the gradients of its ops
    api = native.api()
    entry = next(x for x in api.ops[: api.num_ops] if x.name.decode() == name)
    ops = native.library()
    wrapper = next(getattr(ops, x) for x in dir(ops) if x.replace("_", "") == name.lower())
    gradient = next((x for x in api.ops[: api.num_ops] if x.name.decode() == f"{name}Grad"), entry)
    named = (*entry.input_names[: entry.num_inputs], *gradient.input_names[: gradient.num_inputs])
    return Subject(
        apply=wrapper,
        cores=tuple((4,) * rank for rank in entry.input_ranks[: entry.num_inputs]),
        attributes=tuple(x.decode() for x in entry.attr_names[: entry.num_attrs]),
        op_names=(name, f"{name}Grad"),
        argument_names=tuple(x.decode() for x in named),
        is_gradient=name.endswith("Grad"),
        derivatives=_derivatives(name),
    )


def _derivatives(name):
    """As often as is promised: gradients of gradients.

    Of the Kalman ops only those that have compiled gradients are differentiated.
    """
    if "Kalman" not in name:
        return 1 if name.endswith("Grad") else 2
    return int("LogLikelihood" in name and not name.endswith("Grad"))


def draw(rng, subject: Subject, huge=HUGE) -> Case:
    """A random call, with a fair chance to be one that must succeed."""
    count = len(subject.cores)
    kind = rng.choice(["sound", "sound", "dtypes", "shapes", "ranks", "huge"])
    sizes = {size: int(rng.choice(SIZES)) for core in subject.cores for size in core}
    batch = rng.choice(SIZES, size=rng.integers(0, 5)).tolist()
    shapes = [[*_part(rng, batch), *(sizes[x] for x in core)] for core in subject.cores]
    dtypes = [rng.choice(["float32", "float64"])] * count
    which = int(rng.integers(count))
    if kind == "dtypes":
        dtypes[which] = np.dtype(STRANGE_DTYPES[rng.integers(len(STRANGE_DTYPES))]).name
        if rng.random() < 0.3:
            dtypes = [dtypes[which]] * count
    elif kind == "shapes":
        for _ in range(rng.integers(1, 3)):
            shape = shapes[int(rng.integers(count))]
            if shape:
                shape[int(rng.integers(len(shape)))] = int(rng.choice(SIZES))
    elif kind == "ranks":
        shapes[which] = rng.choice(SIZES, size=rng.integers(0, 7)).tolist()
    elif kind == "huge":
        _make_huge(rng, shapes, [len(core) for core in subject.cores], which, huge)
    return Case(
        mode=str(rng.choice(MODES, p=[0.55, 0.1, 0.25, 0.1])),
        derivative=min(int(rng.choice(3, p=[0.5, 0.4, 0.1])), subject.derivatives),
        shapes=tuple(tuple(_within_bounds(shape)) for shape in shapes),
        dtypes=tuple(str(x) for x in dtypes),
        fill=str(rng.choice(list(FILLS))),
        seed=int(rng.integers(2**31)),
        attributes=tuple((name, bool(rng.integers(2))) for name in subject.attributes),
    )


def _part(rng, batch):
    """Batch axes that broadcast to ``batch``."""
    batch = [1 if rng.random() < 0.15 else size for size in batch]
    return batch[int(rng.integers(len(batch) + 1)) :] if rng.random() < 0.2 else batch


def _make_huge(rng, shapes, core_ranks, which, sizes):
    """One size, wherever it stands, becomes huge, and another zero: nothing is to be stored.

    Of a huge batch the statuses would be stored, and TensorFlow's own ops go through it matrix by
    matrix: if there is one, then it is empty, too.
    """
    present = sorted({size for shape in shapes for size in shape})
    if len(shapes[which]) < 2 or not present:
        return
    huge, everywhere = int(rng.choice(sizes)), rng.random() < 0.5
    replaced = int(rng.choice(present))
    for i, shape in enumerate(shapes):
        for axis, size in enumerate(shape):
            if size == replaced and (everywhere or i == which):
                shape[axis] = huge
    for shape, core_rank in zip(shapes, core_ranks, strict=True):
        if max(shape[: len(shape) - core_rank], default=0) in sizes:
            shape[:] = [0, *shape[-5:]]
        elif max(shape, default=0) in sizes and 0 not in shape:
            shape[int(rng.integers(len(shape)))] = 0


def _within_bounds(shape):
    """Makes sizes smaller, from the left, until an array of this shape may be allocated."""
    shape = list(shape)
    axis = 0
    while 0 not in shape and np.prod(np.array(shape, object)) > MOST_ELEMENTS:
        shape[axis] = min(shape[axis], 2 if axis < len(shape) - 2 else 17)
        axis += 1
        if axis == len(shape):
            break
    # NumPy and TensorFlow count the bytes of the other axes even where one is zero.
    while np.prod(np.array([max(x, 1) for x in shape], object)) >= 2**59:
        shape[shape.index(max(shape))] = 3
    return shape


def _array(rng, shape, dtype, fill):
    if 0 in shape:
        return np.zeros(shape, dtype)
    if dtype.kind not in "fc":
        return rng.integers(0, 2, size=shape).astype(dtype)
    with np.errstate(all="ignore"):
        return FILLS[fill](rng, shape).astype(dtype)


def _sprinkled(*values):
    def fill(rng, shape):
        x = rng.normal(size=shape)
        return np.where(rng.random(shape) < 0.2, rng.choice(values, size=shape), x)

    return fill


def _definite(rng, shape):
    x = rng.normal(size=shape)
    if len(shape) >= 2 and shape[-1] == shape[-2]:
        x = x @ np.swapaxes(x, -1, -2) + np.eye(shape[-1])
    return x


FILLS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "definite": _definite,
    "zeros": lambda rng, shape: np.zeros(shape),
    "equal": lambda rng, shape: np.ones(shape),
    "huge": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.choice([18, 38, 154, 307]),
    "tiny": lambda rng, shape: rng.normal(size=shape) * 10.0 ** -rng.choice([18, 44, 154, 320]),
    "wide": lambda rng, shape: rng.normal(size=shape) * 10.0 ** rng.uniform(-300, 300, shape),
    "nan": _sprinkled(np.nan),
    "infinite": _sprinkled(np.inf, -np.inf),
    "mixed": _sprinkled(np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e-45, 1e308),
    "all_nan": lambda rng, shape: np.full(shape, np.nan),
}


_ONE = tf.Variable(1.0, trainable=False)


def _derivative(apply, arguments, order):
    """The outputs, or what comes of differentiating their sum ``order`` times."""
    arguments = [tf.convert_to_tensor(x) for x in arguments]
    if order == 0:
        return _outputs(apply(*arguments))
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        results = _derivative(apply, arguments, order - 1)
        results = [x for x in results if x.dtype.is_floating]
    # Those that TensorFlow makes have sizes of 32 bits. Of a constant it would store every one,
    # however many, while it optimises the graph.
    ones = [
        tf.fill(tf.shape(x, tf.int64), tf.cast(_ONE, x.dtype), name=messages.COTANGENT)
        for x in results
    ]
    gradients = tape.gradient(results, arguments, ones)
    return [tf.zeros([]) if x is None else tf.convert_to_tensor(x) for x in gradients]


def _outputs(result):
    return outputs(tuple(result)) if isinstance(result, (list, tuple)) else [result]
