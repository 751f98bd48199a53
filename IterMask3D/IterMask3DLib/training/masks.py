"""Random masks a network learns to fill in: blobs of three sizes, and whole brains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOB_GRIDS_MM = (4.0, 4.0, 2.0, 8.0)
"""Voxel size of the grid a blob is drawn on; each is as likely as its share in this list (published: 1/4, 1/2, 1/8 of 1 mm)."""

_POINTS = 100_000
_VARIANCE = (0.3, 10.0)


def sample_mask(brain: NDArray[np.bool_], spacing: float, rng: np.random.Generator, full_brain_share: float = 0.0) -> NDArray[np.bool_]:
    """Mask of voxels to hide, inside the brain.

    `brain`: bool [x, y, z], at least one voxel; `spacing`: mm, isotropic; `full_brain_share`: probability of hiding the whole brain, as
    the first pass of an inference does (0 as published). Returns bool [x, y, z]. Source: section 3.2 of the paper and its public code,
    with points kept inside both ends of the grid.
    """
    if rng.random() < full_brain_share:
        return brain.copy()
    return blob(brain, max(1, round(rng.choice(BLOB_GRIDS_MM) / spacing)), rng)


def blob(brain: NDArray[np.bool_], factor: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Voxels hit by a cloud of normally distributed points around a random brain voxel, on a grid coarser by `factor`."""
    coarse = brain[factor // 2 :: factor, factor // 2 :: factor, factor // 2 :: factor]
    voxels = np.argwhere(coarse)
    if len(voxels) == 0:
        return brain.copy()
    centre = voxels[rng.integers(len(voxels))]
    rotation = _random_rotation(rng)
    deviations = np.sqrt(rng.uniform(*_VARIANCE, size=3))
    points = centre + rng.standard_normal((_POINTS, 3)) * deviations @ rotation.T
    cells = np.clip(points.astype(np.int64), 0, np.array(coarse.shape) - 1)
    hit = np.zeros(coarse.shape, dtype=bool)
    hit[tuple(cells.T)] = True
    for axis in range(3):
        hit = np.repeat(hit, factor, axis=axis)
    fine: NDArray[np.bool_] = np.zeros_like(brain)
    overlap = tuple(slice(int(n)) for n in np.minimum(fine.shape, hit.shape))
    fine[overlap] = hit[overlap]
    return fine & brain


def _random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Haar-distributed orthogonal 3x3 matrix: QR of a normal matrix with the signs of the diagonal made positive."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))
