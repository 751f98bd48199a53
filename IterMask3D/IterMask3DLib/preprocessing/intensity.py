"""Intensity scales: from scanner units to the numbers a network was trained on, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume, FloatVolume

BACKGROUND = -3.0
"""Value of every voxel outside the brain after scaling; the lowest value that a network is shown."""

_LEAST_OF_MEDIAN = 0.1


@dataclass(frozen=True)
class Scale:
    """Takes scaled values back: where nothing was clipped, `value * factor + offset` is in the units of the input."""

    offset: float
    factor: float

    def back(self, values: FloatVolume) -> FloatVolume:
        """Scaled values in the units of the input."""
        return np.asarray(values * self.factor + self.offset, dtype=np.float32)


ScaleFunction = Callable[[NDArray[np.generic], BoolVolume], tuple[FloatVolume, Scale]]
"""[x, y, z] and the brain (two values at least) -> scaled float32 [x, y, z], `BACKGROUND` outside, and the scale."""


@dataclass(frozen=True)
class LogScale(Scale):
    """Of the reversed scale: `value * factor + offset` is minus the logarithm of intensity in units of `median`."""

    median: float = 1.0

    def back(self, values: FloatVolume) -> FloatVolume:
        return np.asarray(self.median * np.exp(-super().back(values)), dtype=np.float32)


def zscore_clip3(array: NDArray[np.generic], brain: BoolVolume) -> tuple[FloatVolume, Scale]:
    """Mean 0 and standard deviation 1 over the brain, clipped to -3..3, background -3."""
    return _zscore(array, array[brain].astype(np.float64), brain, 3.0)


def zscore_clip5(array: NDArray[np.generic], brain: BoolVolume) -> tuple[FloatVolume, Scale]:
    """Mean 0 and standard deviation 1 over the brain, clipped to -5..5, background -3."""
    return _zscore(array, array[brain].astype(np.float64), brain, 5.0)


def reversed_zscore_clip5(array: NDArray[np.generic], brain: BoolVolume) -> tuple[FloatVolume, Scale]:
    """The z-score, clipped to -5..5, of -log(max(intensity / median, 0.1)), background -3.

    On T2w volumes fluid is then dark and white matter bright, as on T1w volumes.
    """
    values = array[brain].astype(np.float64)
    median = float(np.median(values))
    if median <= 0:
        raise UserError(
            "The median of the brain is not above 0: its logarithm, which this model needs, has no meaning."
        )
    scaled, scale = _zscore(array, reversed_logarithm(values, median), brain, 5.0)
    return scaled, LogScale(scale.offset, scale.factor, median)


def reversed_logarithm(values: NDArray[Any], median: float) -> NDArray[Any]:
    """-log(max(intensity / median, 0.1)), any shape: what was bright is dark, and no voxel lies far from the others."""
    return np.asarray(-np.log(np.maximum(values / median, _LEAST_OF_MEDIAN)))


def p90(array: NDArray[np.generic], brain: BoolVolume) -> tuple[FloatVolume, Scale]:
    """6 · intensity / 90th percentile of the brain - 3, not clipped, background -3: for intensities whose zero is none.

    Source: the public code of IterMask2 and MMCCD, of whose formula this is what is left where the background is 0.
    """
    values = array[brain].astype(np.float64)
    high = float(np.percentile(values, 90))
    if high <= 0:
        raise UserError(
            "The 90th percentile of the brain is not above 0, which the intensity scale of this model needs."
        )
    scale = Scale(high / 2, high / 6)
    scaled = np.full(array.shape, BACKGROUND, dtype=np.float32)
    scaled[brain] = (values - scale.offset) / scale.factor
    return scaled, scale


def _zscore(
    array: NDArray[np.generic], values: NDArray[np.float64], brain: BoolVolume, limit: float
) -> tuple[FloatVolume, Scale]:
    scale = Scale(float(values.mean()), float(values.std()))
    scaled = np.full(array.shape, BACKGROUND, dtype=np.float32)
    scaled[brain] = np.clip((values - scale.offset) / scale.factor, -limit, limit)
    return scaled, scale


SCALES: dict[str, ScaleFunction] = {
    "zscore_clip3": zscore_clip3,
    "zscore_clip5": zscore_clip5,
    "reversed_zscore_clip5": reversed_zscore_clip5,
    "p90": p90,
}
"""Intensity scales that a card may name. A method with one of its own adds it when it is loaded."""


def scale_named(name: str) -> ScaleFunction:
    """Raises `UserError` for a scale that no method here has."""
    if name not in SCALES:
        raise UserError(f"The intensity scale {name} is not known here; known are {', '.join(SCALES)}.")
    return SCALES[name]
