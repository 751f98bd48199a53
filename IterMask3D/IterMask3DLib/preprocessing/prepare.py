"""From the images of a case to the grid of a model, and back.

The model grid keeps the reference's own axes, in the order and direction closest to right, anterior, superior; an oblique
volume is not turned. So every step between the two grids is a permutation, a flip, a scaling and a shift along the axes,
and can be undone exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, GridTransform, Shape, Spacing, bounding_box, spacing_of
from IterMask3DLib.core.image import BoolVolume, Case, FloatVolume, Image
from IterMask3DLib.core.result import Layer, LayerKind
from IterMask3DLib.preprocessing.intensity import SCALES, Scale
from IterMask3DLib.preprocessing.resampling import along_axes, gaussian, linear, onto_grid_of
from IterMask3DLib.preprocessing.skull_stripping import BrainMask, find_brain

_SAME_SPACING_MM = 1e-3
_COARSE_MM = 3.0


@dataclass(frozen=True)
class Prepared:
    """A case on the grid of a model.

    Attributes:
        channels: float32 [c, x, y, z], scaled, along R, A, S, in the order of the card's inputs.
        brain: bool [x, y, z].
        affine: model voxel to RAS mm; spacing: mm along x, y, z.
        transform: the way between the model grid and that of the reference.
        case: as it was given; brain_mask: on the grid of the reference.
        scales: of each channel's intensities.
        warnings: sentences for the user.
    """

    channels: FloatVolume
    brain: BoolVolume
    affine: Affine
    spacing: Spacing
    transform: GridTransform
    case: Case
    brain_mask: BrainMask
    scales: tuple[Scale, ...]
    warnings: tuple[str, ...]

    def restore(self, layer: Layer, channel: int = 0) -> Layer:
        """A layer of the model grid on the grid of the reference [i, j, k], as its kind asks for.

        Masks by nearest neighbour, scores by linear interpolation, both inside the brain alone; intensities in the units
        of the channel's image.
        """
        values = layer.read()
        if layer.kind is LayerKind.MASK:
            return Layer(layer.kind, self.transform.mask_to_input(values) & self.brain_mask.array, layer.unit)
        if layer.kind is LayerKind.SCORE:
            return Layer(layer.kind, self._interpolated(values) * self.brain_mask.array, layer.unit)
        return Layer(layer.kind, self._intensity(values, self.scales[channel]), layer.unit)

    def unscaled(self, values: FloatVolume, channel: int = 0) -> FloatVolume:
        """A reconstruction [x, y, z] in the units of the channel's image, 0 outside the brain; still on the model grid."""
        scale = self.scales[channel]
        return np.where(self.brain, values * scale.factor + scale.offset, 0).astype(np.float32)

    def _interpolated(self, values: FloatVolume) -> FloatVolume:
        t = self.transform
        sizes = zip(t.turned_shape, values.shape, t.factor, t.offset, strict=True)
        matrices = [linear(size, source, 1 / factor, -offset / factor) for size, source, factor, offset in sizes]
        return np.ascontiguousarray(t.turn_back(along_axes(values, matrices)))

    def _intensity(self, values: FloatVolume, scale: Scale) -> FloatVolume:
        unscaled = values * scale.factor + scale.offset
        # Dividing by the interpolated brain keeps the background out of the voxels at its border.
        weight = self._interpolated(self.brain.astype(np.float32))
        inside = (weight > 0) & self.brain_mask.array
        total = self._interpolated(np.where(self.brain, unscaled, 0).astype(np.float32))
        return np.asarray(np.where(inside, total / np.where(inside, weight, 1), 0), dtype=np.float32)


def prepare(case: Case, card: ModelCard) -> Prepared:
    """Finds the brain, reorients, resamples to the model's spacing, crops around the brain and scales the intensities.

    The model grid grows in multiples of the card's number where the brain does not fit. Raises `UserError` where an input
    channel is missing or there is no brain.
    """
    images = inputs_of(case, card)
    reference = case.reference
    warnings: tuple[str, ...] = ()
    mask = find_brain(reference, case.brain_mask)
    transform = _placed(reference, mask.array, card.grid)
    channels, scales = [], []
    for name, image in images.items():
        moved, told = onto_grid_of(reference, image)
        warnings += told
        on_grid, brain = _resampled(moved.array, mask.array, transform)
        if not brain.any():
            raise UserError(f"{image.label}: no brain is left at {card.grid.spacing:g} mm; check the brain mask.")
        if on_grid[brain].min() == on_grid[brain].max():
            raise UserError(f"{image.label} is constant inside the brain mask; check the mask and the input {name}.")
        scaled, scale = SCALES[card.intensity](on_grid, brain)
        channels.append(scaled)
        scales.append(scale)
    affine = _turned_affine(reference, transform) @ _scaling(transform)
    warnings = mask.warnings + _coarse(reference) + warnings
    return Prepared(
        np.stack(channels), brain, affine, spacing_of(affine), transform, case, mask, tuple(scales), warnings
    )


def inputs_of(case: Case, card: ModelCard) -> Mapping[str, Image]:
    """The image of each input channel of a card, in its order. Raises `UserError` where one is missing."""
    if len(card.inputs) == 1 and len(case.images) == 1:
        return {card.inputs[0]: case.reference}
    missing = [name for name in card.inputs if name not in case.images]
    if missing:
        wanted, given = " and ".join(missing), ", ".join(case.images) or "nothing"
        raise UserError(f"{case.name}: model {card.name} needs the input {wanted} ({given} was given); add --input {missing[0]}=FILE.")
    return {name: case.images[name] for name in card.inputs}


def _turned_affine(reference: Image, transform: GridTransform) -> Affine:
    """Voxels of the reference, its axes along the model's, to RAS mm."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for a, x in enumerate(transform.axes):
        matrix[a, x] = -1 if transform.flipped[a] else 1
        matrix[a, 3] = transform.input_shape[a] - 1 if transform.flipped[a] else 0
    return np.asarray(reference.affine @ matrix)


def _scaling(transform: GridTransform) -> Affine:
    matrix = np.diag([*transform.factor, 1.0])
    matrix[:3, 3] = transform.offset
    return matrix


def _placed(reference: Image, brain: BoolVolume, grid: CardGrid) -> GridTransform:
    """The model grid with the brain's box in its middle, on whole input voxels where the spacings agree."""
    orientation = io_orientation(reference.affine)
    axes = tuple(int(x) for x in orientation[:, 0])
    flipped = tuple(bool(sign < 0) for sign in orientation[:, 1])
    blank = GridTransform(axes, flipped, brain.shape, brain.shape, (1.0,) * 3, (0.0,) * 3)  # type: ignore[arg-type]
    box = bounding_box(blank.turn(brain))
    assert box is not None
    spacing = np.array(reference.spacing)[[axes.index(x) for x in range(3)]]
    factor, offset, shape = [], [], []
    for axis, wanted in enumerate(grid.spacings):
        same = abs(spacing[axis] - wanted) < _SAME_SPACING_MM
        # Rounded, so that an affine kept in 32 bits in another orientation gives the same grid; the grid's own affine
        # follows the rounded value.
        factor.append(1.0 if same else float(np.round(wanted / spacing[axis], 5)))
        first, last = float(box[axis].start), float(box[axis].stop - 1)
        extent = int(np.ceil((last - first) / factor[axis])) + (1 if same else 2)
        # Slices are seen one at a time: there are as many as the brain has.
        least, multiple = (1, 1) if grid.is_2d and axis == 2 else (grid.shape[axis], grid.multiple)
        size = max(least, -(-extent // multiple) * multiple)
        middle = (first + last) / 2 - factor[axis] * (size - 1) / 2
        offset.append(float(np.floor(middle)) if factor[axis] == 1 else middle)
        shape.append(size)
    model_shape: Shape = (shape[0], shape[1], shape[2])
    return GridTransform(axes, flipped, brain.shape, model_shape, tuple(factor), tuple(offset))  # type: ignore[arg-type]


def _resampled(array: NDArray[np.generic], brain: BoolVolume, transform: GridTransform) -> tuple[FloatVolume, BoolVolume]:
    """An image and its brain [i, j, k] on the model grid [x, y, z].

    Averages inside the brain alone where voxels get larger, so that no background bleeds in.
    """
    turned = transform.turn(array).astype(np.float32)
    weight = transform.turn(brain).astype(np.float32)
    factor = np.array(transform.factor)
    sigmas = np.zeros(3) if transform.exact else 0.5 * np.sqrt(np.maximum(factor**2 - 1, 0))
    sizes = zip(transform.model_shape, turned.shape, transform.factor, transform.offset, sigmas, strict=True)
    matrices = [linear(size, source, f, offset) @ gaussian(source, sigma) for size, source, f, offset, sigma in sizes]
    on_grid, share = (along_axes(a, matrices) for a in (turned * weight, weight))
    inside = share >= 0.5
    return np.where(inside, on_grid / np.where(inside, share, 1), 0).astype(np.float32), inside


def _coarse(image: Image) -> tuple[str, ...]:
    coarse = max(image.spacing)
    if coarse > _COARSE_MM:
        return (f"Voxels are {coarse:.1f} mm along one axis; small lesions can be missed and edges look anomalous.",)
    return ()
