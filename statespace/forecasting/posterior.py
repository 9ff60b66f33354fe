"""Bayesian fits: draws of the parameters by Hamiltonian Monte Carlo or a variational Gaussian."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from statespace.forecasting.curvature import informations
from statespace.forecasting.errors import InputError
from statespace.forecasting.maximum_likelihood import Estimates, maximise
from statespace.forecasting.mixture import MixtureForecast
from statespace.forecasting.results import FitResult
from statespace.models.parameters import Parameterisation
from statespace.optimise import minimise

NUM_CHAINS = 4
NUM_DRAWS = 500  # of each chain, after as many to warm up
_PARTS = 10  # of the draws, and of the warm-up: how often control-C is looked for
_VARIATES = 64  # of the deterministic variational objective


@dataclass(frozen=True, eq=False)
class PosteriorResult(FitResult):
    """A fit with draws from the posterior distribution of its parameters.

    ``params`` are posterior means and ``standard_errors`` posterior standard deviations; forecasts
    average over the draws, so they allow for the uncertainty about parameters. Smoothed states,
    components and diagnostics take the means for the parameters.

    Attributes:
      draws: dict from name to values ``[S, N, *shape]``, S draws for each of N series.
      chains: number of chains the draws come from, one after the other; 1 for ``"vi"``.
    """

    draws: Any = None
    chains: int = 1

    @cached_property
    def _params(self):
        return {name: values.mean(axis=0) for name, values in self.draws.items()}

    def standard_errors_by(self, information="posterior"):
        """Posterior standard deviations by name."""
        return {
            name: self.layout.per_series(values.std(axis=0)) for name, values in self.draws.items()
        }

    @property
    def standard_errors(self):
        """Posterior standard deviations by name."""
        return self.standard_errors_by()

    @property
    def at_boundary(self):
        """Nowhere: a posterior mean is inside the domain."""
        return {
            name: self.layout.per_series(np.zeros(value.shape, bool))
            for name, value in self._params.items()
        }

    def potential_scale_reduction(self) -> dict:
        """R-hat of each parameter: near one where the chains agree.

        References:
          Gelman, A. and Rubin, D. B. (1992), Statistical Science 7, 457-472, with chains split in
          halves.
        """
        reduction = {}
        for name, values in self.draws.items():
            within, between = _variances(values, self.chains)
            length = len(values) // (2 * self.chains)
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = np.sqrt((length - 1) / length + between / within)
            reduction[name] = self.layout.per_series(np.where(within > 0, ratio, 1.0))
        return reduction

    def forecast(self, horizon, features=None, times=None, num_draws=200):
        """As :meth:`FitResult.forecast`, averaged over posterior draws.

        Args:
          horizon, features, times: as there.
          num_draws: number of draws, evenly spaced, to average over.

        Returns:
          A :class:`statespace.forecasting.mixture.MixtureForecast`.
        """
        total = len(next(iter(self.draws.values())))
        chosen = np.linspace(0, total - 1, min(num_draws, total)).round().astype(int)
        forecasts = []
        for s in chosen:
            params = {name: values[s] for name, values in self.draws.items()}
            forecasts.append(self.at(params).forecast(horizon, features, times))
        return MixtureForecast.of(self, forecasts)

    def selected(self, part, layout):
        """The same for some of the series; see :meth:`FittedModel.selected`."""
        draws = {name: values[:, part] for name, values in self.draws.items()}
        return replace(super().selected(part, layout), draws=draws)

    def at(self, params) -> FitResult:
        """The ordinary result at given parameter values, dict of ``[N, *shape]``."""
        problem = replace(
            self.problem, parameterisation=Parameterisation(()), fixed=params, priors=None
        )
        estimates = self.estimates._replace(free=np.empty((len(self.values), 0)))
        return FitResult(problem, self.layout, self.method, (), estimates, self.start)


def sample_posterior(problem, method, num_starts, seed, bar) -> tuple[Estimates, dict, int]:
    """Draws from the posterior: ``"hmc"``, the No-U-Turn sampler, or ``"vi"``.

    Both begin with the mode of the posterior density of the free coordinates, u, and work in the
    coordinates z = L' (u - mode), where L L' is the information there, so that the posterior is
    about a standard normal.

    ``"hmc"`` runs four chains for each series, all series and chains at once, with 500 steps to
    warm up, in which the step size adapts, and 500 draws. ``"vi"`` fits a normal distribution with
    any covariance by maximising the evidence lower bound over fixed variates, which makes it an
    ordinary deterministic optimisation, and draws 2000 times from it.

    Args:
      problem: a :class:`statespace.forecasting.likelihood.Problem` of N series, with priors.
      method: ``"hmc"`` or ``"vi"``.
      num_starts: how many starting values the mode is sought from.
      seed: of the draws.
      bar: told how far things are.

    Returns:
      Estimates of the mode, of which ``converged`` says whether the draws have settled; draws of
      all parameters, dict of [S, N, *shape]; and the number of chains that they are from.

    References:
      Hoffman, M. D. and Gelman, A. (2014). The No-U-Turn sampler. JMLR 15, 1593-1623.
      Giordano, R., Ingram, M. and Broderick, T. (2024). Black box variational inference with a
      deterministic objective. JMLR 25, 1-39.
    """
    problem = replace(problem, jacobian=True)
    if problem.size == 0:
        raise InputError(f"method {method!r}: every parameter is fixed; there is nothing to draw.")
    start = maximise(problem, num_starts, (), bar)
    information = informations(problem, start.free)
    usable = np.isfinite(information).all(axis=(1, 2), keepdims=True)
    information = np.where(usable, information, np.eye(problem.size))
    # u = mode + root z, with root root' the inverse of the information.
    root = np.swapaxes(np.linalg.inv(np.linalg.cholesky(information)), 1, 2)
    draw = {"hmc": _hmc, "vi": _vi}[method]
    free, fine, chains = draw(problem, start.free, root, seed, bar)
    draws = _values(problem, free)
    message = np.where(fine, "", "the draws were interrupted or have not settled").astype(object)
    message = np.where(np.isnan(start.log_likelihood), start.message, message)
    return start._replace(converged=fine, message=message), draws, chains


def _values(problem, free):
    """Draws of all parameters: free [S, N, p] to dict of [S, N, *shape]."""
    values = problem.parameterisation.values(tf.constant(free), problem.units)
    draws = {name: value.numpy() for name, value in values.items()}
    fixed = {
        name: np.broadcast_to(value, (len(free), *value.shape))
        for name, value in problem.fixed.items()
    }
    return {p.name: (draws | fixed)[p.name] for p in problem.model.parameters}


def _variances(draws, chains):
    """Variances within and between the halves of the chains of draws [S, ...]."""
    halves = draws.reshape(2 * chains, -1, *draws.shape[1:])
    return halves.var(axis=1, ddof=1).mean(axis=0), halves.mean(axis=1).var(axis=0, ddof=1)


def _hmc(problem, mode, root, seed, bar):
    import tensorflow_probability as tfp

    count, size = mode.shape
    series = np.tile(np.arange(count), NUM_CHAINS)
    centre, spread = (
        tf.constant(np.tile(x, (NUM_CHAINS, *[1] * (x.ndim - 1)))) for x in (mode, root)
    )
    height = problem.traceable(series)

    def target(z):
        value = height(centre + tf.linalg.matvec(spread, z))
        return tf.where(tf.math.is_finite(value), value, tf.constant(-np.inf, value.dtype))

    kernel = tfp.mcmc.DualAveragingStepSizeAdaptation(
        tfp.mcmc.NoUTurnSampler(
            target,
            step_size=tf.fill([len(series), 1], tf.constant(0.5, tf.float64)),
            max_tree_depth=8,
        ),
        num_adaptation_steps=int(0.8 * NUM_DRAWS),
    )

    steps = max(1, NUM_DRAWS // _PARTS)

    @tf.function(autograph=False)
    def some_more(state, kernel_results, seed):
        return tfp.mcmc.sample_chain(
            steps,
            state,
            previous_kernel_results=kernel_results,
            kernel=kernel,
            trace_fn=None,
            return_final_kernel_results=True,
            seed=seed,
        )

    start = np.random.default_rng(seed).normal(size=(len(series), size))
    state = tf.constant(start)
    kernel_results = kernel.bootstrap_results(state)
    parts, warm_up = [], NUM_DRAWS // steps
    try:
        for part in range(2 * warm_up):
            z, _, kernel_results = some_more(state, kernel_results, tf.constant([seed, part]))
            state = z[-1]
            parts.append(z.numpy())
            bar.to((part + 1) / (2 * warm_up))
    except KeyboardInterrupt:
        if len(parts) <= warm_up:
            raise
    z = np.concatenate(parts[warm_up:]).reshape(-1, NUM_CHAINS, count, size)
    z = np.swapaxes(z, 0, 1).reshape(-1, count, size)
    within, between = _variances(z, NUM_CHAINS)
    settled = (between < 0.1 * within).all(axis=-1)  # R-hat below about 1.05
    settled &= len(parts) == 2 * warm_up
    return mode + np.einsum("nij,snj->sni", root, z), settled, NUM_CHAINS


def _vi(problem, mode, root, seed, bar):
    from scipy.special import ndtri
    from scipy.stats import qmc

    count, size = mode.shape
    lower = np.tril_indices(size)
    diagonal = lower[0] == lower[1]
    points = qmc.Sobol(size, seed=seed).random(_VARIATES // 2)
    variates = ndtri(np.clip(points, 1e-12, 1 - 1e-12))
    variates = np.concatenate([variates, -variates])  # so that means are exact

    def unpack(x):
        location, scale = x[:, :size], np.zeros((len(x), size, size))
        entries = x[:, size:].copy()
        entries[:, diagonal] = np.exp(entries[:, diagonal])
        scale[:, lower[0], lower[1]] = entries
        return location, scale

    def objective(x, members):
        location, scale = unpack(x)
        z = location[:, np.newaxis] + np.einsum("nij,sj->nsi", scale, variates)
        free = mode[members][:, np.newaxis] + np.einsum("nij,nsj->nsi", root[members], z)
        value, gradient = problem.objective(
            free.reshape(-1, size), np.repeat(members, len(variates))
        )
        gradient = np.einsum("nji,nsj->nsi", root[members], gradient.reshape(z.shape))
        bound = value.reshape(len(x), -1).mean(axis=1) + x[:, size:][:, diagonal].sum(axis=1)
        slope = np.einsum("nsi,sj->nij", gradient, variates) / len(variates)
        entries = slope[:, lower[0], lower[1]]
        entries[:, diagonal] = entries[:, diagonal] * np.exp(x[:, size:][:, diagonal]) + 1.0
        return -bound, -np.concatenate([gradient.mean(axis=1), entries], axis=1)

    start = np.zeros((count, size + len(diagonal)))
    limits = np.tile([[-20.0], [20.0]], (1, start.shape[1]))
    found = minimise(objective, start, limits, value_tolerance=1e-9, progress=bar.to)
    location, scale = unpack(found.x)
    z = np.random.default_rng(seed).normal(size=(NUM_CHAINS * NUM_DRAWS, count, size))
    z = location + np.einsum("nij,snj->sni", scale, z)
    return mode + np.einsum("nij,snj->sni", root, z), found.converged, 1
