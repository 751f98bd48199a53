"""The score that healthy brains have, by place: its mean and its standard deviation on the box around the brain.

The box needs no registration; both hemispheres are taken together, as in `normative_error`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.methods.itermask3d.normative_error import cells_of, interpolated_at

NORMATIVE_MEAN, NORMATIVE_SD = "normative_mean", "normative_sd"
"""Names of the tables in a model: float32 [scales, 16, 32, 28], or twice as many where the mean brain counts."""

CELLS = (16, 32, 28)
"""Cells along each axis: from the middle to a side, back to front, bottom to top; about 5 mm each."""

_SMOOTHING = 0.8
_MEAN_PRIOR, _VARIANCE_PRIOR = 1.0, 20.0
"""Voxels of all places together that each cell is given beside its own."""

_LARGEST = 12.0
_LEAST_VARIANCE = 0.05


@dataclass(frozen=True)
class NormativeScore:
    """Mean and standard deviation of a score in healthy brains: float32 [16, 32, 28] each."""

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]

    @classmethod
    def of(cls, healthy: Iterable[tuple[FloatVolume, BoolVolume]]) -> NormativeScore:
        """From scores, which count as 12 at the most, and brains [x, y, z] along R, A, S.

        Cells share with their neighbours (Gaussian, 0.8 cells); where few brains reach they lean towards all places
        together.
        """
        count, total, squares = (np.zeros(CELLS) for _ in range(3))
        for score, brain in healthy:
            values = np.clip(score[brain].astype(np.float64), -_LARGEST, _LARGEST)
            cells = cells_of(brain, CELLS)
            for sums, each in ((count, 1.0), (total, values), (squares, values**2)):
                np.add.at(sums, cells, each)
        mean, square = total.sum() / count.sum(), squares.sum() / count.sum()
        count, total, squares = (ndimage.gaussian_filter(sums, _SMOOTHING) for sums in (count, total, squares))
        means = (total + _MEAN_PRIOR * mean) / (count + _MEAN_PRIOR)
        variances = (squares + _VARIANCE_PRIOR * square) / (count + _VARIANCE_PRIOR) - means**2
        sd = np.sqrt(np.maximum(variances, _LEAST_VARIANCE))
        return cls(means.astype(np.float32), sd.astype(np.float32))


def standardising(tables: Sequence[NormativeScore], brain: BoolVolume) -> list[Callable[[FloatVolume], FloatVolume]]:
    """For each table what takes a score [x, y, z] to what it is less the mean at its place, in standard deviations.

    0 outside the brain.
    """

    def by(mean: NDArray[np.float32], sd: NDArray[np.float32]) -> Callable[[FloatVolume], FloatVolume]:
        def standardised(score: FloatVolume) -> FloatVolume:
            result = np.zeros(brain.shape, dtype=np.float32)
            result[brain] = (score[brain] - mean) / sd
            return result

        return standardised

    there = interpolated_at(brain, *(values for table in tables for values in (table.mean, table.sd)))
    return [by(mean, sd) for mean, sd in zip(there[::2], there[1::2], strict=True)]
