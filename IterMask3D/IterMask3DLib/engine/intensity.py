"""Intensity scales: from scanner units to the numbers a network was trained on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BACKGROUND = -3.0
"""Value of every voxel outside the brain after scaling; the lowest value a voxel can have."""

FloatVolume = NDArray[np.float32]
BoolVolume = NDArray[np.bool_]


def zscore_clip3(array: NDArray[np.generic], brain: BoolVolume) -> FloatVolume:
    """Mean 0 and standard deviation 1 over the brain, clipped to -3..3, background -3.

    `array`, `brain`: [x, y, z]. Returns float32 [x, y, z]. The brain must hold at least two different values.
    """
    values = array[brain].astype(np.float64)
    scaled = np.full(array.shape, BACKGROUND, dtype=np.float32)
    scaled[brain] = np.clip((values - values.mean()) / values.std(), -3.0, 3.0)
    return scaled


SCALES: dict[str, Callable[[NDArray[np.generic], BoolVolume], FloatVolume]] = {"zscore_clip3": zscore_clip3}
"""Intensity scales a card may name."""
