"""What an image may be at most, asked of its header before memory is taken, and of its voxels before they are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, spacing_of

MOST_VOXELS = 512 * 1024 * 1024
"""More than twice the largest head that is scanned; a run on it takes about 10 GB."""

_LEAST_SIDE = 4
_SPACING_MM = (0.05, 25.0)
_FLATTEST = 0.05
_FARTHEST_MM = 1e5
_LARGEST_VALUE = 1e30


def check_size(path: str | Path, shape: Sequence[int], dtype: Any) -> int:
    """The bytes of an image of this shape and type.

    Raises `UserError` where no run could hold it, or it does not have one number a voxel.
    """
    dtype, voxels = np.dtype(dtype), math.prod(int(side) for side in shape)
    if voxels > MOST_VOXELS:
        sides = " x ".join(map(str, shape))
        most = f"at most {MOST_VOXELS:,} can be worked on"
        raise UserError(f"{path} claims {sides} voxels; {most}. Crop or resample it, or mend its header.")
    if dtype.kind not in "iufb":
        raise UserError(f"{path} holds values of type {dtype}; one number a voxel is needed.")
    return voxels * dtype.itemsize


def check_voxels(path: str | Path, array: NDArray[Any], affine: Affine) -> NDArray[Any]:
    """The array as one finite, varying 3D volume. Raises `UserError` for anything else."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    sides = " x ".join(map(str, array.shape))
    if array.ndim != 3 or min(array.shape) < 2:
        kind = "2D image" if array.ndim < 3 or 1 in array.shape else f"{array.ndim}D image"
        raise UserError(f"{path} is a {kind} ({sides}); a 3D volume is needed.")
    if min(array.shape) < _LEAST_SIDE:
        raise UserError(f"{path} has only {min(array.shape)} slices ({sides}); at least {_LEAST_SIDE} are needed.")
    check_size(path, array.shape, array.dtype)
    spacing = spacing_of(affine) if np.isfinite(affine).all() else (0.0, 0.0, 0.0)
    # A cuboid fills the product of its sides; a gantry that is tilted by 30 degrees leaves .87 of it.
    if not abs(np.linalg.det(affine[:3, :3])) > _FLATTEST * np.prod(spacing):
        raise UserError(f"{path} has a singular orientation matrix; mend its header (spacing and directions).")
    away = np.abs(affine[:3, 3]).max()
    if away > _FARTHEST_MM:
        raise UserError(f"{path} lies {away / 1e6:.3g} km from the scanner; mend its header.")
    if min(spacing) < _SPACING_MM[0] or max(spacing) > _SPACING_MM[1]:
        size = " x ".join(f"{s:.3g}" for s in spacing)
        possible = f"{_SPACING_MM[0]:g} to {_SPACING_MM[1]:g} mm can be worked on"
        raise UserError(f"{path} has voxels of {size} mm; {possible}. Mend its header.")
    # The extremes of an array hold NaN and infinity where any voxel does: one pass, no copy.
    low, high = array.min(), array.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise UserError(f"{path} holds NaN or infinite voxels; replace them by numbers.")
    if low == high:
        raise UserError(f"{path} is constant: every voxel is {low}.")
    largest = max(abs(float(low)), abs(float(high)))
    if largest > _LARGEST_VALUE:
        raise UserError(f"{path} holds values up to {largest:.3g}; rescale it.")
    return array


def short(error: Exception) -> str:
    """The last line of an error, as long as fits into a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__
