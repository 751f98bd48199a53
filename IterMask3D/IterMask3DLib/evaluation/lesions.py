"""Synthetic strokes: lesion shapes drawn by hand, put into healthy brains with an exact mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Affine, BoolVolume, FloatVolume, Image
from IterMask3DLib.preprocessing.read import read_image

Split = Literal["tune", "report"]
SizeClass = Literal["small", "medium", "large"]
SIZE_LIMITS_ML = (5.0, 30.0)
"""Small is below the first, large from the second on."""

_CSF_PERCENTILE = 2.0
_WIDE_FLUID_MM = 4.0


@dataclass(frozen=True)
class Lesion:
    """Everything that decides how a shape is painted.

    `shape`: name of the shape's file; `contrast`: severity, 0 (nothing is seen of its darkness) to 1 (as dark as fluid), as the share of the
    way from the local tissue to fluid; `flattening`: 0 keeps the brain's own structure inside, 1 puts the local mean in its place;
    `texture`: standard deviation of the smooth noise inside, as a share of the same way; `texture_mm`: its smoothness (standard deviation of the
    Gaussian); `edge_mm`: depth over which the lesion blends in from its border; `local_mm`: Gaussian neighbourhood of the local mean; `seed`: of
    the noise.
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
class Painted:
    """A volume with a lesion in it.

    `volume`: same grid and type as the healthy one, equal to it wherever `mask` is False; `mask`: bool [i, j, k]; `millilitres`: of the mask;
    `lesion`: what was painted.
    """

    volume: Image
    mask: BoolVolume
    millilitres: float
    lesion: Lesion

    @property
    def size(self) -> SizeClass:
        return size_class(self.millilitres)


def size_class(millilitres: float) -> SizeClass:
    """Small, medium or large."""
    small, medium = SIZE_LIMITS_ML
    return "small" if millilitres < small else "medium" if millilitres < medium else "large"


def shape_files(folder: Path, split: Split) -> list[Path]:
    """The shapes of one half: of the sorted file names the 1st, 3rd, … are `tune`, the 2nd, 4th, … `report`. Raises `UserError` if there are none."""
    files = sorted(folder.glob("*.nii.gz"), key=lambda path: path.name)
    chosen = files[0 if split == "tune" else 1 :: 2]
    if not chosen:
        raise UserError(f"{folder} holds too few lesion shapes (*.nii.gz in MNI space); give the data folder that has them.")
    return chosen


def read_shape(path: Path) -> Image:
    """A shape as a volume of 0 and 1 in MNI space."""
    volume = read_image(path)
    return Image((volume.array > 0).astype(np.float32), volume.affine, volume.name, volume.source)


def place_shape(shape: Image, volume: Image, brain: BoolVolume, mni_to_brain: Affine) -> BoolVolume:
    """The voxels [i, j, k] of `volume` that the shape covers, cut to the brain and out of its ventricles.

    `mni_to_brain`: RAS mm of MNI to RAS mm of the volume.
    """
    voxel_to_voxel = np.linalg.inv(shape.affine) @ np.linalg.inv(mni_to_brain) @ volume.affine
    # Smoothed to the coarser grid, so that a voxel belongs to the shape when the shape fills half of it.
    step = np.sqrt((voxel_to_voxel[:3, :3] ** 2).sum(axis=0))
    smooth = ndimage.gaussian_filter(shape.array, 0.5 * np.sqrt(np.maximum(step**2 - 1, 0)))
    covered = ndimage.affine_transform(smooth, voxel_to_voxel[:3, :3], voxel_to_voxel[:3, 3], output_shape=volume.array.shape, order=1)
    return np.asarray((covered >= 0.5) & brain & ~_ventricles(volume, brain))


def paint(volume: Image, brain: BoolVolume, mask: BoolVolume, lesion: Lesion) -> Painted:
    """Darkens the voxels of `mask` (bool [i, j, k], inside `brain`) as `lesion` says; no other voxel changes.

    An integer volume keeps its type; no voxel leaves the range of the brain's intensities, so that a background of 0 stays the background.
    """
    if not mask.any():
        raise UserError(f"{volume.source or volume.name}: the shape {lesion.shape} does not touch the brain.")
    values = volume.array.astype(np.float32)
    spacing = np.array(volume.spacing)
    inside = values[brain]
    fluid = float(np.percentile(inside, _CSF_PERCENTILE))
    tissue = brain & ~_fluid(values, brain)
    local = _mean_near(values, tissue, lesion.local_mm / spacing, float(np.median(inside)))
    way = fluid - local
    base = values + lesion.flattening * (local - values)
    noise = _smooth_noise(volume.array.shape, lesion.texture_mm / spacing, lesion.seed)
    target = base + lesion.contrast * (fluid - base) + lesion.texture * way * noise
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    share = np.clip(depth / lesion.edge_mm, 0, 1)
    changed = np.clip(values + share * (target - values), inside.min(), inside.max())
    array: NDArray[Any] = volume.array.copy()
    array[mask] = (np.rint(changed[mask]) if array.dtype.kind in "iu" else changed[mask]).astype(array.dtype)
    millilitres = float(mask.sum() * spacing.prod() / 1000)
    return Painted(Image(array, volume.affine, volume.name, volume.source), mask, millilitres, lesion)


def paint_shape(volume: Image, brain: BoolVolume, file: Path, lesion: Lesion, mni_to_brain: Affine) -> Painted:
    """Places the shape in `file` and paints it. `mni_to_brain`: from `atlas.mni_to_brain` of the healthy volume."""
    return paint(volume, brain, place_shape(read_shape(file), volume, brain, mni_to_brain), lesion)


@dataclass(frozen=True)
class Pair:
    """One brain and one shape: `brain` is a number into the list of brains, `file` the shape, `lesion` how to paint it."""

    brain: int
    file: Path
    lesion: Lesion


def plan_pairs(files: Sequence[Path], brains: int, per_brain: int, seed: int, contrast: tuple[float, float] = (0.4, 0.9)) -> list[Pair]:
    """`per_brain` lesions for each of `brains` brains, so that each brain gets shapes from small to large, with contrast drawn evenly.

    The shapes, sorted by volume, are cut into `per_brain` groups; each brain draws one of each group, and no shape comes twice before all of
    its group were drawn.
    """
    rng = np.random.default_rng(seed)
    volumes = [float(read_shape(file).array.sum()) for file in files]
    groups = np.array_split(np.argsort(volumes, kind="stable"), per_brain)
    if min(map(len, groups)) == 0:
        raise UserError(f"{len(files)} lesion shapes are too few for {per_brain} in each brain.")
    drawn = [np.concatenate([rng.permutation(group) for _ in range(-(-brains // len(group)))]) for group in groups]
    pairs = []
    for brain in range(brains):
        for group in drawn:
            file = files[int(group[brain])]
            darkness = round(float(rng.uniform(*contrast)), 3)
            pairs.append(Pair(brain, file, Lesion(file.name, contrast=darkness, seed=int(rng.integers(2**31)))))
    return pairs


def _fluid(values: NDArray[Any], brain: BoolVolume) -> BoolVolume:
    return np.asarray(brain & (values <= np.median(values[brain]) / 2))


def _ventricles(volume: Image, brain: BoolVolume) -> BoolVolume:
    """Fluid spaces wide enough to hold a ball; an affine fit cannot keep a shape out of them."""
    reach = max(1, round(_WIDE_FLUID_MM / min(volume.spacing)))
    ball = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), reach)
    return np.asarray(ndimage.binary_opening(_fluid(volume.array, brain), ball))


def _mean_near(values: FloatVolume, where: BoolVolume, sigma: NDArray[np.float64], otherwise: float) -> FloatVolume:
    weight = ndimage.gaussian_filter(where.astype(np.float32), sigma)
    total = ndimage.gaussian_filter(np.where(where, values, 0).astype(np.float32), sigma)
    return np.where(weight > 1e-3, total / np.maximum(weight, 1e-3), otherwise).astype(np.float32)


def _smooth_noise(shape: tuple[int, ...], sigma: NDArray[np.float64], seed: int) -> FloatVolume:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32), sigma)
    return np.asarray(noise / noise.std(), dtype=np.float32)
