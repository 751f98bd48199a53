"""Linear interpolation between grids whose axes are parallel, as one small matrix an axis: what scipy's general routine gives, many times faster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.engine.records import FloatVolume

Matrix = NDArray[np.float64]


def linear(size: int, source: int, factor: float, offset: float) -> Matrix:
    """[size, source]: value i of the result lies at `factor` · i + `offset` of the source, beyond whose ends there are zeros."""
    places = np.arange(size) * factor + offset
    low = np.floor(places).astype(np.int64)
    matrix = np.zeros((size, source))
    for index, weight in ((low, 1 - (places - low)), (low + 1, places - low)):
        inside = (index >= 0) & (index < source)
        matrix[np.flatnonzero(inside), index[inside]] += weight[inside]
    return matrix


def gaussian(size: int, sigma: float) -> Matrix:
    """[size, size]: a Gaussian average, mirrored at the ends."""
    return np.asarray(ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0)) if sigma else np.eye(size)


def along_axes(values: NDArray[np.generic], matrices: Sequence[Matrix]) -> FloatVolume:
    """Applies a matrix to each axis of `values` [x, y, z]; computed in double precision, float32 [x, y, z]."""
    result = values.astype(np.float64)
    # Each product puts its axis last, so that three of them bring the axes back into order.
    for matrix in matrices:
        result = np.tensordot(result, matrix, axes=(0, 1))
    return np.ascontiguousarray(result, dtype=np.float32)
