"""Masks between the model grid and the grid of the input, from the two affines alone, so that it also works in a scene that was loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Affine, BoolVolume
from IterMask3DLib.scene.words import tr as _

_PARALLEL = 1e-4
_DECIMALS = 5


@dataclass(frozen=True)
class GridMap:
    """Two grids whose axes are parallel. `axis[a]`: model axis along input axis a; model index = `slope[a]` · input index + `shift[a]`."""

    modelShape: tuple[int, int, int]
    inputShape: tuple[int, int, int]
    axis: tuple[int, int, int]
    slope: tuple[float, float, float]
    shift: tuple[float, float, float]

    @classmethod
    def between(
        cls, modelAffine: Affine, modelShape: tuple[int, int, int], inputAffine: Affine, inputShape: tuple[int, int, int]
    ) -> GridMap:
        """Raises `UserError` where the grids are turned against each other: then they do not belong to one another."""
        matrix = np.linalg.inv(modelAffine) @ inputAffine
        order = [int(a) for a in np.argmax(np.abs(matrix[:3, :3]), axis=0)]
        rest = matrix[:3, :3].copy()
        rest[order, range(3)] = 0
        if sorted(order) != [0, 1, 2] or np.abs(rest).max() > _PARALLEL * np.abs(matrix[:3, :3]).max():
            raise UserError(_("The volume has been moved since the run; run Segment again."))
        return cls(
            modelShape,
            inputShape,
            (order[0], order[1], order[2]),
            tuple(float(matrix[order[a], a]) for a in range(3)),  # type: ignore[arg-type]
            tuple(float(matrix[order[a], 3]) for a in range(3)),  # type: ignore[arg-type]
        )

    def toInput(self, mask: BoolVolume) -> BoolVolume:
        """A mask [x, y, z] on the input's grid [i, j, k] by nearest neighbour, False outside; the voxels of `Prepared.restore_mask`."""
        indices: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * 3
        for a in range(3):
            nearest = _nearest(self.slope[a] * np.arange(self.inputShape[a]) + self.shift[a])
            size = self.modelShape[self.axis[a]]
            # What lies outside reads the row of zeros that is added at the end.
            indices[self.axis[a]] = np.where((nearest >= 0) & (nearest < size), nearest, size)
        padded = np.pad(mask, ((0, 1),) * 3)
        return np.ascontiguousarray(padded[np.ix_(*indices)].transpose(self.axis))

    def toModel(self, mask: BoolVolume) -> BoolVolume:
        """A mask [i, j, k] on the model grid [x, y, z]: the input voxel nearest to each model voxel's centre.

        Undoes `toInput` exactly wherever model voxels are no smaller than the input's.
        """
        indices: list[NDArray[np.int64]] = []
        for a in range(3):
            size = self.inputShape[a]
            nearest = _nearest((np.arange(self.modelShape[self.axis[a]]) - self.shift[a]) / self.slope[a])
            indices.append(np.where((nearest >= 0) & (nearest < size), nearest, size))
        padded = np.pad(mask, ((0, 1),) * 3)
        back = [self.axis.index(x) for x in range(3)]
        return np.ascontiguousarray(padded[np.ix_(*indices)].transpose(back))


def _nearest(places: NDArray[Any]) -> NDArray[np.int64]:
    # Rounded first: a centre halfway between two voxels must not fall to either side by the last bit of an affine.
    return np.floor(np.round(places, _DECIMALS) + 0.5).astype(np.int64)
