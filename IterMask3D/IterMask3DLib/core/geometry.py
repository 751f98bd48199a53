"""Grids in space: affines in RAS and LPS, boxes, voxel volumes, positions, and the way between two parallel grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError

Affine = NDArray[np.float64]
Spacing = tuple[float, float, float]
Shape = tuple[int, int, int]
Box = tuple[slice, slice, slice]

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_PARALLEL = 1e-4
_DECIMALS = 5


def spacing_of(affine: Affine) -> Spacing:
    """Voxel size along the array's axes in mm."""
    x, y, z = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(x), float(y), float(z)


def voxel_millilitres(affine: Affine) -> float:
    """Volume of one voxel in ml."""
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000


def lps_from_ras(matrix: Affine) -> Affine:
    """A 4x4 voxel-to-RAS matrix as voxel-to-LPS, and the other way round: ITK's world is LPS."""
    return np.asarray(_LPS_RAS @ matrix)


def world_transform_in_ras(matrix: Affine) -> Affine:
    """A 4x4 matrix from LPS mm to LPS mm as one from RAS mm to RAS mm, and the other way round."""
    return np.asarray(_LPS_RAS @ matrix @ _LPS_RAS)


def bounding_box(mask: NDArray[np.bool_], margin: tuple[int, ...] | int = 0) -> Box | None:
    """The box that holds every True voxel; None for an empty mask.

    Args:
        margin: voxels by which the box is wider on every side, as far as there are any; one number, or one an axis.
    """
    margins = (margin,) * mask.ndim if isinstance(margin, int) else margin
    sides = []
    for axis, size in enumerate(mask.shape):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if not len(hits):
            return None
        sides.append(slice(max(0, int(hits[0]) - margins[axis]), min(size, int(hits[-1]) + 1 + margins[axis])))
    return tuple(sides)  # type: ignore[return-value]


def shifted(affine: Affine, box: Box) -> Affine:
    """The affine of a box cut out of a grid."""
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ [side.start for side in box] + affine[:3, 3]
    return moved


def polynomials(places: NDArray[np.integer], shape: Sequence[int], order: int) -> NDArray[np.float64]:
    """All products of powers of position up to the total degree `order`, each axis running from -1 to 1 over `shape`.

    Args:
        places: voxels [n, 3].

    Returns:
        [n, terms], the constant first; 1, 4, 10, 20 terms for order 0, 1, 2, 3.
    """
    x, y, z = (2 * places / np.maximum(np.array(shape) - 1, 1) - 1).T
    powers = (each for each in product(range(order + 1), repeat=3) if sum(each) <= order)
    return np.stack([x**i * y**j * z**k for i, j, k in powers], axis=1)


@dataclass(frozen=True)
class GridTransform:
    """The way between a model grid [x, y, z] and the grid of an input [i, j, k] whose axes are parallel to it.

    Attributes:
        axes: for each input axis, the model axis along it.
        flipped: for each input axis, whether it runs against the model's.
        input_shape, model_shape: voxels along the axes of each grid.
        factor: input voxels per model voxel, along each model axis.
        offset: input voxel (counted along the model axis) at which model voxel 0 lies, along each model axis.
    """

    axes: Shape
    flipped: tuple[bool, bool, bool]
    input_shape: Shape
    model_shape: Shape
    factor: Spacing
    offset: Spacing

    @classmethod
    def between(
        cls, model_affine: Affine, model_shape: Shape, input_affine: Affine, input_shape: Shape
    ) -> GridTransform:
        """From two affines. Raises `UserError` where the grids are turned against each other."""
        matrix = np.linalg.inv(input_affine) @ model_affine
        along = [int(a) for a in np.argmax(np.abs(matrix[:3, :3]), axis=0)]
        rest = matrix[:3, :3].copy()
        rest[along, range(3)] = 0
        if sorted(along) != [0, 1, 2] or np.abs(rest).max() > _PARALLEL * np.abs(matrix[:3, :3]).max():
            raise UserError("The volume has been moved since the run; run Segment again.")
        factors = [float(matrix[along[x], x]) for x in range(3)]
        offsets = [float(matrix[along[x], 3]) for x in range(3)]
        offsets = [input_shape[along[x]] - 1 - offset if factors[x] < 0 else offset for x, offset in enumerate(offsets)]
        axes = tuple(along.index(a) for a in range(3))
        flipped = tuple(factors[x] < 0 for x in axes)
        factor = tuple(abs(f) for f in factors)
        return cls(axes, flipped, input_shape, model_shape, factor, tuple(offsets))  # type: ignore[arg-type]

    @property
    def turned_shape(self) -> Shape:
        """Voxels of the input along the model's axes."""
        return tuple(self.input_shape[self.axes.index(x)] for x in range(3))  # type: ignore[return-value]

    @property
    def exact(self) -> bool:
        """Whether the voxels of both grids coincide."""
        return all(factor == 1 for factor in self.factor)

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array of the input [i, j, k] with its axes along the model's; a view."""
        flips = tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return array[flips].transpose([self.axes.index(x) for x in range(3)])

    def turn_box(self, box: Box) -> Box:
        """A box of the input [i, j, k] with its sides along the model's axes."""
        sides = [
            slice(size - side.stop, size - side.start) if flip else side
            for side, size, flip in zip(box, self.input_shape, self.flipped, strict=True)
        ]
        return tuple(sides[self.axes.index(x)] for x in range(3))  # type: ignore[return-value]

    def mask_to_input(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask [x, y, z] on the grid of the input [i, j, k], by nearest neighbour; False outside the model grid.

        The first axis lies closest together in memory, as files and VTK have it.
        """
        places = [
            (np.arange(size) - offset) / factor
            for size, offset, factor in zip(self.turned_shape, self.offset, self.factor, strict=True)
        ]
        result = np.zeros(self.input_shape, dtype=bool, order="F")
        _fill_nearest(self.turn(result), mask, places)
        return result

    def mask_to_model(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask [i, j, k] on the model grid [x, y, z]: the input voxel nearest to each model voxel's centre.

        Undoes `mask_to_input` exactly wherever model voxels are no smaller than the input's.
        """
        places = [
            np.arange(size) * factor + offset
            for size, offset, factor in zip(self.model_shape, self.offset, self.factor, strict=True)
        ]
        result = np.zeros(self.model_shape, dtype=bool)
        _fill_nearest(result, self.turn(mask), places)
        return result


def _fill_nearest(result: NDArray[np.bool_], mask: NDArray[np.bool_], places: list[NDArray[Any]]) -> None:
    """Sets `result`, which is False, to the mask's values nearest to the places (ascending) along each axis."""
    box = bounding_box(mask)
    if box is None:
        return
    reached, indices = [], []
    for side, along in zip(box, places, strict=True):
        # Rounded first: a centre halfway between two voxels must not fall to either side by the last bit of an affine.
        nearest = np.floor(np.round(along, _DECIMALS) + 0.5).astype(np.int64)
        first, last = np.searchsorted(nearest, (side.start, side.stop))
        reached.append(slice(int(first), int(last)))
        indices.append(nearest[first:last] - side.start)
    part = mask[box]
    # In the order in which the result lies in memory, the axis that lies closest together first: many times faster.
    for axis in np.argsort(np.abs(result.strides)):
        part = np.moveaxis(np.moveaxis(part, axis, 0).take(indices[axis], 0), 0, axis)
    result[tuple(reached)] = part
