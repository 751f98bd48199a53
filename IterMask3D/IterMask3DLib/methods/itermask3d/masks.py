"""Random masks a network learns to fill in: blobs of three sizes, scattered voxels, and whole brains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

BLOB_GRIDS_MM = (4.0, 4.0, 2.0, 8.0)
"""Voxel sizes of the grid a blob is drawn on, each as likely as its share (published: grids of 1/4, 1/2, 1/8)."""

SCATTERED_SHARES = (0.02, 0.98)
"""Shares of the brain between which a mask of scattered voxels covers it."""

SCATTERED_GRAIN_MM = (3.0, 12.0)
"""Distances over which the smooth part of the field behind such a mask changes."""

_POINTS = 100_000
_VARIANCE = (0.3, 10.0)


@dataclass(frozen=True)
class MaskPlan:
    """How often a mask is the whole brain or scattered voxels (both 0 as published); all other masks are blobs."""

    full_brain: float = 0.0
    scattered: float = 0.0


AS_PUBLISHED = MaskPlan()


def sample_mask(
    brain: NDArray[np.bool_], spacing: float, rng: np.random.Generator, plan: MaskPlan = AS_PUBLISHED
) -> NDArray[np.bool_]:
    """Mask of voxels to hide, inside the brain.

    `brain`: bool [x, y, z], at least one voxel; `spacing`: mm, isotropic. Returns bool [x, y, z], at least one voxel.
    Source: section 3.2 of the paper and its public code, with points kept inside both ends of the grid. Beyond the
    paper: the whole brain, as the first pass of an inference hides it, and scattered voxels, as its later passes leave
    them.
    """
    kind = rng.random()
    if kind < plan.full_brain:
        return brain.copy()
    if kind < plan.full_brain + plan.scattered:
        return scattered(brain, spacing, rng)
    return blob(brain, max(1, round(rng.choice(BLOB_GRIDS_MM) / spacing)), rng)


def blob(brain: NDArray[np.bool_], factor: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Voxels hit by a cloud of normally distributed points around a random brain voxel, on a coarser grid."""
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


def scattered(brain: NDArray[np.bool_], spacing: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The highest voxels of a random field, part smooth, part white: a sweep leaves such dust and clumps masked.

    The share of the brain covered, the grain of the smooth part and the weight of the white part are drawn anew each
    time.
    """
    share = rng.uniform(*SCATTERED_SHARES)
    grain = np.exp(rng.uniform(*np.log(SCATTERED_GRAIN_MM)))
    white = rng.uniform()
    nodes = [max(2, int(np.ceil(side * spacing / grain)) + 1) for side in brain.shape]
    coarse = torch.from_numpy(rng.standard_normal(nodes, dtype=np.float32))[None, None]
    smooth = functional.interpolate(coarse, size=brain.shape, mode="trilinear", align_corners=True)[0, 0].numpy()[brain]
    field = (1 - white) * smooth / max(float(smooth.std()), 1e-6) + white * rng.standard_normal(
        smooth.size, dtype=np.float32
    )
    covered = max(1, round(share * field.size))
    chosen = np.argpartition(field, field.size - covered)[field.size - covered :]
    inside = np.zeros(field.size, dtype=bool)
    inside[chosen] = True
    mask = np.zeros_like(brain)
    mask[brain] = inside
    return mask


def _random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Haar-distributed orthogonal 3x3 matrix: QR of a normal matrix with the signs of the diagonal made positive."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))
