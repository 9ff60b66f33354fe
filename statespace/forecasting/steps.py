"""Steps of series that begin or end apart, moved so that they begin or end together."""

import numpy as np


def moved_behind(values, shift) -> np.ndarray:
    """Series with their first steps moved behind the others.

    What ends together, with padding before, begins together so, with padding behind; and the other
    way round.

    Args:
      values: [..., T, *core], or with axes of one in place of ``...``.
      shift: how many steps of each series to move, [...].

    Returns:
      Array [..., T, *core].

    Example:
      >>> moved_behind(np.array([[0, 1, 2], [3, 4, 5]]), np.array([1, 2]))
      array([[1, 2, 0],
             [5, 3, 4]])
    """
    axis = shift.ndim
    order = (np.arange(values.shape[axis]) + shift[..., np.newaxis]) % values.shape[axis]
    order = order.reshape(*order.shape, *(1,) * (values.ndim - axis - 1))
    return np.take_along_axis(values, order, axis)


def times_moved_behind(times, shift) -> np.ndarray:
    """As ``moved_behind`` for times [..., T], which must not decrease: the last known goes on."""
    return np.maximum.accumulate(moved_behind(times, shift), axis=-1)
