"""Networks over the covariates of a series."""

import keras

UNITS = 40  # as in the paper
_DILATIONS = (1, 2, 4, 8)  # with kernels of three steps, 31 steps in all


def lstm(**options):
    """A long short-term memory, ``[B, T, c]`` to ``[B, T, 40]``."""
    return keras.layers.LSTM(UNITS, return_sequences=True, name="encoder", **options)


def gru(**options):
    """A gated recurrent unit, ``[B, T, c]`` to ``[B, T, 40]``."""
    return keras.layers.GRU(UNITS, return_sequences=True, name="encoder", **options)


def convolution(**options):
    """Causal convolutions that see 31 steps, ``[B, T, c]`` to ``[B, T, 40]``."""
    layers = [
        keras.layers.Conv1D(
            UNITS, 3, padding="causal", dilation_rate=rate, activation="gelu", **options
        )
        for rate in _DILATIONS
    ]
    return keras.Sequential(layers, name="encoder")


_NAMED = {"lstm": lstm, "gru": gru, "convolution": convolution}


def encoder_of(op, encoder, **options) -> keras.layers.Layer:
    """The encoder that a name stands for, or the one given.

    Args:
      op: name of the model, for messages.
      encoder: ``"lstm"``, ``"gru"``, ``"convolution"``, or a layer or model of Keras.
      **options: of the layers, where they are made here.

    Raises:
      ValueError: it is none of these.
    """
    if isinstance(encoder, keras.layers.Layer):
        return encoder
    if encoder in _NAMED:
        return _NAMED[encoder](**options)
    raise ValueError(
        f"{op}: encoder is {encoder!r}; it must be one of {', '.join(map(repr, _NAMED))}, or a "
        f"layer or model of Keras that maps [batch, time, covariates] to [batch, time, units]."
    )


def units_of(op, encoder, num_inputs) -> int:
    """The number of features that an encoder emits at each step.

    Raises:
      ValueError: it does not keep the axes of batch and time.
    """
    shape = tuple(encoder.compute_output_shape((None, None, num_inputs)))
    if len(shape) != 3 or shape[1] is not None or shape[2] is None:
        raise ValueError(
            f"{op}: the encoder {encoder.name!r} maps (batch, time, {num_inputs}) to {shape}; it "
            f"must keep batch and time, as [batch, time, units]. Recurrent layers need "
            f"return_sequences=True."
        )
    return shape[2]
