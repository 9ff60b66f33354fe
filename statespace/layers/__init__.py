"""Keras 3 layers over the models; needs Keras with the TensorFlow backend.

Import this package before ``keras.saving.load_model`` opens a model that has one of them.
"""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"statespace.layers: Keras runs on {keras.backend.backend()}; the layers need TensorFlow. "
        "Set the environment variable KERAS_BACKEND=tensorflow before keras is imported."
    )

from statespace.layers.bayesian_linear import BayesianLinear
from statespace.layers.kalman_filter import KalmanFilter
from statespace.layers.kalman_smoother import KalmanSmoother
from statespace.layers.scoring import (
    GaussianCRPS,
    GaussianLogScore,
    IntervalCoverage,
    MeanGaussianCRPS,
    MeanGaussianLogScore,
)

__all__ = [
    "BayesianLinear",
    "GaussianCRPS",
    "GaussianLogScore",
    "IntervalCoverage",
    "KalmanFilter",
    "KalmanSmoother",
    "MeanGaussianCRPS",
    "MeanGaussianLogScore",
]
