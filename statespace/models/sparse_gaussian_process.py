"""Gaussian process regression on many observations, by way of a few inducing points."""

import types

import numpy as np
import tensorflow as tf

from statespace.linalg_ops.arguments import positive_int
from statespace.models.gaussian_process_arguments import Observations, inputs, observations
from statespace.models.gaussian_process_fit import Objectives, Problem
from statespace.models.gaussian_process_parameters import (
    NOISE,
    InducingPoints,
    checked_values,
    kernel_at,
    mean_at,
    parameters_of,
)
from statespace.models.gaussian_process_posterior import FunctionPosterior
from statespace.models.sparse_gaussian_process_inference import (
    condition,
    predict,
    predict_jointly,
)

INDUCING = "inducing_points"
# In nats for each observation, whatever the unit of y makes of the bound.
_TOLERANCE = {"value_tolerance": 1e-7, "by_observation": True}
_SAMPLE = 5000  # observations on which the search begins
_ROUNDS = 2
_MEMORY = 50  # of L-BFGS: inducing points act together


class SparseGaussianProcess:
    """A Gaussian process whose posterior depends on its values at m inducing points.

    Kernel, mean and noise are those of :class:`statespace.models.GaussianProcess`. Inducing points
    are parameters too: all are learnt by maximising a lower bound of the marginal likelihood, in
    n m^2 operations and with memory for a few matrices of m rows beside the data. There are no
    batch axes: one data set of the size that this is for keeps a machine busy.

    Args:
      kernel, mean, parameters: as for :class:`statespace.models.GaussianProcess`.
      num_inducing: m, a positive int.

    Raises:
      ValueError: as there, or ``num_inducing`` is not a positive int.

    References:
      Titsias, M. (2009). Variational learning of inducing variables in sparse Gaussian processes.
      AISTATS.

    Example:

      >>> import numpy as np, tensorflow_probability as tfp, statespace as ss
      >>> def kernel(amplitude, length_scale):
      ...     return tfp.math.psd_kernels.ExponentiatedQuadratic(amplitude, length_scale)
      >>> rng = np.random.default_rng(0)
      >>> x = rng.uniform(0, 6, size=(1000, 1))
      >>> y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=1000)
      >>> post = ss.models.SparseGaussianProcess(kernel, num_inducing=10).fit(x, y)
      >>> prediction = post.predict(np.array([[3.0]]), noise=False)
      >>> print(prediction.mean().numpy().round(2), np.sin(3.0).round(2))
      [0.14] 0.14
    """

    feature_map = None

    def __init__(self, kernel, num_inducing, mean=None, *, parameters=()):
        self.kernel, self.mean = kernel, mean
        self.num_inducing = positive_int("SparseGaussianProcess", "num_inducing", num_inducing)
        self.parameters = parameters_of(kernel, mean, parameters)
        self._objectives = {}  # by the number of features

    def log_bound(self, params, x, y, *, error_variance=None) -> tf.Tensor:
        """The collapsed bound, which is not above the log marginal likelihood.

        Differentiable once.

        Args:
          params: dict with the value ``[..., *shape]`` of each parameter and ``inducing_points``,
            ``[..., m, d]``.
          x: inputs, ``[n, d]``.
          y: observations, ``[n]``.
          error_variance: known variance of each observation's own error, ``[n]``.

        Raises:
          ValueError: an argument has the wrong names, shape or dtype, or a value is not finite.
        """
        data = self._observations(x, y, error_variance)
        values = checked_values(self._with_inducing(data), params, data.x.dtype, ())
        return self._condition(values, data).bound

    def condition(self, x, y, params, *, error_variance=None) -> "SparsePosterior":
        """The posterior at given values of the parameters and inducing points.

        Args:
          x, y, params, error_variance: as for ``log_bound``.

        Raises:
          ValueError: as for ``log_bound``; or the bound is not finite.
        """
        data = self._observations(x, y, error_variance)
        values = checked_values(self._with_inducing(data), params, data.x.dtype, ())
        return SparsePosterior(self, data, values)

    def fit(
        self, x, y, *, error_variance=None, fix=None, num_starts=1, max_iterations=500
    ) -> "SparsePosterior":
        """Learns parameters and inducing points by maximising the bound.

        L-BFGS of parameters and inducing points together, until two steps in succession gain less
        than 1e-7 nats for each observation. The inducing points start at those inputs that the ones
        chosen before leave the largest variance at. One more start than asked for is where the
        parameters alone are best, with such points fixed. Of more than five thousand observations
        so many are drawn, on which all starts are tried; the best is followed on all observations.

        Args:
          x, y, error_variance: as for ``log_bound``.
          fix: dict from the names of parameters that are not learnt, ``inducing_points`` possibly
            among them, to their values.
          num_starts: how many starting points, which differ in the parameters, a positive int.
          max_iterations: number of evaluations of the bound in each of these searches.

        Raises:
          ValueError: as for ``log_bound``; ``fix`` has a name that is not a parameter's; or there
            are no more observations than inducing points.

        References:
          Burt, D. R., Rasmussen, C. E. and van der Wilk, M. (2020). Convergence of sparse
          variational inference in Gaussian processes regression. JMLR 21, section 4.1.
        """
        data = self._observations(x, y, error_variance)
        num_starts = positive_int("SparseGaussianProcess.fit", "num_starts", num_starts)
        if (data.x.shape[0] or 0) <= self.num_inducing:
            raise ValueError(
                f"SparseGaussianProcess.fit: x has shape {data.x.shape}; with no more observations "
                f"than num_inducing = {self.num_inducing}, use GaussianProcess."
            )
        fix = fix or {}
        problem = self._problem(data, fix)
        search = {"memory": _MEMORY, "max_iterations": max_iterations, **_TOLERANCE}
        if INDUCING in fix:
            starts = problem.starting_points(num_starts)
        else:
            sample = self._sample(data)
            starts = self._starts(sample, fix, num_starts, search)
            if sample is not data:
                found, _ = self._problem(sample, fix).maximise(starts, **search)
                starts = problem.starting_points(1, _guesses(found))
        params, converged = problem.maximise(starts, **search)
        return SparsePosterior(self, data, params, converged)

    def _problem(self, data, fix):
        parameters = self._with_inducing(data)
        columns = data.x.shape[-1]
        if columns not in self._objectives:
            self._objectives[columns] = Objectives(
                parameters, lambda values, data: self._condition(values, data).bound
            )
        model = types.SimpleNamespace(parameters=parameters, mean=self.mean, features=lambda x: x)
        return Problem(self._objectives[columns], model, data, fix)

    def _sample(self, data):
        """Some of the observations, or all if there are not so many."""
        size = max(_SAMPLE, 2 * self.num_inducing)
        if data.x.shape[0] <= size:
            return data
        some = np.sort(np.random.default_rng(0).permutation(data.x.shape[0])[:size])
        return Observations(
            tf.gather(data.x, some),
            tf.gather(data.y, some),
            # One value may stand for all.
            data.error_variance
            if data.error_variance is None or data.error_variance.shape.num_elements() == 1
            else tf.gather(data.error_variance, some),
        )

    def _starts(self, sample, fix, num_starts, search):
        """Points ``[num_starts + 1, 1, P]`` from which to learn all there is from a sample.

        The inducing points suit the kernel in the middle of the starting ranges. For the last
        start, the other parameters are learnt with them fixed, which takes a few evaluations;
        points that suit these come next, and parameters once more.
        """
        problem = self._problem(sample, fix)
        found = {
            name: value[0] for name, value in problem.values(problem.starting_points(1)[0]).items()
        }
        starts = []
        for _ in range(_ROUNDS):
            points = self._spread_out(self._kernel_at(found), sample.x)
            if not starts:
                starts = [problem.starting_points(num_starts, {INDUCING: points[np.newaxis]})]
            inner = self._problem(sample, {**fix, INDUCING: points})
            found, _ = inner.maximise(inner.starting_points(1, _guesses(found)), **search)
        starts.append(problem.starting_points(1, _guesses(found)))
        return np.concatenate(starts)

    def _with_inducing(self, data):
        shape = (self.num_inducing, data.x.shape[-1])
        return (*self.parameters, InducingPoints(INDUCING, shape))

    def _observations(self, x, y, error_variance) -> Observations:
        data = observations(x, y, error_variance)
        if data.x.shape.rank != 2 or data.y.shape.rank != 1:
            raise ValueError(
                f"SparseGaussianProcess: x has shape {data.x.shape} and y {data.y.shape}; they "
                "must be [n, d] and [n]."
            )
        return data

    def _kernel_at(self, params):
        return kernel_at(self.kernel, params, params[NOISE].dtype)

    def _mean_at(self, params, x):
        return mean_at(self.mean, params, self.parameters, x)

    def _condition(self, params, data):
        noise = params[NOISE][..., tf.newaxis]
        if data.error_variance is not None:
            noise += data.error_variance
        params = dict(params)
        inducing = params.pop(INDUCING)
        residual = data.y - self._mean_at(params, data.x)
        return condition(self._kernel_at, params, inducing, data.x, residual, noise)

    def _spread_out(self, kernel, x):
        """Inputs ``[m, d]`` by a Cholesky factorisation that takes the largest pivot each time."""
        left = kernel.apply(x, x, example_ndims=1).numpy()
        least = 1e-12 * np.max(left)
        columns = np.zeros((0, len(left)))
        chosen = []
        for _ in range(self.num_inducing):
            i = int(np.argmax(left))
            chosen.append(i)
            column = kernel.apply(x, x[i : i + 1], example_ndims=1).numpy()
            column = (column - columns[:, i] @ columns) / np.sqrt(max(left[i], least))
            columns = np.concatenate([columns, column[np.newaxis]])
            left = left - column**2
            left[i] = -np.inf  # no point twice
        return x.numpy()[chosen]


def _guesses(params):
    """Values ``[1, *shape]`` of one data set, by name, for its starting points."""
    return {name: value[tf.newaxis] for name, value in params.items()}


class SparsePosterior(FunctionPosterior):
    """What ``fit`` and ``condition`` of :class:`SparseGaussianProcess` return.

    Attributes:
      params: dict from each parameter's name to its value; ``inducing_points`` is one of them.
      log_bound: the bound of the log marginal likelihood.
      converged: of a fit, whether the maximum was found; None without a fit.
    """

    def __init__(self, model, data: Observations, params, converged=None):
        self._model, self._like, self.params, self.converged = model, data.x, params, converged
        self._given = model._condition(params, data)
        self.log_bound = self._given.bound
        if tf.executing_eagerly() and not np.all(np.isfinite(self.log_bound)):
            raise ValueError(
                "SparseGaussianProcess: the bound is not finite: a parameter is out of its range, "
                "or the kernel is not positive semidefinite."
            )

    def _inputs(self, x):
        return inputs("x", x, self._like)

    def mean_and_variance(self, x) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and variance of f at inputs ``[M, d]``, each by itself: ``[M]``."""
        x = self._inputs(x)
        mean, variance = predict(self._given, self._model._kernel_at(self.params), x)
        return mean + self._model._mean_at(self.params, x), variance

    def joint(self, x):
        """The joint distribution of f at inputs ``[M, d]``, a TFP ``MultivariateNormalTriL``.

        Raises:
          ValueError: x has the wrong shape or dtype.
          tf.errors.InvalidArgumentError: the covariance is not positive semidefinite.
        """
        import tensorflow_probability as tfp

        x = self._inputs(x)
        mean, scale = predict_jointly(self._given, self._model._kernel_at(self.params), x)
        mean += self._model._mean_at(self.params, x)
        return tfp.distributions.MultivariateNormalTriL(mean, scale)
