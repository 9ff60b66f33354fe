"""What the Kalman layers are called with: one tensor, a tuple or a dict, and what shapes fit."""

from typing import Any, NamedTuple

import tensorflow as tf


class KalmanInputs(NamedTuple):
    """Tensors, or their shapes, of B series, T steps, m observed variables and n states."""

    observations: Any  # [B, T, m]
    observation_noise_scale: Any = None  # [B, T, m] or [B, T, m, m]
    transition_noise_scale: Any = None  # [B, T, k] or [B, T, k, k]
    controls: Any = None  # [B, T, c]
    features: Any = None  # [B, T, K]
    times: Any = None  # [B, T]


def named(op, inputs) -> KalmanInputs:
    """The parts of a layer's inputs (or of their shapes, or their masks) by name.

    Raises:
      ValueError: the observations are missing, or there is a part that no layer takes.
    """
    if isinstance(inputs, dict):
        unknown = [name for name in inputs if name not in KalmanInputs._fields]
        if unknown or inputs.get("observations") is None:
            raise ValueError(
                f"{op}: the inputs are a dict of {', '.join(map(repr, inputs)) or 'nothing'}; it "
                f"must have 'observations', and may have "
                f"{', '.join(map(repr, KalmanInputs._fields[1:]))}."
            )
        return KalmanInputs(**inputs)
    if isinstance(inputs, tuple | list) and not is_shape(inputs):
        if not 1 <= len(inputs) <= 4:
            raise ValueError(
                f"{op}: the inputs are a tuple of {len(inputs)}; it must be (observations, "
                f"observation_noise_scale[, transition_noise_scale[, controls]])."
            )
        return KalmanInputs(*inputs)
    return KalmanInputs(inputs)


def mask_of_observations(inputs, mask):
    """Of the masks that Keras hands over in the structure of the inputs, that of the observations.

    A mask that is given as one tensor is that of the observations.
    """
    if isinstance(mask, dict):
        return mask.get("observations")
    if isinstance(mask, tuple | list) and isinstance(inputs, tuple | list):
        return mask[0] if mask else None
    return mask


def check_shapes(op, shapes: KalmanInputs, num_observed=None, num_disturbances=None, controls=None):
    """Raises ValueError where a shape is known not to fit; the message names the input.

    Args:
      op: name of the layer.
      shapes: of the inputs, tuples of int and None.
      num_observed, num_disturbances, controls: m, k and c; None where they are not known.
    """
    lead = _check(op, "observations", shapes.observations, [None, None, num_observed])[:2]
    for name, size in (
        ("observation_noise_scale", shapes.observations[-1]),
        ("transition_noise_scale", num_disturbances),
    ):
        shape = getattr(shapes, name)
        if shape is not None:
            _check(op, name, shape, [*lead, *[size] * (2 if len(shape) == 4 else 1)])
    for name, sizes in (("controls", [controls]), ("features", [None]), ("times", [])):
        if getattr(shapes, name) is not None:
            _check(op, name, getattr(shapes, name), [*lead, *sizes])


def shapes_of(inputs):
    """Of a named tuple the static shapes, or what a config has made of shapes, as tuples."""
    return inputs._make(None if x is None else tuple(getattr(x, "shape", x)) for x in inputs)


def as_float64(inputs: KalmanInputs) -> KalmanInputs:
    """The inputs as tensors of the type that filters and smoothers compute in."""
    return KalmanInputs(*(None if x is None else tf.cast(x, tf.float64) for x in inputs))


def is_shape(value) -> bool:
    """Whether a tuple or list is a shape, and no sequence of inputs."""
    return all(x is None or isinstance(x, int) for x in value)


def _check(op, name, shape, wanted):
    """The shape, which must have as many axes as ``wanted`` and the sizes that it states.

    Of all but the observations, batch and time may be one, which stands for all.
    """
    fits = len(shape) == len(wanted) and all(
        None in (size, want) or size == want or (axis < 2 and size == 1)
        for axis, (size, want) in enumerate(zip(shape, wanted, strict=True))
    )
    if fits:
        return shape
    sizes = ", ".join(
        f"{letter} = {size}"
        for letter, size in zip(("batch", "time", _LAST[name]), wanted, strict=False)
        if size is not None and letter
    )
    hint = ""
    if name == "observations" and len(shape) == 2:
        hint = " Add the axis of the variables: observations[..., None]."
    raise ValueError(
        f"{op}: {name} has shape {tuple(shape)}; it must be {_FORM[name]}"
        f"{', where ' + sizes if sizes else ''}.{hint}"
    )


_LAST = {
    "observations": "m",
    "observation_noise_scale": "m",
    "transition_noise_scale": "k",
    "controls": "c",
    "features": "K",
    "times": "",
}
_FORM = {
    "observations": "[batch, time, m]",
    "observation_noise_scale": "[batch, time, m], the diagonal, or [batch, time, m, m]",
    "transition_noise_scale": "[batch, time, k], the diagonal, or [batch, time, k, k]",
    "controls": "[batch, time, c]",
    "features": "[batch, time, K]",
    "times": "[batch, time]",
}
