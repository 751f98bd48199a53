"""From a volume as scanned to the grid of a model, and back.

The model grid keeps the volume's own axes, in the order and direction closest to right, anterior, superior; an oblique volume is not turned. So
every step between the two grids is a permutation, a flip, a scaling and a shift along the axes, and can be undone exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform
from numpy.typing import NDArray

from IterMask3DLib.engine.brain_mask import BrainMask, find_brain
from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.intensity import SCALES, Scaled
from IterMask3DLib.engine.interpolation import along_axes, gaussian, linear
from IterMask3DLib.engine.network import SIDE_MULTIPLE
from IterMask3DLib.engine.records import Affine, BoolVolume, FloatVolume, Volume

_SAME_SPACING_MM = 1e-3
_COARSE_MM = 3.0
_RAS = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])


@dataclass(frozen=True)
class Grid:
    """What a model works on. `spacing`: mm, isotropic; `shape`: voxels along R, A, S (at least); `intensity`: name of the scale."""

    spacing: float
    shape: tuple[int, int, int]
    intensity: str


@dataclass(frozen=True)
class Mapping:
    """Where the model grid lies in the input.

    `orientation`: nibabel orientation of the input's axes; `input_shape`: of the reoriented input; along each reoriented axis, model voxel u
    lies at input voxel `offset + factor * u`.
    """

    orientation: NDArray[np.float64]
    input_shape: tuple[int, ...]
    factor: NDArray[np.float64]
    offset: NDArray[np.float64]
    shape: tuple[int, int, int]

    @property
    def exact(self) -> bool:
        """Whether the voxels of both grids coincide."""
        return bool((self.factor == 1).all())


@dataclass(frozen=True)
class Prepared:
    """A volume on the model grid.

    `volume`: float32 [x, y, z], scaled, along R, A, S; `brain`: bool; `affine`: model voxel to RAS mm; `spacing`: mm.
    """

    volume: FloatVolume
    brain: BoolVolume
    affine: Affine
    spacing: tuple[float, float, float]
    original: Volume
    brain_mask: BrainMask
    warnings: tuple[str, ...]
    mapping: Mapping
    scaled: Scaled

    def restore_mask(self, mask: BoolVolume) -> NDArray[np.uint8]:
        """A mask [x, y, z] on the grid of the input [i, j, k], by nearest neighbour; 0 outside the model grid."""
        m, indices = self.mapping, []
        padded = np.pad(mask.astype(np.uint8), ((0, 1),) * 3)
        for axis, size in enumerate(m.input_shape):
            nearest = np.floor((np.arange(size) - m.offset[axis]) / m.factor[axis] + 0.5).astype(np.int64)
            inside = (nearest >= 0) & (nearest < mask.shape[axis])
            # What lies outside reads the row of zeros that was added at the end.
            indices.append(np.where(inside, nearest, mask.shape[axis]))
        return np.ascontiguousarray(_back(padded[np.ix_(*indices)], m.orientation))

    def restore_map(self, values: FloatVolume) -> FloatVolume:
        """A map [x, y, z] on the grid of the input [i, j, k], by linear interpolation; 0 outside the model grid."""
        m = self.mapping
        sizes = zip(m.input_shape, values.shape, m.factor, m.offset, strict=True)
        restored = along_axes(values, [linear(size, source, 1 / factor, -offset / factor) for size, source, factor, offset in sizes])
        return np.ascontiguousarray(_back(restored, m.orientation))

    def restore_intensity(self, values: FloatVolume) -> FloatVolume:
        """A reconstruction [x, y, z] on the grid of the input and in its intensities; 0 outside the brain."""
        unscaled = values * self.scaled.factor + self.scaled.offset
        # Dividing by the interpolated brain keeps the background out of the voxels at its border.
        weight = self.restore_map(self.brain.astype(np.float32))
        inside = (weight > 0) & self.brain_mask.array
        total = self.restore_map(np.where(self.brain, unscaled, 0).astype(np.float32))
        return np.asarray(np.where(inside, total / np.where(inside, weight, 1), 0), dtype=np.float32)


def prepare(volume: Volume, grid: Grid, given_mask: Volume | None = None) -> Prepared:
    """Reorients, finds the brain, resamples to the model's spacing, crops around the brain and scales the intensity.

    The model grid grows in multiples of 16 where the brain does not fit. Raises `InputError` if there is no brain.
    """
    mask = find_brain(volume, given_mask)
    orientation = io_orientation(volume.affine)
    turned = apply_orientation(volume.array, orientation).astype(np.float32)
    brain_turned = apply_orientation(mask.array, orientation).astype(bool)
    affine = volume.affine @ inv_ornt_aff(orientation, volume.array.shape)
    mapping = _place(brain_turned, affine, orientation, grid)
    on_grid, brain = _resampled(turned, brain_turned, mapping)
    if not brain.any():
        raise InputError(f"{volume.source or volume.name}: no brain is left at {grid.spacing:g} mm; check the brain mask.")
    if on_grid[brain].min() == on_grid[brain].max():
        raise InputError(f"{volume.source or volume.name} is constant inside the brain mask; check the mask.")
    scaled = SCALES[grid.intensity](on_grid, brain)
    model_affine = affine @ _scaling(mapping)
    spacing = Volume(on_grid, model_affine, volume.name).spacing
    warnings = mask.warnings + _oddities(volume)
    return Prepared(scaled.array, brain, model_affine, spacing, volume, mask, warnings, mapping, scaled)


def _scaling(mapping: Mapping) -> Affine:
    matrix = np.diag([*mapping.factor, 1.0])
    matrix[:3, 3] = mapping.offset
    return matrix


def _place(brain: BoolVolume, affine: Affine, orientation: NDArray[np.float64], grid: Grid) -> Mapping:
    """The model grid with the brain's box in its middle, on whole input voxels where the spacings agree."""
    spacing = np.array(Volume(brain, affine, "").spacing)
    # Rounded, so that an affine kept in 32 bits in another orientation gives the same grid; the grid's own affine follows the rounded value.
    factor = np.where(np.abs(spacing - grid.spacing) < _SAME_SPACING_MM, 1.0, np.round(grid.spacing / spacing, 5))
    shape, offset = [], np.zeros(3)
    for axis in range(3):
        hits = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
        first, last = float(hits[0]), float(hits[-1])
        extent = int(np.ceil((last - first) / factor[axis])) + (1 if factor[axis] == 1 else 2)
        size = max(grid.shape[axis], -(-extent // SIDE_MULTIPLE) * SIDE_MULTIPLE)
        offset[axis] = (first + last) / 2 - factor[axis] * (size - 1) / 2
        if factor[axis] == 1:
            offset[axis] = np.floor(offset[axis])
        shape.append(size)
    return Mapping(orientation, brain.shape, factor, offset, (shape[0], shape[1], shape[2]))


def _resampled(array: FloatVolume, brain: BoolVolume, mapping: Mapping) -> tuple[FloatVolume, BoolVolume]:
    """Volume and brain on the model grid. Averages inside the brain alone where voxels get larger, so that no background bleeds in."""
    weight = brain.astype(np.float32)
    sigmas = np.zeros(3) if mapping.exact else 0.5 * np.sqrt(np.maximum(mapping.factor**2 - 1, 0))
    sizes = zip(mapping.shape, array.shape, mapping.factor, mapping.offset, sigmas, strict=True)
    matrices = [linear(size, source, factor, offset) @ gaussian(source, sigma) for size, source, factor, offset, sigma in sizes]
    on_grid, share = (along_axes(a, matrices) for a in (array * weight, weight))
    inside = share >= 0.5
    return np.where(inside, on_grid / np.where(inside, share, 1), 0).astype(np.float32), inside


def _back(array: NDArray[np.generic], orientation: NDArray[np.float64]) -> NDArray[np.generic]:
    return apply_orientation(array, ornt_transform(_RAS, orientation))


def _oddities(volume: Volume) -> tuple[str, ...]:
    coarse = max(volume.spacing)
    if coarse > _COARSE_MM:
        return (f"Voxels are {coarse:.1f} mm along one axis; small lesions can be missed and edges look anomalous.",)
    return ()
