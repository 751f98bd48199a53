"""Slices of a volume as a reader expects them: radiological convention, true proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from IterMask3DLib.core.geometry import Affine, Box, Spacing, bounding_box, spacing_of

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")

LABELS: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
"""What lies at the left, right, top and bottom of the picture of each plane."""

AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""The axis (of R, A, S) that each plane cuts across."""


@dataclass(frozen=True)
class Frame:
    """How arrays on the grid of an affine are turned to the closest R, A, S axes.

    Attributes:
        orientation: of the grid, as nibabel gives it.
        spacing: mm along R, A, S; affine: of the turned grid.
    """

    orientation: NDArray[np.float64]
    spacing: Spacing
    affine: Affine

    @classmethod
    def of(cls, affine: Affine, shape: tuple[int, ...]) -> Frame:
        orientation = io_orientation(affine)
        turned = affine @ inv_ornt_aff(orientation, shape)
        return cls(orientation, spacing_of(turned), turned)

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """`array` [i, j, k] as [R, A, S]; a view."""
        return np.asarray(apply_orientation(array, self.orientation))

    def aspect(self, plane: Plane) -> float:
        """Height of a pixel over its width."""
        x, y, z = self.spacing
        return {"axial": y / x, "coronal": z / x, "sagittal": z / y}[plane]


def cut(array: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
    """The picture [row, column], first row at the top, of a plane of `array` [R, A, S].

    The patient's right is at the left, anterior or superior at the top.
    """
    picture = np.take(array, index, axis=AXIS[plane]).T[::-1, ::-1]
    return np.ascontiguousarray(picture)


def box(mask: NDArray[np.bool_], spacing: Spacing, margin: float = 10.0) -> Box:
    """The part of a volume that holds `mask`, with a margin in mm (not voxels: slices can be 6 mm thick)."""
    x, y, z = (round(margin / side) for side in spacing)
    return bounding_box(mask, (x, y, z)) or (slice(None), slice(None), slice(None))
