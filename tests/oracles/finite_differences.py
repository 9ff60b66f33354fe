"""Derivatives by central differences in float64: the oracle of every gradient."""

import numpy as np


def gradient(function, arguments, step=1e-5):
    """Gradient of a scalar function of arrays, fourth-order central differences entry by entry."""
    arguments = [np.array(x, np.float64) for x in arguments]
    gradients = []
    for which, array in enumerate(arguments):
        result = np.zeros_like(array)
        for index in np.ndindex(*array.shape):

            def shifted(amount, which=which, index=index):
                moved = [x.copy() for x in arguments]
                moved[which][index] += amount
                return float(function(*moved))

            near = shifted(step) - shifted(-step)
            far = shifted(2 * step) - shifted(-2 * step)
            result[index] = (8.0 * near - far) / (12.0 * step)
        gradients.append(result)
    return gradients


def directional(function, arguments, directions, step=1e-4):
    """Derivative of a scalar function of arrays along one direction, to fourth order."""

    def shifted(amount):
        moved = [x + amount * d for x, d in zip(arguments, directions, strict=True)]
        return float(function(*moved))

    near, far = shifted(step) - shifted(-step), shifted(2 * step) - shifted(-2 * step)
    return (8.0 * near - far) / (12.0 * step)
