"""How large the error of a model is in healthy brains, by place; what it explains badly in everyone is no anomaly.

The table lies on the box around the brain, which needs no registration: its first axis runs from the middle of the
brain to either side (both hemispheres are taken together), the others from back to front and from bottom to top.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.geometry import bounding_box
from IterMask3DLib.core.image import BoolVolume, FloatVolume

NORMATIVE_ERROR = "normative_error"
"""Name of the table in a model."""

SIDE = 20
"""Cells of the table along each axis: 3.5 mm from the middle to a side, 9 mm back to front, 7 mm bottom to top."""

_SMOOTHING = 0.8
_PRIOR_VOXELS = 5.0


def normative_table(healthy: Iterable[tuple[FloatVolume, BoolVolume]]) -> FloatVolume:
    """Mean error in each cell: float32 [20, 20, 20], above 0.

    Cells share with their neighbours (Gaussian, 0.8 cells); where few brains reach they lean towards the mean of all.

    Args:
        healthy: error maps and brains [x, y, z] along R, A, S.
    """
    total, count = np.zeros((SIDE,) * 3), np.zeros((SIDE,) * 3)
    for errors, brain in healthy:
        cells = cells_of(brain, total.shape)
        np.add.at(total, cells, errors[brain])
        np.add.at(count, cells, 1)
    mean = total.sum() / count.sum()
    total, count = (ndimage.gaussian_filter(a, _SMOOTHING) for a in (total, count))
    return np.asarray((total + _PRIOR_VOXELS * mean) / (count + _PRIOR_VOXELS), dtype=np.float32)


def normative_error_at(table: FloatVolume, brain: BoolVolume) -> FloatVolume:
    """The table's value at every voxel of a brain [x, y, z] along R, A, S, by linear interpolation; 1 outside it."""
    expected = np.ones(brain.shape, dtype=np.float32)
    expected[brain] = interpolated_at(brain, table)[0]
    return expected


def cells_of(brain: BoolVolume, shape: Sequence[int]) -> tuple[NDArray[np.intp], ...]:
    """The cell of a table of this shape that each brain voxel lies in: an index of the table."""
    places = zip(places_in_box(brain), shape, strict=True)
    return tuple(np.minimum((place * side).astype(int), side - 1) for place, side in places)


def interpolated_at(brain: BoolVolume, *tables: FloatVolume) -> list[NDArray[np.float32]]:
    """The values of tables of one shape at every brain voxel, by linear interpolation: [n] each."""
    cells = [place * side - 0.5 for place, side in zip(places_in_box(brain), tables[0].shape, strict=True)]
    return [ndimage.map_coordinates(table, cells, order=1, mode="nearest") for table in tables]


def places_in_box(brain: BoolVolume) -> list[NDArray[np.float64]]:
    """Where each brain voxel lies in the brain's box, 0 to 1 along each axis [n]; along the first, from the middle."""
    box = bounding_box(brain)
    assert box is not None
    first, size = ([side.start for side in box], [side.stop - side.start for side in box])
    x, y, z = ((np.argwhere(brain) - first + 0.5) / size).T
    return [np.abs(2 * x - 1), y, z]
