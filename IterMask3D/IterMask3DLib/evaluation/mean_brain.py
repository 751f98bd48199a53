"""Mean and spread of healthy brains, laid over each other by an affine fit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Affine, BoolVolume, FloatVolume, Image
from IterMask3DLib.runtime.distributed import share, together
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.evaluation.atlas import fit_to_brain

SHAPE = (96, 112, 96)
SPACING_MM = 2.0
_LEAST_SHARE = 0.1
_LEAST_SPREAD = 0.1
_UNIT = 2.0**24


@dataclass(frozen=True)
class MeanBrain:
    """Healthy brains on one grid.

    `mean`, `spread` (standard deviation): float32 [x, y, z], in standard deviations of a brain's own intensities; where fewer than a tenth of
    the brains reach they are 0 and 1. `digest`: of both.
    """

    mean: FloatVolume
    spread: FloatVolume
    digest: str


def grid_affine() -> Affine:
    """Voxels of the mean brain to RAS mm of the bundled template."""
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = [-SPACING_MM * (side - 1) / 2 for side in SHAPE]
    return affine


def mean_brain(volumes: Sequence[Path], cache: Path, on_volume: Callable[[int, int], None] = lambda done, count: None) -> MeanBrain:
    """The mean of stripped healthy volumes, or what `cache` (an .npz file) holds of the same volumes from the same version.

    Under a launcher each process lays its share of the volumes over. Raises `UserError` if there are fewer than two.
    """
    if len(volumes) < 2:
        raise UserError("A mean healthy brain needs at least two healthy volumes for training.")
    wanted = np.array([__version__, *(path.name for path in volumes)])
    kept = _read(cache, wanted)
    # Asked together, so that no process waits for one that found the file.
    if all(together(kept is not None)) and kept is not None:
        return kept
    mine = share(volumes)
    sums = np.zeros((3, *SHAPE), dtype=np.int64)
    for number, path in enumerate(mine):
        volume = read_image(path)
        values, weight = laid_over(volume, volume.array > 0)
        # In whole numbers, so that the sum is the same over however many processes.
        sums += np.rint(_UNIT * np.stack([weight, weight * values, weight * values**2])).astype(np.int64)
        on_volume(number + 1, len(mine))
    count, total, squares = np.sum(together(sums), axis=0) / _UNIT
    known = count >= _LEAST_SHARE * len(volumes)
    mean = np.where(known, total / np.maximum(count, 1e-6), 0)
    variance = np.where(known, squares / np.maximum(count, 1e-6) - mean**2, 1)
    made = _digested(mean.astype(np.float32), np.sqrt(np.maximum(variance, _LEAST_SPREAD**2)).astype(np.float32))
    _write(cache, made, wanted)
    return made


def laid_over(volume: Image, brain: BoolVolume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A brain's intensities, mean 0 and standard deviation 1, on the mean brain's grid, and how much of each voxel is brain (0 to 1)."""
    to_voxel = np.linalg.inv(volume.affine) @ fit_to_brain(volume, brain) @ grid_affine()
    weight = _resampled(brain.astype(np.float64), to_voxel, SHAPE)
    values = _resampled(_standard(volume, brain), to_voxel, SHAPE)
    return np.where(weight > 0, values / np.maximum(weight, 1e-6), 0), weight


def z_score(volume: Image, brain: BoolVolume, healthy: MeanBrain) -> FloatVolume:
    """How many standard deviations of the healthy brains each voxel [i, j, k] lies from their mean; 0 outside `brain`."""
    to_voxel = np.linalg.inv(fit_to_brain(volume, brain) @ grid_affine()) @ volume.affine
    mean = _resampled(healthy.mean, to_voxel, volume.array.shape)
    spread = 1 + _resampled(healthy.spread - 1, to_voxel, volume.array.shape)
    return (np.where(brain, _standard(volume, brain) - mean, 0) / spread).astype(np.float32)


def _standard(volume: Image, brain: BoolVolume) -> NDArray[np.float64]:
    values = volume.array[brain].astype(np.float64)
    return np.where(brain, (volume.array - values.mean()) / values.std(), 0)


def _resampled(array: NDArray[np.floating], to_voxel: Affine, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(
        ndimage.affine_transform(array, to_voxel[:3, :3], to_voxel[:3, 3], output_shape=shape, order=1, output=np.float64), dtype=np.float64
    )


def _digested(mean: FloatVolume, spread: FloatVolume) -> MeanBrain:
    return MeanBrain(mean, spread, hashlib.sha256(mean.tobytes() + spread.tobytes()).hexdigest())


def _read(cache: Path, wanted: NDArray[np.str_]) -> MeanBrain | None:
    try:
        with np.load(cache) as stored:
            same = np.array_equal(stored["volumes"], wanted)
            return _digested(stored["mean"], stored["spread"]) if same else None
    except (OSError, ValueError, KeyError):
        return None


def _write(cache: Path, made: MeanBrain, volumes: NDArray[np.str_]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    beside = cache.with_name(f".{cache.name}.{os.getpid()}.npz")
    np.savez_compressed(beside, mean=made.mean, spread=made.spread, volumes=volumes)
    os.replace(beside, cache)
