"""Two thresholds: regions are found where a score is high, and outlined to where it ends."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from IterMask3DLib.core.image import BoolVolume, FloatVolume

SMALL_VOXELS = 1250
"""10 ml at 2 mm: what is larger is outlined as it is."""


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


def tightened(score: FloatVolume, mask: BoolVolume, high: float, share: float) -> BoolVolume:
    """A mask whose small components, of up to `SMALL_VOXELS`, keep what is above a share of their peak: bool [x, y, z].

    The averages that a score is made of spread a small and plain lesion over its surroundings, as a scanner spreads a
    small hot one, whose outline is a share of its highest value. The peak is the 99th percentile. What is above `high`
    stays, and of the rest what is still joined to it.
    """
    labels, _ = ndimage.label(mask)
    result = mask.copy()
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        inside = labels[box] == number
        if np.count_nonzero(inside) <= SMALL_VOXELS:
            within = np.where(inside, score[box], 0)
            lowest = min(share * float(np.percentile(within[inside], 99)), high)
            result[box] &= ~inside | hysteresis(within, high, lowest)
    return result
