"""Models that users write down themselves."""

import inspect

import tensorflow as tf

from statespace.models.base import Model
from statespace.models.block import Block
from statespace.models.parameters import Scale


class Custom(Model):
    """A model given by a function from parameter values to a LinearGaussianSSM.

    Args:
      build_fn: a function of TensorFlow that takes one value (a float64 tensor) for each argument,
        and also ``features`` [T, K] and ``times`` [T] if it has arguments of these names. It
        returns a :class:`statespace.LinearGaussianSSM` without batch axes; the matrices may vary
        in time. It is vectorised over batches of values.
      parameters: a tuple with a parameter (``Scale``, ``Bounded``, ``StationaryCoefficients`` or
        ``Parameter`` of :mod:`statespace.models.parameters`) for each other argument of the
        function. By default each of them is a ``Scale`` of its name.
      state_names: names of the states; by default ``state_1``, ``state_2``, ...
      num_features: number of columns of the features, if the function takes any.
      diffuse_constant: see :class:`statespace.models.Model`.

    Raises:
      ValueError: the parameters are not the function's arguments.

    Example:
      >>> import numpy as np, statespace as ss
      >>> def random_walk(noise, step):
      ...     return ss.LinearGaussianSSM(
      ...         [[1.0]], [[step]], [[1.0]], [[noise]], [0.0], [[0.0]], diffuse=[True])
      >>> result = Custom(random_walk).fit(ss.datasets.nile(), verbose=0)
      >>> round(result.params["noise"]), round(result.params["step"])
      (123, 38)
    """

    name = "custom"
    starts_anywhere = False  # the start is that of the first step given, seen or not

    def __init__(
        self,
        build_fn,
        parameters=None,
        *,
        state_names=None,
        num_features=0,
        diffuse_constant="include",
    ):
        arguments = list(inspect.signature(build_fn).parameters)
        known = [name for name in arguments if name not in ("features", "times")]
        if parameters is None:
            parameters = tuple(Scale(name) for name in known)
        names = [parameter.name for parameter in parameters]
        if sorted(names) != sorted(known):
            raise ValueError(
                f"build_fn takes {', '.join(known) or 'no parameters'}; the parameters given are "
                f"{', '.join(names) or 'none'}. They must be the same names."
            )
        self.build_fn, self.parameters = build_fn, tuple(parameters)
        self.num_features, self.diffuse_constant = num_features, diffuse_constant
        self._known = {name for name in arguments if name in ("features", "times")}
        self.uses_times = "times" in self._known
        example = self._example()
        self._diffuse = None if example.diffuse is None else example.diffuse.numpy()
        n, self.num_observed = example.state_dim, example.observation_dim
        self.state_names = tuple(state_names or (f"state_{i + 1}" for i in range(n)))
        if len(self.state_names) != n:
            raise ValueError(
                f"{len(self.state_names)} state_names are given; the model has {n} states."
            )

    def block(self, params, steps):
        """The fields of what ``build_fn`` returns, for each set of values."""
        event_ranks = {p.name: len(p.shape) for p in self.parameters} | {"features": 2, "times": 1}
        given = dict(params)
        for name in self._known:
            value = getattr(steps, name)
            given[name] = None if value is None else tf.convert_to_tensor(value, tf.float64)
        tensors = {name: value for name, value in given.items() if value is not None}
        batch = tf.constant([], tf.int32)
        rank = 0
        for name, value in tensors.items():
            leading = value.shape.rank - event_ranks[name]
            rank = max(rank, leading)
            batch = tf.broadcast_dynamic_shape(batch, tf.shape(value)[:leading])
        if rank == 0:
            return Block(diffuse=self._diffuse, **_fields(self.build_fn(**given)))
        rows = {}
        for name, value in tensors.items():
            event = tf.shape(value)[value.shape.rank - event_ranks[name] :]
            whole = tf.broadcast_to(value, tf.concat([batch, event], axis=0))
            rows[name] = tf.reshape(whole, tf.concat([[-1], event], axis=0))
        fields = tf.vectorized_map(lambda row: _fields(self.build_fn(**(given | row))), rows)
        return Block(
            diffuse=self._diffuse,
            **{name: _batched(name, field, batch, rank) for name, field in fields.items()},
        )

    def _example(self):
        """What the function returns at values of one and one step: for its dimensions."""
        values = {
            p.name: p.bijector.forward(tf.zeros(p.shape, tf.float64)) for p in self.parameters
        }
        known = {
            "features": tf.ones([1, self.num_features], tf.float64),
            "times": tf.zeros([1], tf.float64),
        }
        return self.build_fn(**values, **{name: known[name] for name in self._known})

    # A function is equal to itself alone: another of the same name may do something else.
    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)

    def __repr__(self):
        return f"Custom({getattr(self.build_fn, '__name__', 'build_fn')})"


# Rank of the fields that may vary in time; the others have no such axis.
_PER_STEP = {
    "transition_matrix": 2,
    "transition_scale": 2,
    "observation_matrix": 2,
    "observation_scale": 2,
    "transition_offset": 1,
    "observation_offset": 1,
}


def _fields(ssm):
    return {name: getattr(ssm, name) for name in (*_PER_STEP, "initial_mean", "initial_scale")}


def _batched(name, field, batch, rank):
    """A field of all rows, ``[rows, ...]``, with the batch axes, and one of time where needed."""
    if field.shape.rank - 1 == _PER_STEP.get(name):
        field = field[:, tf.newaxis]
    shape = tf.concat([batch, tf.shape(field)[1:]], axis=0)
    whole = tf.reshape(field, shape)
    whole.set_shape([None] * rank + field.shape[1:])
    return whole
