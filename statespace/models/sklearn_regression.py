"""Bayesian linear regression with the interface of scikit-learn: ``fit, partial_fit, predict``.

Needs scikit-learn; without it the class can be looked at, not made.
"""

import numpy as np

from statespace.models.bayesian_linear_regression import BayesianLinearRegression

try:
    from sklearn.base import (  # pyright: ignore[reportMissingImports]
        BaseEstimator,  # pyright: ignore[reportAssignmentType]
        RegressorMixin,  # pyright: ignore[reportAssignmentType]
    )
    from sklearn.utils.validation import (  # pyright: ignore[reportMissingImports]
        _check_sample_weight,
        check_is_fitted,
        validate_data,
    )
except ImportError:

    class BaseEstimator:
        """Stands in for that of scikit-learn."""

        def __init__(self):
            raise ImportError(
                "BayesianLinearRegressor needs scikit-learn: pip install scikit-learn"
            )

    class RegressorMixin:
        """Stands in for that of scikit-learn."""


class BayesianLinearRegressor(RegressorMixin, BaseEstimator):
    """:class:`BayesianLinearRegression` for pipelines and searches of scikit-learn.

    All of scikit-learn's checks of estimators pass with priors that are proper for the weights.
    "flat" and :class:`ZellnerG` refuse the data of one, 15 observations of 30 features: nothing
    determines the weights there.

    Args:
      prior: "evidence", "ard", "flat" or a prior object.
      fit_intercept: whether there is a constant.
      refine: correct the coefficients of ``fit`` by iterative refinement.

    Attributes:
      coef_, intercept_: posterior means, ``[D]`` and a number.
      sigma_: posterior covariance of the weights, ``[D, D]``.
      alpha_: precision of the noise.
      lambda_: precisions of the weights a priori, ``[D]``; infinite for a weight of scale zero.
      log_evidence_: log marginal likelihood.
      model_: the :class:`BayesianLinearRegression`, with all that it can do.

    Raises:
      ImportError: scikit-learn is not installed.

    Example:

      >>> import numpy as np
      >>> from statespace.models.sklearn_regression import BayesianLinearRegressor
      >>> x = np.array([[0.0], [1.0], [2.0], [4.0]])
      >>> regressor = BayesianLinearRegressor("flat").fit(x, [1.1, 2.9, 5.0, 9.0])
      >>> mean, deviation = regressor.predict([[3.0]], return_std=True)
      >>> print(mean.round(2), regressor.coef_.round(2))
      [6.99] [1.99]
    """

    def __init__(self, prior="evidence", *, fit_intercept=True, refine=False):
        self.prior = prior
        self.fit_intercept = fit_intercept
        self.refine = refine

    def fit(self, X, y, sample_weight=None):
        """Estimates weights and scales.

        Args:
          X: ``[N, D]``.
          y: ``[N]``.
          sample_weight: how often each observation occurs, ``[N]``, as scikit-learn has it.

        Returns:
          self.
        """
        X, y, repetitions = self._checked(X, y, sample_weight, reset=True)
        model = BayesianLinearRegression(self.prior, intercept=self.fit_intercept)
        self.model_ = model.fit(X, y, repetitions=repetitions, refine=self.refine)
        return self._read()

    def partial_fit(self, X, y, sample_weight=None):
        """Takes in further observations; the result is that of one ``fit`` to all of them."""
        if not hasattr(self, "model_"):
            return self.fit(X, y, sample_weight)
        X, y, repetitions = self._checked(X, y, sample_weight, reset=False)
        self.model_.update(X, y, repetitions=repetitions)
        return self._read()

    def predict(self, X, return_std=False):
        """Predictive mean ``[M]``; with ``return_std`` its standard deviation, noise included."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        prediction = self.model_.predict(X.astype(self.coef_.dtype, copy=False))
        mean = prediction.mean().numpy()
        return (mean, prediction.stddev().numpy()) if return_std else mean

    def _checked(self, X, y, sample_weight, reset):
        X, y = validate_data(
            self,
            X,
            y,
            dtype=(np.float64, np.float32),
            y_numeric=True,
            ensure_min_samples=2 if reset else 1,
            reset=reset,
        )
        if not reset:
            X = X.astype(self.coef_.dtype, copy=False)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype)
        return X, y.astype(X.dtype, copy=False), sample_weight

    def _read(self):
        model = self.model_
        self.coef_, self.intercept_ = model.coefficients.numpy(), float(model.intercept)
        self.sigma_ = model.coefficient_covariance.numpy()
        self.alpha_ = float(model.noise_scale) ** -2.0
        with np.errstate(divide="ignore"):
            self.lambda_ = model.weight_scale.numpy() ** -2.0
        self.log_evidence_ = float(model.log_evidence)
        return self
