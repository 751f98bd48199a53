"""Two thresholds: regions are found where a score is high, and outlined to where it ends."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from IterMask3DLib.core.image import BoolVolume, FloatVolume


def hysteresis(score: FloatVolume, high: float, low: float, smallest: int = 1) -> BoolVolume:
    """The components (by faces) above `low` that reach above `high`, of at least `smallest` voxels: bool [x, y, z].

    Source: Canny, IEEE Transactions on Pattern Analysis and Machine Intelligence 8 (1986).
    """
    labels, count = ndimage.label(score > low)
    keep = np.bincount(labels.ravel(), minlength=count + 1) >= smallest
    seeds = np.zeros(count + 1, dtype=bool)
    seeds[labels[score > high]] = True
    keep &= seeds
    keep[0] = False
    return np.asarray(keep[labels])
