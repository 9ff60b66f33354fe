"""Parameter values to try a model at."""

import numpy as np
import tensorflow as tf

from statespace.models.parameters import Parameterisation


def unit_values(model):
    """Units of one for every parameter."""
    return {p.name: 1.0 for p in model.parameters}


def random_values(model, shape=(), seed=0, bound=0.8):
    """Values at free coordinates drawn from -bound ... bound, dict of arrays [*shape, ...]."""
    parameterisation = Parameterisation(model.parameters)
    generator = np.random.default_rng(seed)
    free = generator.uniform(-bound, bound, (*shape, parameterisation.size))
    values = parameterisation.values(tf.constant(free), unit_values(model))
    return {name: value.numpy() for name, value in values.items()}
