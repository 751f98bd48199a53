"""Intensity scales: from scanner units to the numbers a network was trained on, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.engine.records import BoolVolume, FloatVolume

BACKGROUND = -3.0
"""Value of every voxel outside the brain after scaling; the lowest value a voxel can have."""


@dataclass(frozen=True)
class Scaled:
    """A scaled volume [x, y, z] with what takes it back: `array * factor + offset` is in the units of the input (where nothing was clipped)."""

    array: FloatVolume
    offset: float
    factor: float


def zscore_clip3(array: NDArray[np.generic], brain: BoolVolume) -> Scaled:
    """Mean 0 and standard deviation 1 over the brain, clipped to -3..3, background -3.

    `array`, `brain`: [x, y, z]. The brain must hold at least two different values.
    """
    values = array[brain].astype(np.float64)
    offset, factor = float(values.mean()), float(values.std())
    scaled = np.full(array.shape, BACKGROUND, dtype=np.float32)
    scaled[brain] = np.clip((values - offset) / factor, -3.0, 3.0)
    return Scaled(scaled, offset, factor)


SCALES: dict[str, Callable[[NDArray[np.generic], BoolVolume], Scaled]] = {"zscore_clip3": zscore_clip3}
"""Intensity scales a card may name."""
