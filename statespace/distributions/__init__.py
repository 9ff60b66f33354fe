"""Distributions with the interface of TensorFlow Probability's, over :mod:`statespace.kalman`.

TensorFlow Probability is imported here and nowhere below.
"""

from statespace.distributions.linear_gaussian import (
    ForwardFilterResult,
    LinearGaussianStateSpaceModel,
)

__all__ = ["ForwardFilterResult", "LinearGaussianStateSpaceModel"]
