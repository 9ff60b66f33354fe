"""State-space models whose noise and start a network emits, trained over a panel of series."""

import copy
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from statespace.kalman.filter import kalman_filter, log_likelihood
from statespace.kalman.inference import ALGORITHMS
from statespace.layers.dynamics import plain, read, written
from statespace.layers.kalman_inputs import shapes_of
from statespace.layers.kalman_layer import joined, observed_moments, predicted_observations
from statespace.linalg_ops import psd_cholesky
from statespace.linalg_ops.arguments import check_choice, positive_int
from statespace.models.emitted import multiplied
from statespace.networks.emitter import Emitted, Emitter
from statespace.networks.panel import Panel, named, read_panel
from statespace.networks.panel_forecast import forecast_panel
from statespace.networks.panel_tensors import (
    check_built,
    prepared,
    sizes_of,
    specs_of,
    to_tensors,
)
from statespace.networks.structure import Structure
from statespace.ssm import LinearGaussianSSM, replaced

_OP = "DeepStateSpace"


@keras.saving.register_keras_serializable(package="statespace")
class DeepStateSpace(keras.Model):
    """One network for a panel of series: it emits the noise of a structural model at each step.

        h_t        = encoder(covariates_0, ..., covariates_t; static)
        scales_t   = smallest + softplus(A h_t + a)
        x_0        ~ N(B [h_0; static] + b, diag(smallest + softplus(D [h_0; static] + d))^2)
        y_t / s    = H x_t + C(scales_t) r_t
        x_{t+1}    = F x_t + G(scales_t) q_t

    with the matrices of ``base_model``. The encoder sees covariates alone, not y, so the model is
    linear and Gaussian given its output: the likelihood is exact, missing values need no filling in
    and forecasts are those of a Kalman filter. The weights are shared by all series, the states are
    each series' own. Series that were not among those of the training are forecast from their
    histories.

    Each series is divided by its scale s, the mean of its absolute values (one where there is
    none), so that small series and large ones teach the same weights.

    The inputs are a dict, and may be a tuple in this order, or y alone:

      - ``y``: ``[B, T]`` (``[B, T, m]`` for a base model of m variables). NaN is missing, and pads
        series that end before the others.
      - ``covariates``: ``[B, T, c]``, what the encoder sees of each step. Without any it sees the
        age of the series, log(1 + t).
      - ``static``: ``[B, s]``, numbers of each series that the encoder sees at every step.
      - ``category``: ``[B]``, whole numbers from 0, for which there is an embedding.
      - ``features``: ``[B, T, K]``, for the regressions of the base model.
      - ``lengths``: ``[B]``, the number of steps of each series. What follows is padding, of
        covariates too; an encoder that is not causal would see its zeros.

    ``fit`` maximises the likelihood, with validation, callbacks and ``tf.data`` as in any model of
    Keras; ``forecast`` returns distributions of the steps to come. Calls, and ``predict``, return
    mean and standard deviation of each y_t given those before, ``[B, T, 2 m]``, as the losses and
    metrics of :mod:`statespace.layers` take them: at missing steps at the end these are forecasts.

    Args:
      base_model: a sum of components of :mod:`statespace.models`. Scales of its noise are emitted;
        its other parameters, such as a damping, are weights that all series share.
      encoder: ``"lstm"`` or ``"gru"`` of 40 units, ``"convolution"`` (causal, over 31 steps), or
        a layer or model of Keras from ``[B, T, inputs]`` to ``[B, T, units]``.
      num_categories: number of values of ``category``; None: it is not used.
      embedding_dim: length of the vector that stands for a category; None: half as long as there
        are categories, at most 16.
      scaling: whether to divide each series by its scale.
      smallest_scale: what no emitted scale goes below, in units of the scaled series. It bounds the
        likelihood of series that are constant.
      fix: dict from names to values of parameters of the base model that are neither emitted nor
        learned, of scaled series.
      initial_values: dict from names to where parameters, emitted ones among them, set out.
      algorithm: form of the filter's recursion, one of ``statespace.kalman.ALGORITHMS``.
      **kwargs: ``name`` and ``dtype``. The network computes in its dtype, the filter in float64.

    Raises:
      ValueError: an argument is of another kind or out of its range, or the base model has no
        scale that could be emitted.

    References:
      Rangapuram, S. S., Seeger, M., Gasthaus, J., Stella, L., Wang, Y. and Januschowski, T. (2018).
      Deep state space models for time series forecasting. Advances in Neural Information Processing
      Systems 31.

    Example:

      >>> import keras, numpy as np, statespace as ss
      >>> keras.utils.set_random_seed(0)
      >>> y = 10 + np.random.default_rng(0).normal(size=(8, 30)).cumsum(axis=1)
      >>> model = ss.models.DeepStateSpace(ss.models.LocalLevel(), "convolution")
      >>> model.compile("adam")
      >>> history = model.fit(y, epochs=2, verbose=0)
      >>> model.forecast(y, 3).mean.shape
      (8, 3)
    """

    def __init__(
        self,
        base_model,
        encoder="lstm",
        *,
        num_categories=None,
        embedding_dim=None,
        scaling=True,
        smallest_scale=1e-4,
        fix=None,
        initial_values=None,
        algorithm="auto",
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if not (isinstance(smallest_scale, float | int) and 0 < smallest_scale < math.inf):
            raise ValueError(
                f"{_OP}: smallest_scale is {smallest_scale!r}; it must be positive and finite."
            )
        if self.variable_dtype not in ("float32", "float64"):
            raise ValueError(
                f"{_OP}: dtype is {self.dtype_policy.name}; weights must be float32 or float64."
            )
        check_choice(_OP, "algorithm", algorithm, ALGORITHMS)
        self._structure = Structure(_OP, base_model, fix, initial_values)
        self.scaling, self.smallest_scale = bool(scaling), float(smallest_scale)
        self.num_categories, self.embedding_dim = num_categories, embedding_dim
        self.algorithm = algorithm
        self._encoder_name = encoder if isinstance(encoder, str) else None
        self._emitter = Emitter(
            _OP,
            encoder,
            self._structure.starts,
            len(base_model.state_names),
            self.smallest_scale,
            num_categories,
            embedding_dim,
            dtype=self.dtype_policy,
        )
        self._sizes: Any = None  # of the inputs, known by build
        self._loss_mean = keras.metrics.Mean(name="loss")
        self._run_ahead: Any = None

    # What Keras asks for.

    def build(self, input_shape):
        """Creates the weights for inputs of these shapes."""
        shapes = shapes_of(named(_OP, input_shape))
        self._sizes = self._sizes_of(shapes)
        self._emitter.build(self._sizes.covariates, self._sizes.static)
        self._structure.add_weights(self, self._sizes.features)
        specs = specs_of(self._sizes, self.base_model.num_observed)
        self._run_ahead = tf.function(  # traced once, whatever the sizes of panels
            self._ahead, autograph=False, input_signature=[specs, tf.TensorSpec([], tf.int32)]
        )

    def call(self, inputs, training=False):
        """Mean and standard deviation of each y_t given those before it, ``[B, T, 2 m]``."""
        panel = self._tensors(inputs)
        scaled, scale = self._scaled(panel.y)
        ssm = self._structure.state_space_model(panel, self._emitter(panel, training=training))
        result = self._filtered(ssm, scaled, on_failure="raise")
        predicted = tf.tile(scale, [1, 1, 2]) * joined(*predicted_observations(ssm, result))
        return tf.cast(predicted, self.variable_dtype)

    def compile(
        self,
        optimizer="adam",
        *,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile=False,
        auto_scale_loss=True,
    ):
        """Says how to train. The loss is the likelihood: there is none to choose.

        Args:
          optimizer: of Keras, by name or as an object.
          run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: as of other models.
        """
        super().compile(
            optimizer=optimizer,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
            auto_scale_loss=auto_scale_loss,
        )

    def compile_from_config(self, config):
        """Compiles a model that was loaded, with what it had been compiled with."""
        config = keras.saving.deserialize_keras_object(config)
        names = ("optimizer", "run_eagerly", "steps_per_execution", "jit_compile")
        self.compile(**{name: config[name] for name in names})
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, *, validation_data=None, **options):
        """Trains by maximum likelihood; returns the ``History`` of Keras.

        The loss is minus the log-likelihood per observed value, of the scaled series.

        Args:
          x: the inputs as arrays, a long frame of series without covariates (for others see
            :meth:`panel`), or a ``tf.data.Dataset`` of batches of such inputs, dicts.
          y: None; the series are part of x.
          validation_data: as x.
          **options: ``epochs``, ``batch_size``, ``callbacks``, ``verbose``, ... of
            ``keras.Model.fit``; not weights of samples or classes.

        Raises:
          ValueError: y is given; or covariates are not finite, a shape does not fit, ....
        """
        if y is not None:
            raise ValueError(
                f"{_OP}: fit takes the series as part of x, and no y: fit({{'y': series, "
                f"'covariates': ...}})."
            )
        for name in ("sample_weight", "class_weight"):
            if options.get(name) is not None:
                raise ValueError(f"{_OP}: fit takes no {name}; the likelihood weighs all alike.")
        x, validation_data = (self._readable(data) for data in (x, validation_data))
        return super().fit(x, validation_data=validation_data, **options)

    def train_step(self, data):
        """One step of the optimiser; see ``keras.Model``."""
        with tf.GradientTape() as tape:
            loss, count = self._loss(data, training=True)
            # Gradients are added up over the replicas of a strategy, of which each has its series.
            share = tf.cast(count / _over_replicas(count), loss.dtype)
            others = sum(self.losses) / tf.distribute.get_strategy().num_replicas_in_sync
            total = self.optimizer.scale_loss(share * loss + others)
        weights = self.trainable_weights
        gradients = tape.gradient(total, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self._loss_mean.update_state(loss, sample_weight=count)
        return self.get_metrics_result()

    def test_step(self, data):
        """The loss of a batch; see ``keras.Model``."""
        self._loss_mean.update_state(*self._loss(data, training=False))
        return self.get_metrics_result()

    @property
    def metrics(self):
        """The mean loss."""
        return [self._loss_mean]

    def get_config(self):
        """Everything that ``from_config`` needs.

        Raises:
          NotImplementedError: the base model is made of functions, as ``Custom`` models are.
        """
        encoder = self._encoder_name or keras.saving.serialize_keras_object(self.encoder)
        return {
            **super().get_config(),
            "fix": plain(self._structure.fix),
            "initial_values": plain(self._structure.initial_values),
            "base_model": written(_OP, self.base_model),
            "encoder": encoder,
            "num_categories": self.num_categories,
            "embedding_dim": self.embedding_dim,
            "scaling": self.scaling,
            "smallest_scale": self.smallest_scale,
            "algorithm": self.algorithm,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """The model of a config, without weights."""
        encoder = config["encoder"]
        if not isinstance(encoder, str):
            encoder = copy.deepcopy(encoder)  # which Keras takes apart
            encoder = keras.saving.deserialize_keras_object(encoder, custom_objects)
        return cls(**{**config, "base_model": read(config["base_model"]), "encoder": encoder})

    # What users ask for.

    def panel(self, x, *, covariates=None, static=None, category=None, features=None):
        """Users' data as the arrays that ``fit``, ``evaluate`` and ``predict`` take.

        Args:
          x: a long DataFrame with the columns ``unique_id``, ``ds`` and ``y``; or the inputs as
            arrays; or y as other pandas objects.
          covariates, static, features: of a long frame names of its columns, in a list; of the
            others arrays, unless they are part of x.
          category: name of a column of whole numbers, or an array.

        Returns:
          Dict of arrays by the names of the inputs. All series begin at the first step.

        Raises:
          ValueError: as :func:`statespace.networks.panel.read_panel`.
        """
        return self._read(x, (covariates, static, category, features))[0].given()

    def forecast(
        self,
        x,
        horizon,
        *,
        covariates=None,
        static=None,
        category=None,
        features=None,
        future=None,
    ):
        """Distributions of the steps that follow each series' last.

        Args:
          x: histories, of series that may be new to the model; as for :meth:`panel`.
          horizon: number of steps h, a positive whole number.
          covariates, static, category, features: as for :meth:`panel`. As arrays, covariates and
            features cover T + h steps, and those to come follow each series' own last.
          future: with a long frame, another one with ``unique_id``, ``ds``, and the columns of
            covariates and features at the steps to come.

        Returns:
          A :class:`statespace.forecasting.Forecast`, in the form of the data and in their units:
          ``mean``, ``quantile``, ``interval``, ``sample``, ``to_frame``, ``plot``. A series
          without any observation has no scale; its forecast is NaN, with a warning.

        Raises:
          ValueError: ``horizon`` is not a positive whole number, covariates do not reach so far, or
            as :meth:`panel`.
        """
        horizon = positive_int(_OP, "horizon", horizon)
        parts = covariates, static, category, features
        panel, layout, values = self._read(x, parts, horizon, future)
        return forecast_panel(self, panel, layout, values, horizon)

    def log_likelihood(self, x) -> tf.Tensor:
        """The log-likelihood of each series, ``[B]``, in the units of the data.

        Args:
          x: the inputs, arrays.
        """
        panel = self._tensors(x)
        scaled, scale = self._scaled(panel.y)
        observed = tf.cast(tf.logical_not(tf.math.is_nan(scaled)), tf.float64)
        change = tf.reduce_sum(observed * tf.math.log(scale), axis=[1, 2])
        return self._log_likelihood(panel, scaled, training=False) - change

    def emitted(self, x) -> dict[str, tf.Tensor]:
        """What the network says of each series, in units of its scale, float64.

        Args:
          x: the inputs, arrays.

        Returns:
          Dict with the scales of the noise at each step by the parameters' names,
          ``[B, T, *shape]``, and ``initial_mean`` and ``initial_scale``, ``[B, n]``.
        """
        emitted = self._emitter(self._tensors(x))
        return self._structure.by_name(emitted.scales) | {
            "initial_mean": emitted.initial_mean,
            "initial_scale": emitted.initial_scale,
        }

    def state_space_model(self, x) -> LinearGaussianSSM:
        """The model of each series, in the units of the data, for the functions of ``statespace``.

        Args:
          x: the inputs, arrays.

        Returns:
          A float64 :class:`statespace.LinearGaussianSSM` with batch axis ``[B]``. Its states are in
          units of the series' scales.
        """
        panel = self._tensors(x)
        ssm = self._structure.state_space_model(panel, self._emitter(panel))
        return multiplied(ssm, self._scaled(panel.y)[1])

    def steps_ahead(self, inputs, horizon):
        """Moments of the steps to come, and the models that lead through them.

        Args:
          inputs: dict of arrays over T + h steps, with lengths, which count the h steps as well.
          horizon: number of steps h.

        Returns:
          Status of the filter ``[B]``, 0 or the step that failed, counted from one; means and
          covariances of the observations, and of the states in units of the series' scales,
          ``[B, h, m]``, ``[B, h, m, m]``, ``[B, h, n]`` and ``[B, h, n, n]``, given the data
          before; and the models of these steps alone.
        """
        if not self.built:
            self.build({name: np.shape(x) for name, x in inputs.items()})
        check_built(_OP, self._sizes_of(shapes_of(named(_OP, inputs))), self._sizes)
        return self._run_ahead(inputs, tf.constant(horizon))

    @property
    def parameters(self) -> dict[str, tf.Tensor]:
        """The parameters of the base model that all series share, by name, float64."""
        return self._structure.parameters()

    @property
    def base_model(self):
        """The structural model."""
        return self._structure.model

    @property
    def encoder(self):
        """The layer or model of Keras over the covariates."""
        return self._emitter.encoder

    # The rest.

    def _read(self, x, parts, horizon=0, future=None):
        """Arrays, and the layout of the data, of inputs and what is given besides."""
        given = named(_OP, x)
        for name, value in zip(
            ("covariates", "static", "category", "features"), parts, strict=True
        ):
            if value is not None:
                if getattr(given, name) is not None:
                    raise ValueError(f"{_OP}: {name} are given twice, in the inputs and besides.")
                given = given._replace(**{name: value})
        return read_panel(_OP, given, self.base_model.num_observed, horizon=horizon, future=future)

    def _readable(self, data):
        """Arrays and frames as a dict of arrays, checked; datasets as they are."""
        is_array = isinstance(data, dict | tuple | list) or hasattr(data, "shape")
        return self.panel(data) if is_array else data

    def _sizes_of(self, shapes):
        model = self.base_model
        has_categories = self.num_categories is not None
        return sizes_of(_OP, shapes, model.num_observed, model.num_features, has_categories)

    def _tensors(self, inputs) -> Panel:
        """The inputs as the network computes with them; makes the weights if there are none."""
        given = to_tensors(named(_OP, inputs))
        shapes = shapes_of(given)
        if not self.built:
            self.build(shapes.given())
        check_built(_OP, self._sizes_of(shapes), self._sizes)
        return prepared(_OP, given, self.compute_dtype, self.num_categories)

    def _scaled(self, y):
        """Series divided by their scales, and these, ``[B, 1, m]``."""
        if not self.scaling:
            return y, tf.ones_like(y[:, :1])
        seen = tf.logical_not(tf.math.is_nan(y))
        count = tf.reduce_sum(tf.cast(seen, tf.float64), axis=1, keepdims=True)
        total = tf.reduce_sum(tf.where(seen, tf.abs(y), 0.0), axis=1, keepdims=True)
        scale = tf.where(total > 0, total / tf.maximum(count, 1.0), 1.0)
        return y / scale, scale

    def _filtered(self, ssm, scaled, on_failure):
        form = {"algorithm": self.algorithm, "on_failure": on_failure}
        return kalman_filter(ssm, scaled, scales=False, **form)

    def _log_likelihood(self, panel, scaled, training):
        """Of the scaled series, ``[B]``."""
        ssm = self._structure.state_space_model(panel, self._emitter(panel, training=training))
        return log_likelihood(ssm, scaled, algorithm=self.algorithm, on_failure="raise")

    def _loss(self, data, training):
        """Minus the log-likelihood per observed value, and the number of these."""
        panel = self._tensors(data)
        scaled, _ = self._scaled(panel.y)
        total = tf.reduce_sum(self._log_likelihood(panel, scaled, training))
        seen = tf.logical_not(tf.math.is_nan(scaled))
        count = tf.math.count_nonzero(seen, dtype=tf.float64)
        return tf.cast(-total / tf.maximum(count, 1.0), self.variable_dtype), count

    def _ahead(self, inputs, horizon):
        """What ``steps_ahead`` returns, in a graph."""
        panel = self._tensors(inputs)
        scaled, scale = self._scaled(panel.y)
        emitted = self._emitter(panel)
        ssm = self._structure.state_space_model(panel, emitted)
        result = self._filtered(ssm, scaled, on_failure="nan")
        lengths = tf.cast(inputs["lengths"], tf.int32)
        places = (lengths - horizon)[:, tf.newaxis] + tf.range(horizon)

        def ahead(x):
            return tf.gather(x, places, axis=1, batch_dims=1)

        means, covariances = ahead(result.predicted_mean), ahead(result.predicted_covariance)
        features = None if panel.features is None else ahead(panel.features)
        later = self._structure.state_space_model(
            Panel(ahead(panel.y), features=features),
            Emitted(ahead(emitted.scales), means[:, 0], emitted.initial_scale),
        )
        later = replaced(later, initial_scale=psd_cholesky(covariances[:, 0]))
        later = multiplied(later, scale)
        observed = observed_moments(later, means, covariances)
        return result.info, *observed, means, covariances, later


def _over_replicas(count):
    """The sum over the replicas of a ``tf.distribute`` strategy, at least one."""
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        count = context.all_reduce(tf.distribute.ReduceOp.SUM, count)
    return tf.maximum(count, 1)
