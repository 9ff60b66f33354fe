"""Models that people fit: structural components, added up with ``+``.

    model = LocalLinearTrend() + Seasonal(12)
    result = model.fit(series)

Every sum includes observation noise, unless a component explains it, so a single component is
already a model. Its models of Keras load, and Keras with them, on first use.
"""

import importlib
from typing import TYPE_CHECKING

from statespace.models.arima import ARIMA
from statespace.models.autoregressive import Autoregressive
from statespace.models.base import Component, Model
from statespace.models.bayesian_linear_regression import BayesianLinearRegression
from statespace.models.custom import Custom
from statespace.models.cycle import Cycle
from statespace.models.dynamic_factor import DynamicFactor
from statespace.models.exponential_smoothing import ExponentialSmoothing
from statespace.models.gaussian_process import GaussianProcess
from statespace.models.irregular import Irregular
from statespace.models.matern import MaternProcess
from statespace.models.motion import ConstantAcceleration, ConstantVelocity
from statespace.models.pca import PCA
from statespace.models.regression import DynamicRegression, Regression
from statespace.models.regression_priors import EvidencePrior, FixedPrior, NormalInverseGamma
from statespace.models.seasonal import Seasonal, TrigonometricSeasonal
from statespace.models.sparse_gaussian_process import SparseGaussianProcess
from statespace.models.structural import StructuralModel
from statespace.models.trend import DampedTrend, LocalLevel, LocalLinearTrend, SmoothTrend
from statespace.models.vector_autoregressive import VectorAutoregressive
from statespace.models.zellner_prior import ZellnerG

if TYPE_CHECKING:
    from statespace.networks.deep_state_space import DeepStateSpace
    from statespace.networks.neural_observation_model import NeuralObservationModel

__all__ = [
    "ARIMA",
    "Autoregressive",
    "BayesianLinearRegression",
    "Component",
    "ConstantAcceleration",
    "ConstantVelocity",
    "Custom",
    "Cycle",
    "DampedTrend",
    "DeepStateSpace",
    "DynamicFactor",
    "DynamicRegression",
    "EvidencePrior",
    "ExponentialSmoothing",
    "FixedPrior",
    "GaussianProcess",
    "Irregular",
    "LocalLevel",
    "LocalLinearTrend",
    "MaternProcess",
    "Model",
    "NeuralObservationModel",
    "NormalInverseGamma",
    "PCA",
    "Regression",
    "Seasonal",
    "SmoothTrend",
    "SparseGaussianProcess",
    "StructuralModel",
    "TrigonometricSeasonal",
    "VectorAutoregressive",
    "ZellnerG",
]


def __getattr__(name):
    if name not in ("DeepStateSpace", "NeuralObservationModel"):
        raise AttributeError(f"module 'statespace.models' has no attribute {name!r}")
    return getattr(importlib.import_module("statespace.networks"), name)
