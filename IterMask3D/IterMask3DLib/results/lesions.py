"""The lesions of an anomaly: its connected components, measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.geometry import Affine, bounding_box, shifted, voxel_millilitres
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.core.lesion import Lesion

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


def find_lesions(
    anomaly: BoolVolume, heatmap: FloatVolume | None, affine: Affine
) -> tuple[tuple[Lesion, ...], NDArray[np.int32]]:
    """Components that touch by a face, an edge or a corner, largest first, and their numbers as a label volume.

    Everything is measured within the box around the anomaly, in one sweep over its voxels.

    Args:
        anomaly: bool [i, j, k]; heatmap: [i, j, k], None where there is none; affine: voxel to RAS mm.
    """
    labels = np.zeros(anomaly.shape, dtype=np.int32)
    box = bounding_box(anomaly)
    if box is None:
        return (), labels
    found, count = ndimage.label(anomaly[box], structure=_TOUCHING)
    sizes = np.bincount(found.ravel(), minlength=count + 1)
    numbers = np.zeros(count + 1, dtype=np.int32)
    numbers[np.argsort(-sizes[1:], kind="stable") + 1] = np.arange(1, count + 1)
    labels[box] = numbers[found]
    voxels = np.nonzero(found)
    own = numbers[found[voxels]]
    sizes = np.bincount(own, minlength=count + 1)[1:]
    centres = np.stack([np.bincount(own, axis, count + 1)[1:] / sizes for axis in voxels], axis=1)
    placed = shifted(affine, box)
    centroids = centres @ placed[:3, :3].T + placed[:3, 3]
    means, peaks = np.zeros(count), np.zeros(count)
    if heatmap is not None:
        scores = heatmap[box][voxels].astype(np.float64)
        means = np.bincount(own, scores, count + 1)[1:] / sizes
        peaks = np.full(count + 1, -np.inf)
        np.maximum.at(peaks, own, scores)
        peaks = peaks[1:]
    voxel_ml = voxel_millilitres(affine)
    lesions = tuple(
        Lesion(n + 1, int(sizes[n]), float(sizes[n] * voxel_ml), (r, a, s), float(means[n]), float(peaks[n]))
        for n, (r, a, s) in enumerate(centroids.tolist())
    )
    return lesions, labels
