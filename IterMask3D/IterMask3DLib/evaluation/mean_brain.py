"""Mean and spread of healthy brains, laid over each other by an affine fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import whole_file
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.preprocessing.registration import template_to_brain
from IterMask3DLib.runtime.distributed import all_gather, shard

SHAPE = (96, 112, 96)
SPACING_MM = 2.0
_LEAST_SHARE = 0.1
_LEAST_SPREAD = 0.1
_UNIT = 2.0**24

GRID_AFFINE: Affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
"""Voxels of the mean brain to RAS mm of the bundled template."""
GRID_AFFINE[:3, 3] = [-SPACING_MM * (side - 1) / 2 for side in SHAPE]


@dataclass(frozen=True)
class MeanBrain:
    """Healthy brains on one grid.

    Attributes:
        mean, spread: float32 [x, y, z], in standard deviations of a brain's own intensities (`spread` is a standard
            deviation); where fewer than a tenth of the brains reach they are 0 and 1.
    """

    mean: FloatVolume
    spread: FloatVolume

    @property
    def digest(self) -> str:
        """SHA-256 of both."""
        return hashlib.sha256(self.mean.tobytes() + self.spread.tobytes()).hexdigest()


def mean_brain(
    volumes: Sequence[Path], cache: Path, track: Callable[[Sequence[Path]], Iterable[Path]] = iter
) -> MeanBrain:
    """The mean of stripped healthy volumes, or what `cache` (an .npz file) holds of the same volumes from this version.

    Under a launcher each process lays its shard of the volumes over. Raises `UserError` if there are fewer than two.

    Args:
        track: gives the volumes one by one, and may say how far it is.
    """
    if len(volumes) < 2:
        raise UserError("A mean healthy brain needs at least two healthy volumes for training.")
    wanted = np.array([__version__, *(path.name for path in volumes)])
    kept = _read(cache, wanted)
    # Asked of all, so that no process waits for one that found the file.
    if all(all_gather(kept is not None)) and kept is not None:
        return kept
    sums = np.zeros((3, *SHAPE), dtype=np.int64)
    for path in track(shard(volumes)):
        image = read_image(path)
        values, weight = laid_over(image, image.array > 0)
        # In whole numbers, so that the sum is the same over however many processes.
        sums += np.rint(_UNIT * np.stack([weight, weight * values, weight * values**2])).astype(np.int64)
    count, total, squares = np.sum(all_gather(sums), axis=0) / _UNIT
    known = count >= _LEAST_SHARE * len(volumes)
    mean = np.where(known, total / np.maximum(count, 1e-6), 0)
    variance = np.where(known, squares / np.maximum(count, 1e-6) - mean**2, 1)
    found = MeanBrain(mean.astype(np.float32), np.sqrt(np.maximum(variance, _LEAST_SPREAD**2)).astype(np.float32))
    cache.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(cache) as part:
        np.savez_compressed(part, mean=found.mean, spread=found.spread, volumes=wanted)
    return found


def laid_over(image: Image, brain: BoolVolume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A brain on the mean brain's grid: intensities of mean 0 and deviation 1, and the share of brain of each voxel."""
    to_voxel = np.linalg.inv(image.affine) @ template_to_brain(image, brain) @ GRID_AFFINE
    weight = _resampled(brain.astype(np.float64), to_voxel, SHAPE)
    values = _resampled(_standard(image, brain), to_voxel, SHAPE)
    return np.where(weight > 0, values / np.maximum(weight, 1e-6), 0), weight


def z_score(image: Image, brain: BoolVolume, healthy: MeanBrain) -> FloatVolume:
    """How many deviations of the healthy brains each voxel [i, j, k] lies from their mean; 0 outside `brain`."""
    to_voxel = np.linalg.inv(template_to_brain(image, brain) @ GRID_AFFINE) @ image.affine
    mean = _resampled(healthy.mean, to_voxel, image.array.shape)
    spread = 1 + _resampled(healthy.spread - 1, to_voxel, image.array.shape)
    return (np.where(brain, _standard(image, brain) - mean, 0) / spread).astype(np.float32)


def _standard(image: Image, brain: BoolVolume) -> NDArray[np.float64]:
    values = image.array[brain].astype(np.float64)
    return np.where(brain, (image.array - values.mean()) / values.std(), 0)


def _resampled(array: NDArray[np.floating], to_voxel: Affine, shape: tuple[int, ...]) -> NDArray[np.float64]:
    matrix, offset = to_voxel[:3, :3], to_voxel[:3, 3]
    return np.asarray(ndimage.affine_transform(array, matrix, offset, output_shape=shape, order=1, output=np.float64))


def _read(cache: Path, wanted: NDArray[np.str_]) -> MeanBrain | None:
    try:
        with np.load(cache) as stored:
            same = np.array_equal(stored["volumes"], wanted)
            return MeanBrain(stored["mean"], stored["spread"]) if same else None
    except (OSError, ValueError, KeyError):
        return None
