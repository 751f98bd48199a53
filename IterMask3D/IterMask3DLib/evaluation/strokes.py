"""Synthetic strokes: lesion shapes drawn by hand, put into healthy brains with an exact mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, spacing_of
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.preprocessing.read import read_image

SIZE_LIMITS_ML = (5.0, 30.0)
"""Small is below the first, large from the second on."""

_CSF_PERCENTILE = 2.0
_WIDE_FLUID_MM = 4.0
_SHARE_AT_BORDER = 1 / 3
"""Of a lesion's change: an outline is drawn where the change is seen, not where it ends."""


@dataclass(frozen=True)
class SyntheticLesion:
    """Everything that decides how a shape is painted.

    Attributes:
        shape: name of the shape's file. contrast: severity, 0 (as bright as before) to 1 (as dark as fluid), as the
        share of the way from the local tissue
            to fluid.
        flattening: 0 keeps the brain's own structure inside, 1 puts the local mean in its place.
        texture: standard deviation of the smooth noise inside, as a share of the same way.
        texture_mm: its smoothness (standard deviation of the Gaussian).
        edge_mm: over which the lesion blends in; a third of it would lie outside the border, which is drawn where a
            change is seen, and a voxel's depth is that of its middle: the same stroke on any grid of even sides.
        local_mm: Gaussian neighbourhood of the local mean.
        seed: of the noise.
    """

    shape: str
    contrast: float = 0.6
    flattening: float = 0.7
    texture: float = 0.1
    texture_mm: float = 2.0
    edge_mm: float = 3.0
    local_mm: float = 6.0
    seed: int = 0


@dataclass(frozen=True)
class PlannedLesion:
    """A lesion for one brain: `brain` counts in the list of brains, `file` is the shape, `lesion` how to paint it."""

    brain: int
    file: Path
    lesion: SyntheticLesion


def size_class(millilitres: float) -> str:
    """Small, medium or large."""
    small, medium = SIZE_LIMITS_ML
    return "small" if millilitres < small else "medium" if millilitres < medium else "large"


def shape_files(folder: Path, split: str) -> list[Path]:
    """The shapes of one half: of the sorted file names the 1st, 3rd, … are `tune`, the 2nd, 4th, … `report`.

    Raises `UserError` if there are none.
    """
    files = sorted(folder.glob("*.nii.gz"), key=lambda path: path.name)
    chosen = files[0 if split == "tune" else 1 :: 2]
    if not chosen:
        raise UserError(
            f"{folder} holds too few lesion shapes (*.nii.gz in MNI space); give the data folder that has them."
        )
    return chosen


def plan_lesions(
    files: Sequence[Path], brains: int, per_brain: int, seed: int, contrast: tuple[float, float] = (0.4, 0.9)
) -> list[PlannedLesion]:
    """`per_brain` lesions for each of `brains` brains: shapes from small to large, with contrast drawn evenly.

    The shapes, sorted by volume, are cut into `per_brain` groups; each brain draws one of each group, and no shape
    comes twice before all of its group were drawn.
    """
    rng = np.random.default_rng(seed)
    volumes = [float((read_image(file).array > 0).sum()) for file in files]
    groups = np.array_split(np.argsort(volumes, kind="stable"), per_brain)
    if min(map(len, groups)) == 0:
        raise UserError(f"{len(files)} lesion shapes are too few for {per_brain} in each brain.")
    drawn = [np.concatenate([rng.permutation(group) for _ in range(-(-brains // len(group)))]) for group in groups]
    planned = []
    for brain in range(brains):
        for group in drawn:
            file = files[int(group[brain])]
            darkness = round(float(rng.uniform(*contrast)), 3)
            lesion = SyntheticLesion(file.name, contrast=darkness, seed=int(rng.integers(2**31)))
            planned.append(PlannedLesion(brain, file, lesion))
    return planned


def place_shape(shape: Image, image: Image, brain: BoolVolume, mni_to_brain: Affine) -> BoolVolume:
    """The voxels [i, j, k] of `image` that the shape covers, cut to the brain and out of its ventricles.

    Args:
        shape: not 0 inside, in MNI space.
        mni_to_brain: RAS mm of MNI to RAS mm of the image.
    """
    voxel_to_voxel = np.linalg.inv(shape.affine) @ np.linalg.inv(mni_to_brain) @ image.affine
    matrix, offset = voxel_to_voxel[:3, :3], voxel_to_voxel[:3, 3]
    # Smoothed to the coarser grid, so that a voxel belongs to the shape when the shape fills half of it.
    step = np.array(spacing_of(voxel_to_voxel))
    inside = (shape.array > 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(inside, 0.5 * np.sqrt(np.maximum(step**2 - 1, 0)))
    covered = ndimage.affine_transform(smooth, matrix, offset, output_shape=image.array.shape, order=1)
    return np.asarray((covered >= 0.5) & brain & ~_ventricles(image, brain))


def paint(image: Image, brain: BoolVolume, mask: BoolVolume, lesion: SyntheticLesion) -> Image:
    """The image with the voxels of `mask` (bool [i, j, k], inside `brain`) darkened as `lesion` says; no other changes.

    An integer image keeps its type; no voxel leaves the range of the brain's intensities, so that a background of 0
    stays the background. Raises `UserError` for an empty mask.
    """
    if not mask.any():
        raise UserError(f"{image.label}: the shape {lesion.shape} does not touch the brain.")
    values = image.array.astype(np.float32)
    spacing = np.array(image.spacing)
    inside = values[brain]
    fluid = float(np.percentile(inside, _CSF_PERCENTILE))
    tissue = brain & ~_fluid(values, brain)
    local = _mean_near(values, tissue, lesion.local_mm / spacing, float(np.median(inside)))
    base = values + lesion.flattening * (local - values)
    noise = _smooth_noise(image.array.shape, lesion.texture_mm / spacing, lesion.seed)
    target = base + lesion.contrast * (fluid - base) + lesion.texture * (fluid - local) * noise
    # To the middle of the nearest voxel outside; the border lies half a voxel before it, by its shortest side.
    apart = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    share = np.clip((apart - spacing.min() / 2) / lesion.edge_mm + _SHARE_AT_BORDER, 0, 1)
    changed = np.clip(values + share * (target - values), inside.min(), inside.max())
    array: NDArray[Any] = image.array.copy()
    array[mask] = (np.rint(changed[mask]) if array.dtype.kind in "iu" else changed[mask]).astype(array.dtype)
    return replace(image, array=array)


def _fluid(values: NDArray[Any], brain: BoolVolume) -> BoolVolume:
    return np.asarray(brain & (values <= np.median(values[brain]) / 2))


def _ventricles(image: Image, brain: BoolVolume) -> BoolVolume:
    """Fluid spaces wide enough to hold a ball; an affine fit cannot keep a shape out of them."""
    reach = max(1, round(_WIDE_FLUID_MM / min(image.spacing)))
    ball = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), reach)
    return np.asarray(ndimage.binary_opening(_fluid(image.array, brain), ball))


def _mean_near(values: FloatVolume, where: BoolVolume, sigma: NDArray[np.float64], otherwise: float) -> FloatVolume:
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(where, values, 0).astype(np.float32), sigma)
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), otherwise).astype(np.float32)


def _smooth_noise(shape: tuple[int, ...], sigma: NDArray[np.float64], seed: int) -> FloatVolume:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32), sigma)
    return np.asarray(noise / noise.std(), dtype=np.float32)
