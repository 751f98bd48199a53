"""Mean and spread of healthy brains, laid over each other by an affine fit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.geometry import Affine, Shape
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.preprocessing.registration import template_to_brain

_EXTENT_MM = (192.0, 224.0, 192.0)
_LEAST_SHARE = 0.1
_LEAST_SPREAD = 0.1
_UNIT = 2.0**24


@dataclass(frozen=True)
class MeanBrain:
    """Healthy brains on one grid, 192 x 224 x 192 mm around the middle of the bundled template.

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

    def at(self, image: Image, brain: BoolVolume) -> tuple[FloatVolume, FloatVolume]:
        """Mean and spread at each voxel [i, j, k] of another brain, by linear interpolation: float32, 0 and 1 far off.

        `image`: above 0 inside `brain`.
        """
        to_voxel = np.linalg.inv(template_to_brain(image, brain) @ _affine(self.mean.shape)) @ image.affine
        mean = _resampled(self.mean, to_voxel, brain.shape)
        spread = 1 + _resampled(self.spread - 1, to_voxel, brain.shape)
        return mean.astype(np.float32), spread.astype(np.float32)


def mean_brain_shape(spacing: float) -> Shape:
    """The voxels of a mean brain."""
    i, j, k = (round(extent / spacing) for extent in _EXTENT_MM)
    return i, j, k


def sums_over(brains: Iterable[tuple[Image, BoolVolume]], spacing: float) -> NDArray[np.int64]:
    """What a mean brain is made of: [3, x, y, z], each brain's share, values and their squares, added up.

    In whole numbers, so that the sum is the same over however many processes.
    """
    sums = np.zeros((3, *mean_brain_shape(spacing)), dtype=np.int64)
    for image, brain in brains:
        values, weight = _laid_over(image, brain, spacing)
        sums += np.rint(_UNIT * np.stack([weight, weight * values, weight * values**2])).astype(np.int64)
    return sums


def mean_of(sums: NDArray[np.int64], brains: int) -> MeanBrain:
    """The mean of so many brains."""
    count, total, squares = sums / _UNIT
    known = count >= _LEAST_SHARE * brains
    mean = np.where(known, total / np.maximum(count, 1e-6), 0)
    variance = np.where(known, squares / np.maximum(count, 1e-6) - mean**2, 1)
    return MeanBrain(mean.astype(np.float32), np.sqrt(np.maximum(variance, _LEAST_SPREAD**2)).astype(np.float32))


def standard(values: NDArray[np.number], brain: BoolVolume) -> NDArray[np.float64]:
    """Values [i, j, k] with mean 0 and standard deviation 1 inside the brain, 0 outside."""
    inside = values[brain].astype(np.float64)
    return np.where(brain, (values - inside.mean()) / inside.std(), 0)


def _laid_over(image: Image, brain: BoolVolume, spacing: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A brain on the mean brain's grid: intensities of mean 0 and deviation 1, and the share of brain of each voxel."""
    shape = mean_brain_shape(spacing)
    to_voxel = np.linalg.inv(image.affine) @ template_to_brain(image, brain) @ _affine(shape)
    weight = _resampled(brain.astype(np.float64), to_voxel, shape)
    values = _resampled(standard(image.array, brain), to_voxel, shape)
    return np.where(weight > 0, values / np.maximum(weight, 1e-6), 0), weight


def _affine(shape: tuple[int, ...]) -> Affine:
    """Voxels of a mean brain of this shape to RAS mm of the bundled template."""
    spacing = _EXTENT_MM[0] / shape[0]
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [-spacing * (side - 1) / 2 for side in shape]
    return affine


def _resampled(array: NDArray[np.floating], to_voxel: Affine, shape: tuple[int, ...]) -> NDArray[np.float64]:
    matrix, offset = to_voxel[:3, :3], to_voxel[:3, 3]
    return np.asarray(ndimage.affine_transform(array, matrix, offset, output_shape=shape, order=1, output=np.float64))
