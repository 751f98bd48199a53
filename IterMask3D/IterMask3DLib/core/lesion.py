"""Lesions: the connected components of an anomaly, measured with NumPy alone, in Slicer's main process too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.geometry import Affine, bounding_box, voxel_millilitres


@dataclass(frozen=True)
class Lesion:
    """One connected component; its voxels touch by a face, an edge or a corner.

    Attributes:
        number: 1, 2, … from the largest to the smallest.
        voxels, volume_ml: its size, on the grid of the input.
        centroid_ras: mm.
        mean_score, peak_score: of the heatmap inside it; 0 where there is none.
    """

    number: int
    voxels: int
    volume_ml: float
    centroid_ras: tuple[float, float, float]
    mean_score: float
    peak_score: float


def find_lesions(
    anomaly: NDArray[np.bool_], heatmap: NDArray[np.floating] | None, affine: Affine
) -> tuple[tuple[Lesion, ...], NDArray[np.int32]]:
    """The lesions of an anomaly [i, j, k], and their numbers as a label volume [i, j, k].

    Lines of voxels are joined instead of voxels: 11 ms to join 20,000 lines of 240 x 240 x 155 voxels, where
    `scipy.ndimage.label` takes 104 and ITK's filter 320; the longer, the more of a volume is anomalous.

    Args:
        heatmap: scores [i, j, k], or None.
        affine: voxel to RAS mm.
    """
    labels = np.zeros(anomaly.shape, dtype=np.int32, order="F")
    box = bounding_box(anomaly)
    if box is None:
        return (), labels
    # One voxel wider on every side, so that no line touches one it only seems to follow in memory.
    part = np.pad(anomaly[box].T, 1)
    begin, end = _lines(part)
    component = _joined(begin, end, part.shape)
    roots, component = np.unique(component, return_inverse=True)
    count, length = len(roots), end - begin
    k, j, i = (axis - 1 for axis in np.unravel_index(begin, part.shape))
    voxels = np.bincount(component, length, count).astype(np.int64)
    centres = [np.bincount(component, length * at, count) / voxels for at in (i + (length - 1) / 2, j, k)]
    # Of two equally large ones the first is the one that comes first along i, then j, then k.
    place = np.full(count, part.size)
    np.minimum.at(place, component, np.ravel_multi_index((i, j, k), part.T.shape))
    order = np.lexsort((place, -voxels))
    number = np.empty(count, dtype=np.int32)
    number[order] = np.arange(1, count + 1)

    inside = part.ravel()
    labels[box].T[...] = _spread(inside, np.repeat(number[component], length)).reshape(part.shape)[1:-1, 1:-1, 1:-1]
    means, peaks = np.zeros(count), np.zeros(count)
    if heatmap is not None:
        scores = np.pad(heatmap[box].T, 1).ravel()[inside].astype(np.float64)
        first = np.cumsum(length) - length
        means = np.bincount(component, np.add.reduceat(scores, first), count) / voxels
        peaks[:] = -np.inf
        np.maximum.at(peaks, component, np.maximum.reduceat(scores, first))
    corner = [side.start for side in box]
    ras = (np.column_stack(centres) + corner) @ affine[:3, :3].T + affine[:3, 3]
    columns = (voxels, voxels * voxel_millilitres(affine), ras, means, peaks)
    rows = zip(*(column[order].tolist() for column in columns), strict=True)
    lesions = tuple(
        Lesion(n, size, ml, (at[0], at[1], at[2]), mean, peak) for n, (size, ml, at, mean, peak) in enumerate(rows, 1)
    )
    return lesions, labels


def _lines(part: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where lines of neighbouring voxels begin, and the place after their end, in a volume with an empty border."""
    edges = np.flatnonzero(np.diff(part.ravel().view(np.int8))) + 1
    return edges[::2], edges[1::2]


def _joined(begin: NDArray[np.int64], end: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """For each line the least line that it hangs together with."""
    row, plane = shape[2], shape[1] * shape[2]
    ones, others = [], []
    for back in (row, plane - row, plane, plane + row):
        # The lines of an earlier row that this one touches, by a corner too.
        first = np.searchsorted(end, begin - back, "left")
        count = np.maximum(np.searchsorted(begin, end - back, "right") - first, 0)
        one = np.repeat(np.arange(len(begin)), count)
        ones.append(one)
        others.append(np.arange(len(one)) + np.repeat(first - np.cumsum(count) + count, count))
    one, other = np.concatenate(ones), np.concatenate(others)
    root = np.arange(len(begin))
    while True:
        apart = root[one] != root[other]
        if not apart.any():
            return root
        one, other = one[apart], other[apart]
        np.minimum.at(root, np.maximum(root[one], root[other]), np.minimum(root[one], root[other]))
        while (root[root] != root).any():
            root = root[root]


def _spread(where: NDArray[np.bool_], values: NDArray[np.int32]) -> NDArray[np.int32]:
    result = np.zeros(where.shape, dtype=values.dtype)
    result[where] = values
    return result
