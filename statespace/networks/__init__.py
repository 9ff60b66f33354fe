"""Whole models of Keras: networks that emit the parameters of a state-space model.

Their public names are in :mod:`statespace.models`, which loads them, and Keras, on first use.
"""

import statespace.layers  # noqa: F401 - says at once if Keras has another backend
from statespace.networks.deep_state_space import DeepStateSpace
from statespace.networks.neural_observation_model import NeuralObservationModel

__all__ = ["DeepStateSpace", "NeuralObservationModel"]
