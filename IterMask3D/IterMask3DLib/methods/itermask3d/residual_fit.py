"""What a reconstruction cannot explain of a volume, blind to what is smooth: bias fields, another scanner's contrast.

The volume is fitted from its reconstruction r by gain(place)·r + offset(place) + c·r² with Tukey's weights; gain and
offset are polynomials of place. What is left is the residual.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.geometry import Spacing, bounding_box, polynomials
from IterMask3DLib.core.image import BoolVolume, FloatVolume

FloatVector = NDArray[np.float64]

MAD_TO_SD = 1.4826
"""Standard deviation of a normal distribution in median absolute deviations."""

_ROUNDS = 12
_STRIDE = 4
_RIDGE = 1e-6
_LEAST_SPREAD = 1e-6
_LEAST_WEIGHT = 0.01


class RobustFit:
    """How a volume is fitted from its reconstruction.

    Args:
        brain: bool [x, y, z], where.
        gain_order, offset_order: degrees of the polynomials of place.
        tukey: robust standard deviations beyond which a voxel has no say.
    """

    def __init__(self, brain: BoolVolume, gain_order: int = 1, offset_order: int = 2, tukey: float = 2.5) -> None:
        box = bounding_box(brain)
        assert box is not None
        places, sides = np.argwhere(brain) - [side.start for side in box], [side.stop - side.start for side in box]
        self._gain, self._offset = (polynomials(places, sides, order) for order in (gain_order, offset_order))
        self._brain, self._tukey = brain, tukey

    def residual(self, volume: FloatVolume, reconstruction: FloatVolume) -> FloatVolume:
        """Volume less its fit [x, y, z], in the units of the volume; 0 outside the brain.

        Source: iteratively reweighted least squares with Tukey's biweight (Beaton and Tukey, Technometrics 16, 1974),
        on every fourth voxel of the brain.
        """
        values = volume[self._brain].astype(np.float64)
        r = reconstruction[self._brain].astype(np.float64)
        terms = np.concatenate((self._offset, self._gain * r[:, None], (r**2)[:, None]), axis=1)
        solution = self._solution(np.ascontiguousarray(terms[::_STRIDE]), values[::_STRIDE])
        residual = np.zeros(volume.shape, dtype=np.float32)
        residual[self._brain] = values - terms @ solution
        return residual

    def _solution(self, terms: FloatVector, values: FloatVector) -> FloatVector:
        weights = np.ones(len(values))
        # Gain and offset are nearly the same thing where the reconstruction is flat.
        ridge = _RIDGE * len(values) * np.eye(terms.shape[1])
        for _ in range(_ROUNDS):
            weighted = terms * weights[:, None]
            solution = np.linalg.solve(weighted.T @ terms + ridge, weighted.T @ values)
            apart = values - terms @ solution
            limit = self._tukey * max(MAD_TO_SD * float(np.median(np.abs(apart))), _LEAST_SPREAD)
            weights = np.square(np.maximum(1 - np.square(apart / limit), 0))
        return np.asarray(solution)


def robust_spread(values: NDArray[np.floating]) -> float:
    """The standard deviation that the median absolute deviation from the median tells."""
    return MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))


def in_spreads(values: FloatVolume, brain: BoolVolume) -> FloatVolume:
    """Values less the brain's median, in units of its robust spread; 0 outside."""
    inside = values[brain]
    spread = max(robust_spread(inside), _LEAST_SPREAD)
    return np.where(brain, (values - np.median(inside)) / np.float32(spread), 0).astype(np.float32)


class BrainAverage:
    """A Gaussian average over the brain's voxels alone. `sigma`: its standard deviation in mm."""

    def __init__(self, brain: BoolVolume, spacing: Spacing, sigma: float) -> None:
        box = bounding_box(brain)
        assert box is not None
        self._brain, self._box, self._sigmas = brain, box, [sigma / side for side in spacing]
        self._weight = np.maximum(self._blurred(brain.astype(np.float32)), np.float32(_LEAST_WEIGHT))

    def __call__(self, values: FloatVolume) -> FloatVolume:
        """Averages [x, y, z] of values [x, y, z] that are 0 outside the brain; 0 there again."""
        return np.where(self._brain, self._blurred(values) / self._weight, 0).astype(np.float32)

    def _blurred(self, values: FloatVolume) -> FloatVolume:
        blurred = np.zeros_like(values)
        blurred[self._box] = ndimage.gaussian_filter(values[self._box], self._sigmas, mode="constant")
        return blurred
