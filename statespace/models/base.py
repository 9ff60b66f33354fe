"""What all models have in common, and components, which add up to models."""

import numpy as np
import tensorflow as tf

from statespace.models.block import Block, Steps, joined
from statespace.models.parameters import Parameter
from statespace.ssm import LinearGaussianSSM


class Model:
    """What people fit: named parameters, and the state-space form at their values.

    A model is immutable and holds no data and no fitted values. A subclass states the attributes
    below and ``block``.

    Attributes:
      parameters: what is to be estimated, a tuple of
        :class:`statespace.models.parameters.Parameter`.
      state_names: a name for each of the n elements of the state vector.
      num_observed: number m of variables observed at each step.
      num_features: number of columns of ``features`` it needs.
      uses_times: whether ``times`` has an influence.
      starts_anywhere: whether the distribution of the first state is that of any other before the
        data, diffuse or stationary, so that missing steps before the first value say nothing.
      diffuse_constant: of the log-likelihood of a diffuse start: "include" counts the densities'
        1 / sqrt(2 pi) for the observations that the start takes up, as Stata and statsmodels do;
        "exclude" does not, as for the likelihood of differences.
      drawn_at_random: names of matrices of which ``start_values`` says nothing, since they should
        not be alike in two networks.
      disturbance_scales: names of scales that say nothing where those of the disturbances are
        given, and are one then.
    """

    parameters: tuple[Parameter, ...] = ()
    state_names: tuple[str, ...] = ()
    num_observed: int = 1
    num_features: int = 0
    uses_times: bool = False
    starts_anywhere: bool = True
    diffuse_constant: str = "include"
    drawn_at_random: tuple[str, ...] = ()
    disturbance_scales: tuple[str, ...] = ()

    def block(self, params, steps: Steps) -> Block:
        """The matrices at given parameter values.

        Args:
          params: dict with a float64 tensor ``[..., *shape]`` for each parameter.
          steps: features and times.
        """
        raise NotImplementedError

    @property
    def components(self) -> tuple["Model", ...]:
        """The terms of the sum; a model that is none has itself alone."""
        return (self,)

    def component_states(self) -> dict[str, slice]:
        """Where each component's states lie in the state vector, by the component's name."""
        slices, first = {}, 0
        for component in self.components:
            for name, own in component.own_states().items():
                slices[name] = slice(first + own.start, first + own.stop)
            first += len(component.state_names)
        return slices

    def own_states(self) -> dict[str, slice]:
        """Which of a component's own states are shown together, by the name that they go under."""
        return {self.name: slice(0, len(self.state_names))} if self.state_names else {}

    def units(self, scale, feature_scale) -> dict[str, np.ndarray]:
        """The unit of each parameter, given what the data are measured in.

        Args:
          scale: short-term variation of N series, [N, m].
          feature_scale: spread of their features, [N, K].

        Returns:
          Dict from name to an array ``[N, *shape]``, or one that broadcasts with that.
        """
        return units_by_power(self.parameters, scale)

    def start_values(self) -> dict[str, np.ndarray]:
        """Where a network's learning sets out, without data to go by.

        Returns:
          Dict from the name of each parameter, but those drawn at random, to a value.
        """
        return {
            p.name: p.bijector.forward(np.full(p.shape, p.middle)).numpy() for p in self.parameters
        }

    def start(self, values, units, features=None) -> dict | None:
        """A guess at the parameters, from which an optimiser tries to set out as well.

        Args:
          values: N series, [N, T, m], NaN where missing.
          units: of the parameters, as of ``units``.
          features: [1 or N, T, K], or None if the model needs none.

        Returns:
          Dict from each parameter's name to values ``[N, *shape]``; None for no guess.
        """
        return None

    def build(
        self, params, *, features=None, times=None, initial_mean=None, initial_variance=None
    ) -> LinearGaussianSSM:
        """The model's state-space form at given parameter values.

        Pure TensorFlow, differentiable in every value. With batched values the result has the same
        leading batch axes, one model for each of them.

        Args:
          params: dict from each name in ``parameters`` to a value ``[..., *shape]``, with the same
            (or broadcasting) leading axes; float64.
          features: what a regression needs to know of each step, [T, K] or [..., T, K].
          times: when the steps are, [T] or [..., T], for models in continuous time; by default one
            apart. Components that move by steps move once a step, whatever lies between.
          initial_mean: mean of the states whose start is diffuse, [n] or [..., n]; zero by
            default. It goes with an initial variance.
          initial_variance: variance of each of those states at the start, a number or [...]; None:
            nothing is known about them, an exact diffuse start.

        Returns:
          The LinearGaussianSSM with n states and m observed variables.

        Raises:
          ValueError: ``params`` lacks a name, has one that the model does not know or a value of
            another shape; features are missing or have another number of columns; or an initial
            mean is given without a variance.

        Example:
          >>> import statespace as ss
          >>> ssm = ss.models.LocalLevel().build(
          ...     {"irregular.scale": 122.9, "level.scale": 38.33})
          >>> print(f"{ss.log_likelihood(ssm, ss.datasets.nile().to_numpy()[:, None]):.4f}")
          -633.4646
        """
        steps = Steps(self._checked_features(features), self._checked_times(times))
        block = self.block(self._checked_values(params), steps)
        n, m = len(self.state_names), self.num_observed
        scale = np.zeros((m, 0)) if block.observation_scale is None else block.observation_scale
        return LinearGaussianSSM(
            transition_matrix=block.transition_matrix,
            transition_scale=block.transition_scale,
            observation_matrix=block.observation_matrix,
            observation_scale=scale,
            transition_offset=block.transition_offset,
            observation_offset=block.observation_offset,
            **_start(block, n, initial_mean, initial_variance),
        )

    def fit(
        self,
        y,
        method="mle",
        features=None,
        *,
        times=None,
        fix=None,
        share=(),
        priors=None,
        num_starts=3,
        verbose=1,
        seed=0,
    ):
        """Estimates the parameters from data; see :func:`statespace.forecasting.fit.fit`.

        Args:
          y: the data: an array [T], [..., T] or [..., T, m], a pandas Series, a DataFrame with one
            series a column (or, for a model of several variables, one variable a column), or a
            long DataFrame with the columns ``unique_id``, ``ds`` and ``y``. NaN is missing.
          method: ``"mle"``, maximum likelihood; ``"map"``, ``"em"``, ``"hmc"`` or ``"vi"``.
          features: known columns for regression components, [T, K], [..., T, K] or a DataFrame.
          times: when the steps are, for models in continuous time, [T] or [..., T].
          fix: dict from a parameter's name to the value it is to have.
          share: names of parameters that are to have one value for all series.
          priors: dict from a parameter's name to a TFP distribution over its value.
          num_starts: how many starting values the optimiser is run from.
          verbose: 0 is silent; 1 shows a progress bar on anything over two seconds.
          seed: of the draws that ``"hmc"`` and ``"vi"`` make.

        Returns:
          A :class:`statespace.forecasting.results.FitResult`.
        """
        from statespace.forecasting.fit import fit

        return fit(
            self,
            y,
            method,
            features,
            times=times,
            fix=fix,
            share=share,
            priors=priors,
            num_starts=num_starts,
            verbose=verbose,
            seed=seed,
        )

    def __eq__(self, other):
        return isinstance(other, Model) and repr(self) == repr(other)

    def __hash__(self):
        return hash(repr(self))

    def _checked_values(self, params):
        names = [parameter.name for parameter in self.parameters]
        if set(params) != set(names):
            raise ValueError(
                f"{self} has the parameters {', '.join(names)}; given were "
                f"{', '.join(params) or 'none'}."
            )
        values = {}
        for parameter in self.parameters:
            value = tf.convert_to_tensor(params[parameter.name], tf.float64)
            rank = len(parameter.shape)
            if rank and value.shape.rank is not None and value.shape[-rank:] != parameter.shape:
                raise ValueError(
                    f"{parameter.name} has shape {value.shape}; {self} needs "
                    f"[..., {', '.join(map(str, parameter.shape))}]."
                )
            values[parameter.name] = value
        return values

    def _checked_features(self, features):
        if self.num_features == 0:
            if features is not None:
                raise ValueError(
                    f"{self!r} has no use for features; add a Regression(num_features) to it."
                )
            return None
        if features is None:
            raise ValueError(
                f"{self!r} needs features, an array [T, {self.num_features}]; none are given."
            )
        if not tf.is_tensor(features):
            features = np.asarray(features, np.float64)
        rank, columns = len(features.shape), features.shape[-1]
        if rank < 2 or columns not in (self.num_features, None):
            raise ValueError(
                f"features has shape {tuple(features.shape)}; {self!r} needs "
                f"[..., T, {self.num_features}]."
            )
        return features

    def _checked_times(self, times):
        return times if self.uses_times else None


class Component(Model):
    """One term of a structural model: a block of states and what drives them.

    A subclass states the attributes below, those of :class:`Model` except ``parameters``, and
    ``own_block``. Alone it is a model as well: itself plus observation noise.

    Attributes:
      name: what plots and tables call it.
      own_parameters: the parameters of this term.
      explains_noise: whether it leaves no noise to the observations, as an ARIMA process does; a
        sum with such a component has an irregular only if one is added.
    """

    name: str = ""
    own_parameters: tuple[Parameter, ...] = ()
    explains_noise: bool = False

    def own_block(self, params, steps: Steps) -> Block:
        """This term's part of the matrices, from its own parameters and features."""
        raise NotImplementedError

    def own_units(self, scale, feature_scale):
        """The units of its own parameters; as ``units``."""
        return units_by_power(self.own_parameters, scale)

    def own_start(self, values, features) -> tuple[dict, np.ndarray]:
        """What the data say at once of its own parameters.

        Args:
          values: N series, [N, T, m], less what regressions of the sum explain of them.
          features: its own, [1 or N, T, K]; None if it needs none.

        Returns:
          Dict to values ``[N, *shape]``, of none or all of its parameters; and the series less what
          it explains of them, if it is a regression.
        """
        return {}, values

    def distinguished(self) -> "Component":
        """This component, named so that it can stand beside others of its kind."""
        return self

    @property
    def parameters(self):
        """What is to be estimated where this component is the whole model."""
        return self._alone.parameters

    def block(self, params, steps):
        """The matrices where this component is the whole model."""
        return self._alone.block(params, steps)

    def units(self, scale, feature_scale):
        """The units where this component is the whole model."""
        return self._alone.units(scale, feature_scale)

    def start(self, values, units, features=None):
        """A guess where this component is the whole model."""
        return self._alone.start(values, units, features)

    @property
    def _alone(self):
        from statespace.models.structural import StructuralModel

        return StructuralModel(self)

    def __add__(self, other):
        return self._alone + other


def units_by_power(parameters, scale) -> dict[str, np.ndarray]:
    """Units that are a power of what the data are measured in, [N, 1, ...]; see ``Model.units``."""
    scale = scale.mean(axis=1)
    return {p.name: (scale**p.power).reshape(-1, *(1,) * len(p.shape)) for p in parameters}


def _start(block, n, mean, variance):
    """The arguments of the LinearGaussianSSM that say where its n states start."""
    diffuse = block.diffuse
    if diffuse is None:
        diffuse = np.full(n, block.initial_scale is None)
    if variance is None:
        if mean is not None:
            raise ValueError(
                "build: initial_mean is given without initial_variance, which leaves the start "
                "diffuse: no mean has any influence then. Give both or neither."
            )
        # Of a diffuse start the mean and the scale are without influence.
        return {
            "initial_mean": np.zeros(n) if block.initial_mean is None else block.initial_mean,
            "initial_scale": (
                np.zeros((n, 1)) if block.initial_scale is None else block.initial_scale
            ),
            "diffuse": diffuse if diffuse.any() else None,
        }
    vague = np.sqrt(variance)[..., np.newaxis, np.newaxis] * np.diag(diffuse.astype(np.float64))
    proper = () if block.initial_scale is None else (block.initial_scale,)
    means = [x for x in (mean, block.initial_mean) if x is not None]
    return {
        "initial_mean": sum(means) if means else np.zeros(n),
        "initial_scale": joined([vague, *proper], axis=-1),
    }
