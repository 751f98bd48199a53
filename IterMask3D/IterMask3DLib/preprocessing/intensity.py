"""Intensity scales: from scanner units to the numbers a network was trained on, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.image import BoolVolume, FloatVolume

BACKGROUND = -3.0
"""Value of every voxel outside the brain after scaling; the lowest value a voxel can have."""


@dataclass(frozen=True)
class Scale:
    """Takes scaled values back: where nothing was clipped, `value * factor + offset` is in the units of the input."""

    offset: float
    factor: float


def zscore_clip3(array: NDArray[np.generic], brain: BoolVolume) -> tuple[FloatVolume, Scale]:
    """Mean 0 and standard deviation 1 over the brain, clipped to -3..3, background -3.

    Args:
        array: [x, y, z]; brain: bool [x, y, z], over at least two different values.
    """
    values = array[brain].astype(np.float64)
    scale = Scale(float(values.mean()), float(values.std()))
    scaled = np.full(array.shape, BACKGROUND, dtype=np.float32)
    scaled[brain] = np.clip((values - scale.offset) / scale.factor, -3.0, 3.0)
    return scaled, scale


SCALES: dict[str, Callable[[NDArray[np.generic], BoolVolume], tuple[FloatVolume, Scale]]] = {
    "zscore_clip3": zscore_clip3
}
"""Intensity scales a card may name."""
