"""From the images of a case to the grid of a model, and back.

The model grid keeps the reference's own axes, in the order and direction closest to right, anterior, superior; an
oblique volume is not turned. So every step between the two grids is a permutation, a flip, a scaling and a shift along
the axes, and can be undone exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

from IterMask3DLib.core.card import MOST_GRID_VOXELS, CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, GridTransform, Shape, Spacing, spacing_of
from IterMask3DLib.core.image import BoolVolume, Case, FloatVolume, Image
from IterMask3DLib.core.result import Layer, LayerKind
from IterMask3DLib.preprocessing.contrast import contrast_warning
from IterMask3DLib.preprocessing.intensity import Scale, scale_named
from IterMask3DLib.preprocessing.resampling import along_axes, gaussian, linear, onto_grid_of
from IterMask3DLib.preprocessing.skull_stripping import BrainMask, find_brain, stripped_brain

_SAME_SPACING_MM = 1e-3
_COARSE_MM = 3.0
_MOST_LACKING = 0.1
_LEAST_SHARE = 0.5
"""A model voxel belongs to the brain where at least this share of it does."""


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

        Masks by nearest neighbour, scores by linear interpolation, both inside the brain alone; intensities in the
        units of the channel's image. The first axis lies closest together in memory.
        """
        values = layer.read()
        box, brain = self.brain_mask.box, self.brain_mask.array[self.brain_mask.box]
        if layer.kind is LayerKind.MASK:
            mask = self.transform.mask_to_input(values)
            inside = mask[box] & brain
            mask[:] = False
            mask[box] = inside
            return Layer(layer.kind, mask, layer.unit)
        result = np.zeros(self.transform.input_shape, dtype=np.float32, order="F")
        if layer.kind is LayerKind.SCORE:
            np.multiply(self._interpolated(values), brain, out=result[box])
        else:
            # Dividing by the interpolated brain keeps the background out of the voxels at its border.
            weight = self._interpolated(self.brain)
            total = self._interpolated(self.unscaled(values, channel))
            np.divide(total, weight, out=result[box], where=(weight > 0) & brain)
        return Layer(layer.kind, result, layer.unit)

    def unscaled(self, values: FloatVolume, channel: int = 0) -> FloatVolume:
        """A reconstruction [x, y, z] in the units of the channel's image, 0 outside the brain; on the model grid."""
        return np.where(self.brain, self.scales[channel].back(values), 0).astype(np.float32)

    def _interpolated(self, values: NDArray[np.generic]) -> FloatVolume:
        """Values [x, y, z] by linear interpolation in the box of the brain on the grid of the reference [i, j, k]."""
        t, matrices = self.transform, []
        for axis, x in enumerate(t.axes):
            matrix = linear(t.input_shape[axis], t.model_shape[x], 1 / t.factor[x], -t.offset[x] / t.factor[x])
            matrices.append((matrix[::-1] if t.flipped[axis] else matrix)[self.brain_mask.box[axis]])
        return along_axes(values.transpose(t.axes).T, matrices[::-1]).T


def prepare(case: Case, card: ModelCard, skull_stripping: str = "auto") -> Prepared:
    """Finds the brain, reorients, resamples to the model's spacing, crops around the brain, scales the intensities.

    The model grid grows in multiples of the card's number where the brain does not fit. Raises `UserError` where an
    input channel is missing or there is no brain.

    Args:
        skull_stripping: as in `Request`.
    """
    images = inputs_of(case, card)
    reference = case.reference
    mask = find_brain(reference, case.brain_mask, skull_stripping)
    transform = _placed(reference, mask, card.grid)
    to_model = Averages(mask, transform)
    if not to_model.brain.any():
        raise UserError(f"{reference.label}: no brain is left at {card.grid.spacing:g} mm; check the brain mask.")
    warnings = mask.warnings + _coarse(reference)
    channels, scales = [], []
    for name, image in images.items():
        moved, more = _moved(reference, image, mask)
        warnings += more
        values = to_model(moved)
        inside = values[to_model.brain]
        if inside.min() == inside.max():
            raise UserError(f"{image.label} is constant inside the brain mask; check the mask and the input {name}.")
        warnings += contrast_warning(values, to_model.brain, card.grid.spacings, name, image.name)
        scaled, scale = scale_named(card.intensity)(values, to_model.brain)
        channels.append(scaled)
        scales.append(scale)
    affine = _turned_affine(reference, transform) @ _scaling(transform)
    spacing = spacing_of(affine)
    return Prepared(np.stack(channels), to_model.brain, affine, spacing, transform, case, mask, tuple(scales), warnings)


def inputs_of(case: Case, card: ModelCard) -> Mapping[str, Image]:
    """The image of each input channel of a card, in its order. Raises `UserError` where one is missing."""
    if len(card.inputs) == 1 and len(case.images) == 1:
        return {card.inputs[0]: case.reference}
    missing = [name for name in card.inputs if name not in case.images]
    if missing:
        wanted, given = " and ".join(missing), ", ".join(case.images) or "nothing"
        needs = f"model {card.name} needs the input {wanted} ({given} was given)"
        raise UserError(f"{case.name}: {needs}; add --input {missing[0]}=FILE.")
    others = [name for name in case.images if name not in card.inputs]
    if others:
        text = f"{case.name}: model {card.name} needs {card.modality} alone"
        raise UserError(f"{text}; leave out {' and '.join(others)}.")
    return {name: case.images[name] for name in card.inputs}


def _moved(reference: Image, image: Image, brain: BrainMask) -> tuple[NDArray[np.generic], tuple[str, ...]]:
    """The voxels of an image on the grid of the reference [i, j, k], and sentences for the user.

    Where the image is stripped, its background does not bleed into the rim of its brain.
    """
    if image is reference:
        return image.array, ()
    moved, warnings = onto_grid_of(reference, image)
    inside = stripped_brain(image)
    if inside is None:
        return moved.array, warnings
    share = onto_grid_of(reference, replace(image, array=inside.astype(np.float32)))[0].array
    lacking = 1 - float(np.count_nonzero(share[brain.box][brain.array[brain.box]])) / np.count_nonzero(brain.array)
    if lacking > _MOST_LACKING:
        where = f"{100 * lacking:.0f} % of the brain of {reference.name}"
        warnings += (f"{image.name} shows nothing in {where}; are they registered, and of one patient?",)
    if moved is image:
        return image.array, warnings
    weighted = onto_grid_of(reference, replace(image, array=np.where(inside, image.array, 0)))[0].array
    return np.divide(weighted, share, out=np.zeros_like(weighted), where=share > 0), warnings


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


def _placed(reference: Image, mask: BrainMask, grid: CardGrid) -> GridTransform:
    """The model grid with the brain's box in its middle, on whole input voxels where the spacings agree."""
    orientation = io_orientation(reference.affine)
    axes: Shape = tuple(int(x) for x in orientation[:, 0])  # type: ignore[assignment]
    flipped: tuple[bool, bool, bool] = tuple(bool(sign < 0) for sign in orientation[:, 1])  # type: ignore[assignment]
    input_shape: Shape = mask.array.shape  # type: ignore[assignment]
    box = GridTransform(axes, flipped, input_shape, input_shape, (1.0,) * 3, (0.0,) * 3).turn_box(mask.box)
    spacing = np.array(reference.spacing)[[axes.index(x) for x in range(3)]]
    factor, offset, shape = [], [], []
    for axis, wanted in enumerate(grid.spacings):
        same = abs(spacing[axis] - wanted) < _SAME_SPACING_MM
        # Rounded, so that an affine kept in 32 bits in another orientation gives the same grid; the grid's own affine
        # follows the rounded value.
        factor.append(1.0 if same else float(np.round(wanted / spacing[axis], 5)))
        first, last = float(box[axis].start), float(box[axis].stop - 1)
        extent = int(np.ceil((last - first) / factor[axis])) + (1 if same else 2)
        # Slices are shown to the network one at a time: there are as many as the brain has.
        least, multiple = (1, 1) if grid.is_2d and axis == 2 else (grid.shape[axis], grid.multiple)
        size = max(least, -(-extent // multiple) * multiple)
        middle = (first + last) / 2 - factor[axis] * (size - 1) / 2
        offset.append(float(np.floor(middle)) if factor[axis] == 1 else middle)
        shape.append(size)
    (i, j, k), (f, g, h), (x, y, z) = shape, factor, offset
    if i * j * k > MOST_GRID_VOXELS:
        needed = f"the brain needs {i} x {j} x {k} voxels of {grid.spacing:g} mm"
        raise UserError(f"{reference.label}: {needed}, more than {MOST_GRID_VOXELS:,}; choose a coarser model.")
    return GridTransform(axes, flipped, input_shape, (i, j, k), (f, g, h), (x, y, z))


class Averages:
    """Brings images [i, j, k] to the model grid [x, y, z], as averages inside the brain alone.

    Voxels that get larger are averages over a Gaussian; no background bleeds in, so only the brain's box is touched.

    Attributes:
        brain: bool [x, y, z].
    """

    def __init__(self, mask: BrainMask, transform: GridTransform) -> None:
        self._mask, self._transform, self._matrices = mask, transform, []
        for axis, x in enumerate(transform.axes):
            source, factor = transform.input_shape[axis], transform.factor[x]
            sigma = 0.0 if transform.exact else 0.5 * float(np.sqrt(max(factor**2 - 1, 0)))
            matrix = linear(transform.model_shape[x], source, factor, transform.offset[x]) @ gaussian(source, sigma)
            self._matrices.append((matrix[:, ::-1] if transform.flipped[axis] else matrix)[:, mask.box[axis]])
        share = self._summed(mask.array[mask.box])
        self.brain: BoolVolume = share >= _LEAST_SHARE
        self._share = np.where(self.brain, share, 1)

    def __call__(self, array: NDArray[np.generic]) -> FloatVolume:
        """Float32 [x, y, z], 0 outside the brain."""
        box = self._mask.box
        values = np.multiply(array[box], self._mask.array[box], dtype=np.float32, casting="unsafe")
        return np.where(self.brain, self._summed(values) / self._share, 0).astype(np.float32)

    def _summed(self, values: NDArray[np.generic]) -> FloatVolume:
        # Files keep the first axis closest together in memory, so the last one leads.
        result = along_axes(values.T, self._matrices[::-1]).T
        return result.transpose([self._transform.axes.index(x) for x in range(3)])


def _coarse(image: Image) -> tuple[str, ...]:
    coarse = max(image.spacing)
    if coarse > _COARSE_MM:
        return (f"Voxels are {coarse:.1f} mm along one axis; small lesions can be missed and edges look anomalous.",)
    return ()
