"""Structural models: components that add up to a series, and the state-space form of their sum."""

from collections import Counter

import numpy as np
import tensorflow as tf

from statespace.models.base import Component, Model
from statespace.models.block import Block, Steps, block_diagonal, joined
from statespace.models.irregular import Irregular


class StructuralModel(Model):
    """A sum of components plus observation noise, written with ``+``.

    The noise, ``Irregular()``, is added by itself, unless a component explains it already (ARIMA
    and exponential smoothing do).

    Args:
      *components: the terms, at least one. Several seasonal terms are told apart by their periods.

    Raises:
      ValueError: two components could not be told apart by any data, or do not observe the same
        number of variables.
      TypeError: there are no components, or something else is among them.

    Example:
      >>> from statespace import models
      >>> models.LocalLinearTrend() + models.Seasonal(12)
      LocalLinearTrend() + Seasonal(12)
    """

    def __init__(self, *components):
        if not components or not all(isinstance(c, Component) for c in components):
            raise TypeError(
                f"A structural model is a sum of components, at least one; given were {components}."
            )
        self._terms = components
        observed = {c.num_observed for c in components if not isinstance(c, Irregular)} or {1}
        if len(observed) > 1:
            raise ValueError(
                f"{' + '.join(map(repr, components))}: the components observe different numbers "
                f"of variables, {sorted(observed)}; all must observe the same."
            )
        [self.num_observed] = observed
        if not any(isinstance(c, Irregular) or c.explains_noise for c in components):
            components = (Irregular(), *components)
        names = Counter(component.name for component in components)
        self._components = tuple(c.distinguished() if names[c.name] > 1 else c for c in components)
        _check_distinct(self._components)
        self.parameters = tuple(p for c in self._components for p in c.own_parameters)
        self.state_names = tuple(name for c in self._components for name in c.state_names)
        self.num_features = sum(c.num_features for c in self._components)
        self.uses_times = any(c.uses_times for c in self._components)
        excludes = any(c.diffuse_constant == "exclude" for c in self._components)
        self.diffuse_constant = "exclude" if excludes else "include"

    @property
    def components(self):
        """The components of the sum, in the order in which they were added."""
        return self._components

    def block(self, params, steps):
        """The matrices of the components, each in its place."""
        blocks, first = [], 0
        for component in self._components:
            last = first + component.num_features
            features = steps.features[..., first:last] if last > first else None
            first = last
            own = {p.name: params[p.name] for p in component.own_parameters}
            blocks.append(self._part(component, own, Steps(features, steps.times)))
        noises = [b.observation_scale for b in blocks if b.observation_scale is not None]
        return Block(
            transition_matrix=block_diagonal([b.transition_matrix for b in blocks]),
            transition_scale=block_diagonal([b.transition_scale for b in blocks]),
            observation_matrix=joined([b.observation_matrix for b in blocks], axis=-1),
            observation_scale=joined(noises, axis=-1) if noises else None,
            transition_offset=_stacked_offsets(blocks, "transition_offset"),
            observation_offset=_total([b.observation_offset for b in blocks]),
            initial_mean=_stacked_offsets(blocks, "initial_mean"),
            initial_scale=_initial_scale(blocks),
            diffuse=np.concatenate([_diffuse(b) for b in blocks]),
        )

    def units(self, scale, feature_scale):
        """The units of the components' parameters."""
        units, first = {}, 0
        for component in self._components:
            last = first + component.num_features
            units |= component.own_units(scale, feature_scale[:, first:last])
            first = last
        return units

    def start(self, values, units, features=None):
        """What the components can tell from the data, and the middle of where the others start."""
        known, parts, first = {}, [], 0
        for component in self._components:
            last = first + component.num_features
            own = None
            if features is not None and last > first:
                own = features[..., first:last]
            parts.append((component, own))
            first = last
        # What regressions explain is taken out before the others look at the data.
        for component, own in sorted(parts, key=lambda part: part[1] is None):
            guess, values = component.own_start(values, own)
            known |= guess
        if not known:
            return None
        count, guess = len(values), {}
        for parameter in self.parameters:
            middle = tf.fill(parameter.shape, tf.constant(sum(parameter.start) / 2, tf.float64))
            value = units[parameter.name] * parameter.bijector.forward(middle)
            guess[parameter.name] = tf.broadcast_to(value, (count, *parameter.shape))
        return guess | known

    def __add__(self, other):
        if not isinstance(other, Model):
            return NotImplemented
        return StructuralModel(*self._terms, *getattr(other, "_terms", other.components))

    def __repr__(self):
        return " + ".join(map(repr, self._terms))

    def _part(self, component, params, steps):
        if isinstance(component, Irregular):
            return component.own_block(params, steps, self.num_observed)
        return component.own_block(params, steps)


def _check_distinct(components):
    owner = {}
    for component in components:
        names = [p.name for p in component.own_parameters]
        for name in dict.fromkeys([*names, *component.state_names]):
            if name in owner:
                raise ValueError(
                    f"{owner[name]!r} and {component!r} both have a {name}: no data could tell "
                    f"them apart. Keep one of them."
                )
            owner[name] = component


def _states(block):
    return block.transition_matrix.shape[-1]


def _diffuse(block):
    if block.diffuse is not None:
        return np.asarray(block.diffuse, bool)
    return np.full(_states(block), block.initial_scale is None)


def _initial_scale(blocks):
    """The starts along a diagonal; None if all are diffuse."""
    if all(block.initial_scale is None for block in blocks):
        return None
    return block_diagonal(
        [np.zeros((_states(b), 0)) if b.initial_scale is None else b.initial_scale for b in blocks]
    )


def _stacked_offsets(blocks, name):
    """The blocks' vectors one after the other, ``[..., n]``; None if there are none."""
    vectors = [getattr(block, name) for block in blocks]
    if all(vector is None for vector in vectors):
        return None
    columns = [
        np.zeros((_states(b), 1)) if v is None else v[..., np.newaxis]
        for b, v in zip(blocks, vectors, strict=True)
    ]
    return joined(columns, axis=-2)[..., 0]


def _total(offsets):
    given = [offset for offset in offsets if offset is not None]
    return sum(given[1:], given[0]) if given else None
