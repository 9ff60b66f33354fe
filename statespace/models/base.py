"""Structural models: components that add up to a series, and the state-space form of their sum."""

from collections import Counter

import numpy as np
import tensorflow as tf

from statespace.models.parameters import Variance
from statespace.ssm import LinearGaussianSSM

OBSERVATION_VARIANCE = Variance("observation_variance")


class Model:
    """What single components and their sums have in common: ``+``, ``build`` and ``fit``.

    A model is immutable and holds no data and no fitted values.
    """

    @property
    def components(self) -> tuple["Component", ...]:
        """The components of the sum, in the order in which they were added."""
        raise NotImplementedError

    @property
    def parameters(self) -> tuple[Variance, ...]:
        """The free parameters: the observation variance, then those of each component."""
        return (OBSERVATION_VARIANCE, *(p for c in self.components for p in c.disturbances))

    @property
    def state_names(self) -> tuple[str, ...]:
        """One name for each element of the state vector."""
        return tuple(name for c in self.components for name in c.state_names)

    def component_states(self) -> dict[str, slice]:
        """Where each component's states lie in the state vector, by the component's name."""
        slices, start = {}, 0
        for component in self.components:
            stop = start + len(component.state_names)
            slices[component.name] = slice(start, stop)
            start = stop
        return slices

    @property
    def transition_matrix(self) -> np.ndarray:
        """F [n, n]: the components' transitions along the diagonal."""
        return _block_diagonal([c.transition_matrix for c in self.components])

    @property
    def observation_row(self) -> np.ndarray:
        """The single row of H, [n]: the series is the sum of its components."""
        return np.concatenate([c.observation_row for c in self.components])

    def build(self, params, *, initial_mean=None, initial_variance=None) -> LinearGaussianSSM:
        """The model's state-space form at given parameter values.

        Pure TensorFlow, differentiable in every value. With batched values the result has the same
        leading batch axes, one model for each of them.

        Args:
          params: dict from each name in ``parameters`` to a value, scalar or [...], all of one
            shape; float64.
          initial_mean: mean of the first state, [n] or [..., n]; zero by default. It goes with an
            initial variance.
          initial_variance: variance of each element of the first state, a number or [...]; None:
            nothing is known about it, an exact diffuse start.

        Returns:
          The LinearGaussianSSM with n states and one observed variable.

        Raises:
          ValueError: ``params`` lacks a name, or has one that the model does not know; or an
            initial mean is given without a variance.

        Example:
          >>> import statespace as ss
          >>> ssm = ss.models.LocalLevel().build(
          ...     {"observation_variance": 15099.0, "level_variance": 1469.1})
          >>> print(f"{ss.log_likelihood(ssm, ss.datasets.nile().to_numpy()[:, None]):.4f}")
          -633.4646
        """
        values = self._in_order(params)
        standard_deviations = [tf.sqrt(tf.convert_to_tensor(v, tf.float64)) for v in values]
        observation, *disturbances = standard_deviations
        # [..., k], times the columns that say which state each disturbance enters: [..., n, k].
        columns = _block_diagonal([c.disturbance_columns for c in self.components])
        transition_scale = columns * tf.stack(disturbances, axis=-1)[..., tf.newaxis, :]
        observation_scale = observation[..., tf.newaxis, tf.newaxis]
        if observation.shape.rank != 0:  # per series: the time axis comes after the batch axes
            transition_scale = transition_scale[..., tf.newaxis, :, :]
            observation_scale = observation_scale[..., tf.newaxis, :, :]
        return LinearGaussianSSM(
            transition_matrix=self.transition_matrix,
            transition_scale=transition_scale,
            observation_matrix=self.observation_row[np.newaxis, :],
            observation_scale=observation_scale,
            **_start(len(self.state_names), initial_mean, initial_variance),
        )

    def fit(self, y, method="mle", features=None, *, num_starts=3, verbose=1):
        """Estimates the parameters from data; see :func:`statespace.forecasting.fit.fit`.

        Args:
          y: the data: an array [T], [..., T] or [..., T, 1], a pandas Series, or a DataFrame with
            one series a column. NaN is missing.
          method: ``"mle"``, maximum likelihood.
          features: must be None until the Regression component exists.
          num_starts: how many starting values the optimiser is run from.
          verbose: 0 is silent; 1 shows a progress bar on anything over two seconds.

        Returns:
          A :class:`statespace.forecasting.results.FitResult`.
        """
        from statespace.forecasting.fit import fit

        return fit(self, y, method, features, num_starts=num_starts, verbose=verbose)

    def __add__(self, other):
        if not isinstance(other, Model):
            return NotImplemented
        return StructuralModel(*self.components, *other.components)

    def _in_order(self, params):
        names = [parameter.name for parameter in self.parameters]
        if set(params) != set(names):
            raise ValueError(
                f"{self} has the parameters {', '.join(names)}; given were "
                f"{', '.join(params) or 'none'}."
            )
        return [params[name] for name in names]


class Component(Model):
    """One term of a structural model: a block of states and the disturbances that drive them.

    A subclass is a table: it states the attributes below, constant matrices of NumPy. Observation
    noise belongs to the model, not to a component.

    Attributes:
      name: what plots and tables call it.
      state_names: a name for each of its n states.
      disturbances: the variances of its k disturbances.
      transition_matrix: F of its own states, [n, n].
      disturbance_columns: which state each disturbance enters, [n, k]: zeros and ones.
      observation_row: what each state contributes to the series, [n].
    """

    # Plain attributes, in place of the properties that put a sum together.
    name: str = ""
    state_names: tuple[str, ...] = ()
    disturbances: tuple[Variance, ...] = ()
    transition_matrix: np.ndarray = np.empty((0, 0))
    disturbance_columns: np.ndarray = np.empty((0, 0))
    observation_row: np.ndarray = np.empty(0)

    @property
    def components(self):
        """The component itself."""
        return (self,)

    def distinguished(self) -> "Component":
        """This component, named so that it can stand beside others of its kind."""
        return self


class StructuralModel(Model):
    """A sum of components plus observation noise, written with ``+``.

    Args:
      *components: the terms, at least one. Several seasonal terms are told apart by their periods.

    Raises:
      ValueError: two components could not be told apart by any data.
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
        count = Counter(map(type, components))
        self._components = tuple(
            component.distinguished() if count[type(component)] > 1 else component
            for component in components
        )
        _check_distinct(self._components)

    @property
    def components(self):
        """The components of the sum, in the order in which they were added."""
        return self._components

    def __repr__(self):
        return " + ".join(map(repr, self._components))


def _start(n, mean, variance):
    """The arguments of the LinearGaussianSSM that say where its n states start."""
    if variance is None:
        if mean is not None:
            raise ValueError(
                "build: initial_mean is given without initial_variance, which leaves the start "
                "diffuse: no mean has any influence then. Give both or neither."
            )
        # Of a diffuse start the mean and the scale are without influence.
        return {
            "initial_mean": np.zeros(n),
            "initial_scale": np.zeros((n, n)),
            "diffuse": np.ones(n, bool),
        }
    return {
        "initial_mean": np.zeros(n) if mean is None else mean,
        "initial_scale": np.sqrt(variance)[..., np.newaxis, np.newaxis] * np.eye(n),
    }


def _check_distinct(components):
    owner = {}
    for component in components:
        for parameter in component.disturbances:
            if parameter.name in owner:
                raise ValueError(
                    f"{owner[parameter.name]!r} and {component!r} both have a {parameter.name}: no "
                    f"data could tell them apart. Keep one of them."
                )
            owner[parameter.name] = component


def _block_diagonal(blocks):
    """One matrix with the given ones along its diagonal and zeros elsewhere."""
    rows, columns = np.sum([block.shape for block in blocks], axis=0)
    result = np.zeros((rows, columns))
    row = column = 0
    for block in blocks:
        height, width = block.shape
        result[row : row + height, column : column + width] = block
        row, column = row + height, column + width
    return result
