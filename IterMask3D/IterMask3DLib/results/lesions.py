"""The lesions of an anomaly: its connected components, measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.image import Affine, BoolVolume, FloatVolume

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True)
class Lesion:
    """One connected component. `centroid_ras`: mm; `mean_error`, `peak_error`: of the heatmap inside it."""

    number: int
    voxels: int
    volume_ml: float
    centroid_ras: tuple[float, float, float]
    mean_error: float
    peak_error: float


def find_lesions(anomaly: BoolVolume, heatmap: FloatVolume, affine: Affine) -> tuple[tuple[Lesion, ...], NDArray[np.int32]]:
    """Components of `anomaly` [i, j, k] that touch by a face, an edge or a corner, largest first, and their numbers as a label volume."""
    found, count = ndimage.label(anomaly, structure=_TOUCHING)
    if count == 0:
        return (), np.zeros(anomaly.shape, dtype=np.int32)
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable") + 1
    numbers = np.zeros(count + 1, dtype=np.int32)
    numbers[order] = np.arange(1, count + 1)
    labels = numbers[found]
    index = np.arange(1, count + 1)
    means = ndimage.mean(heatmap, labels, index)
    peaks = ndimage.maximum(heatmap, labels, index)
    centres = np.array(ndimage.center_of_mass(anomaly, labels, index)) @ affine[:3, :3].T + affine[:3, 3]
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    voxels = sizes[order - 1]
    lesions = tuple(
        Lesion(i + 1, int(voxels[i]), float(voxels[i] * voxel_ml), _point(centres[i]), float(means[i]), float(peaks[i]))
        for i in range(count)
    )
    return lesions, labels


def _point(place: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(place[0]), float(place[1]), float(place[2])
