"""Inference on state-space models with nonlinear functions: the Kalman filter's relatives."""

from statespace.nonlinear.filter import nonlinear_filter
from statespace.nonlinear.methods import METHODS
from statespace.nonlinear.model import NonlinearGaussianSSM
from statespace.nonlinear.smoother import nonlinear_smoother

__all__ = ["METHODS", "NonlinearGaussianSSM", "nonlinear_filter", "nonlinear_smoother"]
