"""Slices of a volume as a reader expects them: radiological convention, true proportions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from IterMask3DLib.core.image import Affine

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")

LABELS: dict[Plane, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
"""What lies at the left, right, top and bottom of the picture of each plane."""

_AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class Frame:
    """How arrays on the grid of an affine are turned to the closest R, A, S axes. `spacing`: mm along R, A, S; `affine`: of the turned grid."""

    orientation: NDArray[np.float64]
    spacing: tuple[float, float, float]
    affine: Affine

    @classmethod
    def of(cls, affine: Affine, shape: tuple[int, ...]) -> Frame:
        orientation = io_orientation(affine)
        turned = affine @ inv_ornt_aff(orientation, shape)
        x, y, z = np.sqrt((turned[:3, :3] ** 2).sum(axis=0))
        return cls(orientation, (float(x), float(y), float(z)), turned)

    def turn(self, array: NDArray[Any]) -> NDArray[Any]:
        """`array` [i, j, k] as [R, A, S]."""
        return np.asarray(apply_orientation(array, self.orientation))

    def aspect(self, plane: Plane) -> float:
        """Height of a pixel over its width."""
        x, y, z = self.spacing
        return {"axial": y / x, "coronal": z / x, "sagittal": z / y}[plane]


def axis_of(plane: Plane) -> int:
    """The axis (of R, A, S) a plane cuts across."""
    return _AXIS[plane]


def cut(array: NDArray[Any], plane: Plane, index: int) -> NDArray[Any]:
    """The picture [row, column], first row at the top, of a plane of `array` [R, A, S]: patient's right at the left, anterior or superior at the top."""
    picture = np.take(array, index, axis=_AXIS[plane]).T[::-1, ::-1]
    return np.ascontiguousarray(picture)


def box(mask: NDArray[np.bool_], spacing: tuple[float, float, float], margin: float = 10.0) -> tuple[slice, slice, slice]:
    """The part of a volume that holds `mask`, with a margin in mm (not voxels: slices can be 6 mm thick); everything if the mask is empty."""
    if not mask.any():
        return (slice(None),) * 3
    sides = []
    for axis, size in enumerate(mask.shape):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        room = round(margin / spacing[axis])
        sides.append(slice(max(0, int(hits[0]) - room), min(size, int(hits[-1]) + 1 + room)))
    return sides[0], sides[1], sides[2]
