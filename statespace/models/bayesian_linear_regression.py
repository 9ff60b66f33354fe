"""Bayesian linear regression, for one or many independent data sets at once."""

import numpy as np
import tensorflow as tf

from statespace.models import regression_array
from statespace.models.regression_arguments import observations
from statespace.models.regression_fit import Problem
from statespace.models.regression_posterior import FittedState, RegressionPosterior
from statespace.models.regression_priors import prior_of

_OP = "BayesianLinearRegression"


class BayesianLinearRegression(RegressionPosterior):
    """y = intercept + x' w + noise, with a prior over w, and over the noise if it is not known.

    The data are kept as a triangle of at most D + 2 rows, to which observations can be added and
    from which they can be taken away; all else is computed from it by one more LQ factorisation. No
    normal equations are formed, so designs may be ill-conditioned, and with a prior of finite scale
    of any rank. With fewer observations than features the work is of the order N^2 D.

    Leading axes are independent regressions with their own priors, scales and results.

    Args:
      prior: one of

        * "evidence": scales of noise and weights where the evidence (the marginal likelihood) is
          highest, one scale for all weights;
        * "ard": the same with a scale for each weight; with as many features as observations or
          more, give :class:`EvidencePrior` the noise;
        * "flat": nothing known about weights and noise, which gives least squares with Student's t;
        * a :class:`FixedPrior`, :class:`EvidencePrior`, :class:`NormalInverseGamma` or
          :class:`ZellnerG`.
      intercept: whether there is a constant, with a flat prior.

    Attributes:
      prior, intercept_wanted: as given.

    Raises:
      ValueError: ``prior`` is none of these.

    References:
      Seeger et al., Auto-Differentiating Linear Algebra, arXiv:1710.08717.
      MacKay, D. J. C. (1992). Bayesian interpolation. Neural Computation 4.
      Tipping, M. E. (2001). Sparse Bayesian learning and the relevance vector machine. JMLR 1.

    Example:

      >>> import numpy as np
      >>> import statespace as ss
      >>> rng = np.random.default_rng(0)
      >>> x = rng.normal(size=(50, 3))
      >>> y = x @ [1.0, 0.0, -2.0] + 0.5 * rng.normal(size=50)
      >>> model = ss.models.BayesianLinearRegression().fit(x, y)
      >>> print(model.coefficients.numpy().round(2), f"{model.noise_scale:.2f}")
      [ 1.08 -0.07 -1.96] 0.48
      >>> prediction = model.predict(x[:1])
      >>> print(prediction.mean().numpy().round(2), prediction.stddev().numpy().round(2))
      [-1.16] [0.49]
    """

    def __init__(self, prior="evidence", *, intercept=True):
        self.prior = prior
        self.intercept_wanted = bool(intercept)
        self._prior = prior_of(prior)

    def __repr__(self):
        intercept = "" if self.intercept_wanted else ", intercept=False"
        return f"BayesianLinearRegression({self.prior!r}{intercept})"

    def fit(self, x, y, *, weights=None, repetitions=None, refine=False):
        """Estimates weights, and scales if the prior says so.

        Args:
          x: features, ``[..., N, D]``, float32 or float64.
          y: observations, ``[..., N]``.
          weights: precision of each observation relative to the others, ``[..., N]``; the variance
            of its noise is noise_scale^2 / weight. An observation of weight zero does not count.
          repetitions: how often each observation occurs, ``[..., N]``, whole or not. Coefficients
            follow from the product of both; but repetitions count as observations, from which the
            noise is known the better.
          refine: correct coefficients and residuals by iterative refinement, until they are as
            accurate as the dtype allows for the data as given. Costs some more passes over them,
            and D^3 operations with fewer observations than features too.

        Returns:
          self.

        Raises:
          ValueError: shapes do not fit, a value is not finite, a weight is negative, the prior says
            nothing about a weight that the data do not determine either, or y is constant and its
            noise to be estimated; or this is part of a graph.
        """
        data = observations("fit", x, y, weights, repetitions)
        array = regression_array.collect(data, self.intercept_wanted)
        return self._settle(array, data if refine else None)

    def update(self, x, y, *, weights=None, repetitions=None):
        """Takes in further observations; the result is that of one fit to all of them.

        Args:
          x, y, weights, repetitions: as for ``fit``; batch axes as there.

        Returns:
          self.
        """
        others = self._others("update", x, y, weights, repetitions)
        return self._settle(regression_array.add(self._fitted.array, others))

    def downdate(self, x, y, *, weights=None, repetitions=None):
        """Takes observations away again; the result is that of a fit to the others.

        What is lost of the digits is what the observations had over the others in size.

        Raises:
          ValueError: they cannot have been part of the fit. (That they could have been is all that
            is known here.)
        """
        others = self._others("downdate", x, y, weights, repetitions)
        return self._settle(regression_array.remove(self._fitted.array, others))

    def _others(self, caller, *arguments):
        """The array of observations to be added or removed."""
        state = self._fitted
        data = observations(caller, *arguments, like=state.features)
        return regression_array.collect(data, self.intercept_wanted, state.array.origin)

    def _settle(self, array, refine=None):
        """Computes everything from the array, and takes it over if that succeeds."""
        if not tf.executing_eagerly():
            raise ValueError(
                f"{_OP}: it cannot be fitted in a graph. For those there are the functions of "
                "statespace.models.linear_gaussian_regression."
            )
        data = regression_array.centred(array, self.intercept_wanted)
        count, constant = array.count, 0.5 * array.log_weights
        if data.total_weight is not None:
            if not np.all(data.total_weight > 0):
                raise ValueError(f"{_OP}: all weights of a data set are zero; nothing is observed.")
            count, constant = count - 1, constant - 0.5 * tf.math.log(data.total_weight)
        fit = self._prior.fit(Problem(data, count, constant, refine))
        intercept = fit.refined_intercept
        if intercept is None:
            intercept = data.y_mean - tf.reduce_sum(data.x_mean * fit.posterior.mean, axis=-1)
        self._state = FittedState(array, data, fit, intercept)
        return self
