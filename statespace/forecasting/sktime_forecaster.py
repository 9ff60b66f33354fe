"""The models as a forecaster of sktime: ``fit, predict, predict_interval, update`` and the rest.

Needs sktime (``pip install "statespace-tf[sktime]"``); without it the class can be looked at, not
made.
"""

import warnings

import numpy as np
import pandas as pd

from statespace.forecasting.data import as_batch
from statespace.forecasting.errors import InputError
from statespace.forecasting.moments import normal_quantile
from statespace.models.regression import Regression
from statespace.models.seasonal import Seasonal, TrigonometricSeasonal
from statespace.models.trend import DampedTrend, LocalLevel

try:
    from sktime.forecasting.base import BaseForecaster  # pyright: ignore[reportMissingImports]
except ImportError:

    class BaseForecaster:
        """Stands in for that of sktime."""

        def __init__(self):
            raise ImportError(
                "Forecaster needs sktime, which is not installed: "
                'pip install "statespace-tf[sktime]".'
            )


# Steps of a season, by the code of the index's frequency: a year, and below that a week or a day.
_SEASONS = dict.fromkeys(("M", "MS", "ME", "BMS", "BME"), 12)
_SEASONS |= dict.fromkeys(("Q", "QS", "QE", "BQS", "BQE"), 4)
_SEASONS |= {"W": 52, "B": 5, "D": 7, "h": 24, "min": 24 * 60}
_LONGEST_DUMMIES = 24  # steps of a season for which each has an effect of its own
_HARMONICS = 6  # of a longer season
_VALUES_EACH = 2  # observed values for each state and parameter, at the least
_TINY = 1e-6  # noise for data that have none, as a share of their spread


class Forecaster(BaseForecaster):  # pyright: ignore[reportGeneralTypeIssues]
    """State-space models with the interface of sktime.

    ``predict`` gives means; intervals, quantiles, variances and, with skpro installed,
    distributions are those of :class:`statespace.forecasting.Forecast`. Predictions are for steps
    after the data; there are none for the past. Several columns, panels and hierarchies are left to
    sktime, which fits one forecaster to each series; to fit thousands at once use ``model.fit``.

    ``update(y)`` estimates again from old and new data; with ``update_params=False`` the parameters
    stay and the state alone takes in the new data.

    A series that is constant, or that the model follows without any error, has no noise to
    estimate. Rather than fail in the midst of many series, the forecaster warns and estimates from
    the series with noise of a millionth of its spread; it forecasts from the series as it is.

    Args:
      model: a :class:`statespace.models.Model` of one variable; by default what
        :func:`default_model` chooses. Columns of X are features; where there are some and the model
        has no term for features, a ``Regression`` is added.
      method: how parameters are estimated, as for ``model.fit``.
      season: steps of a season for the default model; by default from the frequency, 1 for none.
      fix, priors, num_starts, verbose: as for ``model.fit``.

    Attributes:
      model_: the model that was fitted.
      result_: its :class:`statespace.forecasting.FitResult`.

    Raises:
      ImportError: sktime is not installed.

    Example:
      >>> import statespace as ss
      >>> y = ss.datasets.air_passengers()
      >>> forecaster = ss.forecasting.Forecaster().fit(y, fh=[1, 2])  # doctest: +SKIP
      >>> forecaster.predict().round(1)  # doctest: +SKIP
      month
      1961-01    435.1
      1961-02    405.5
      Freq: M, Name: passengers, dtype: float64
    """

    _tags = {  # noqa: RUF012 - sktime's convention
        "authors": ["statespace developers"],
        "maintainers": ["statespace developers"],
        "y_inner_mtype": "pd.Series",
        "X_inner_mtype": "pd.DataFrame",
        "requires-fh-in-fit": False,
        "capability:categorical_in_X": False,
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:missing_values": True,
        "capability:non_contiguous_X": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:update": True,
    }
    # The data are kept here, once. Told to remember, sktime keeps them in _y and _X as well.
    _config = {"remember_data": False}  # noqa: RUF012
    _y = None
    _X = None

    def __init__(
        self,
        model=None,
        method="mle",
        season=None,
        fix=None,
        priors=None,
        num_starts=3,
        verbose=0,
    ):
        self.model = model
        self.method = method
        self.season = season
        self.fix = fix
        self.priors = priors
        self.num_starts = num_starts
        self.verbose = verbose
        super().__init__()

    def _fit(self, y, X, fh):
        self._seen_y, self._seen_X = y, X
        count = 0 if X is None else X.shape[1]
        model = default_model(y, self.season, count) if self.model is None else self.model
        if count and not model.num_features:
            model = model + Regression(count)
        self.model_, features = model, X if model.num_features else None
        try:
            self.result_ = self._estimated(y, features)
        except InputError as error:  # what is not for lack of noise is raised again
            self.result_ = self._estimated(_with_noise(y), features).apply(y, features)
            warnings.warn(f"{error} Noise of a millionth was added.", stacklevel=2)
        return self

    def _estimated(self, y, features):
        return self.model_.fit(
            y,
            self.method,
            features,
            fix=self.fix,
            priors=self.priors,
            num_starts=self.num_starts,
            verbose=self.verbose,
        )

    def _update(self, y, X=None, update_params=True):
        self._seen_y = y.combine_first(self._seen_y).rename(self._seen_y.name)
        if X is not None and self._seen_X is not None:
            self._seen_X = X.combine_first(self._seen_X)[self._seen_X.columns]
        if update_params:
            return self._fit(self._seen_y, self._seen_X, self._fh)
        self.result_ = self.result_.apply(
            self._seen_y, self._seen_X if self.model_.num_features else None
        )
        return self

    def _predict(self, fh, X):
        mean, _, index = self._moments(fh, X)
        return pd.Series(mean, index, name=self._seen_y.name)

    def _predict_quantiles(self, fh, X, alpha):
        mean, deviation, index = self._moments(fh, X)
        columns = pd.MultiIndex.from_product([self._get_varnames(), alpha])
        values = [mean + normal_quantile(q) * deviation for q in alpha]
        return pd.DataFrame(np.stack(values, axis=1), index, columns)

    def _predict_var(self, fh, X, cov=False):
        if cov:
            raise NotImplementedError(
                "Forecaster has no covariances between steps; draw whole paths with "
                "result_.forecast(h).sample(n)."
            )
        _, deviation, index = self._moments(fh, X)
        return pd.DataFrame(deviation[:, np.newaxis] ** 2, index, self._get_varnames())

    def _predict_proba(self, fh, X, marginal=True):
        if not marginal:
            raise NotImplementedError(
                "Forecaster has the marginal distributions alone; draw whole paths with "
                "result_.forecast(h).sample(n)."
            )
        from skpro.distributions.normal import Normal  # pyright: ignore[reportMissingImports]

        mean, deviation, index = self._moments(fh, X)
        columns = pd.Index(self._get_varnames())
        return Normal(mean[:, np.newaxis], deviation[:, np.newaxis], index=index, columns=columns)

    def _moments(self, fh, X):
        """Means and standard deviations at the steps of fh, and their index."""
        if not (fh.is_relative and pd.api.types.is_integer_dtype(fh.to_pandas())):
            # By way of dates: sktime takes differences of time for numbers of steps.
            fh = fh.to_absolute(self.cutoff).to_relative(self.cutoff)
        steps = fh.to_numpy()
        features = X if self.model_.num_features else None
        forecast = self.result_.forecast(int(steps.max()), features)
        mean, variance = forecast.means[0, steps - 1, 0], forecast.variances[0, steps - 1, 0]
        return mean, np.sqrt(variance), forecast.layout.index[steps - 1]

    def _get_fitted_params(self):
        return dict(self.result_.params)

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        """Arguments with which sktime's ``check_estimator`` makes forecasters."""
        return [{}, {"model": LocalLevel(), "num_starts": 1, "fix": {"irregular.scale": 1.0}}]


def default_model(y, season=None, num_features=0):
    """A model for any series: a damped trend, with a season where the frequency says so.

    The season is a year of months, quarters or weeks, a week of days, or a day of hours or minutes;
    longer ones than 24 steps have six harmonics. Of

        DampedTrend() + season,  DampedTrend(),  LocalLevel()

    it is the first for which y has at least two values for each state and parameter, or the last.
    The trend is damped because a slope rarely goes on for ever; where data want it to, the damping
    factor is estimated near one.

    Args:
      y: Series.
      season: steps of a season, 1 for none; by default from the frequency of the index.
      num_features: number of features, for which there is a regression if it is not zero.

    Example:
      >>> import statespace as ss
      >>> default_model(ss.datasets.air_passengers())
      DampedTrend() + Seasonal(12)
      >>> default_model(ss.datasets.nile().iloc[:10])
      LocalLevel()
    """
    values, layout = as_batch(y)
    season = _season(layout.index) if season is None else season
    candidates = [DampedTrend(), LocalLevel()]
    if season > _LONGEST_DUMMIES:
        candidates.insert(0, DampedTrend() + TrigonometricSeasonal(season, _HARMONICS))
    elif season > 1:
        candidates.insert(0, DampedTrend() + Seasonal(season))
    if num_features:
        candidates = [model + Regression(num_features) for model in candidates]
    count = np.count_nonzero(~np.isnan(values))
    for model in candidates:
        size = len(model.state_names) + sum(parameter.size for parameter in model.parameters)
        if count >= _VALUES_EACH * size:
            return model
    return candidates[-1]


def _with_noise(y):
    size = np.nanmax(np.abs(y)) or 1.0
    scale = _TINY * (np.nanmax(y) - np.nanmin(y) or size)
    return y + scale * np.random.default_rng(0).standard_normal(len(y))


def _season(index):
    """Steps of a season at the frequency of a regular index; 1 for none."""
    if isinstance(index, pd.RangeIndex):
        return 1
    months = index.freq.kwds.get("months")  # of a day of the month, which has no code
    code = "M" if months else index.freq.rule_code.split("-")[0]
    season, rest = divmod(_SEASONS.get(code, 1), index.freq.n * (months or 1))
    return season if season > 1 and not rest else 1
