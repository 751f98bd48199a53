"""Images on other grids.

Between parallel grids one sparse matrix an axis does it: what scipy's general routine gives, many times faster. Between
any others SimpleITK does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, lps_from_ras, spacing_of
from IterMask3DLib.core.image import FloatVolume, Image

_SAME_GRID_MM = 1e-2
_LEAST_OVERLAP = 0.05
_SLAB = 8
"""Slices of a result that are computed at a time."""


def linear(size: int, source: int, factor: float, offset: float) -> csr_array:
    """Linear interpolation along an axis: [size, source].

    Value i of the result lies at `factor` · i + `offset` of the source, beyond whose ends there are zeros.
    """
    places = np.arange(size) * factor + offset
    low = np.floor(places).astype(np.int64)
    columns, weights = np.concatenate((low, low + 1)), np.concatenate((1 - (places - low), places - low))
    inside = (columns >= 0) & (columns < source) & (weights != 0)
    rows = np.tile(np.arange(size), 2)[inside]
    return csr_array((weights[inside], (rows, columns[inside])), shape=(size, source))


def gaussian(size: int, sigma: float) -> csr_array:
    """A Gaussian average along an axis, mirrored at its ends: [size, size]. `sigma`: in voxels."""
    return csr_array(ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0) if sigma else np.eye(size))


def along_axes(values: NDArray[np.generic], matrices: Sequence[csr_array]) -> FloatVolume:
    """Applies a matrix to each axis of `values` [x, y, z]; computed in double precision, float32 [x, y, z].

    Only a few slices along the first axis are held in double precision at a time, so that axis should be the one whose
    neighbours lie furthest apart in memory.
    """
    first, second, third = matrices
    result = np.zeros([matrix.shape[0] for matrix in matrices], dtype=np.float32)
    for start in range(0, len(result), _SLAB):
        rows = first[start : start + _SLAB]
        if rows.nnz:
            span = slice(rows.indices.min(), rows.indices.max() + 1)
            slab = values[span].astype(np.float64)
            # Each product puts its axis last, so that three of them bring the axes back into order.
            for matrix in (rows[:, span], second, third):
                slab = np.moveaxis((matrix @ slab.reshape(len(slab), -1)).reshape(-1, *slab.shape[1:]), 0, -1)
            result[start : start + _SLAB] = slab
    return result


def onto_grid_of(reference: Image, image: Image) -> tuple[Image, tuple[str, ...]]:
    """An image on the grid of another, by linear interpolation, and sentences for the user.

    Raises `UserError` where the two do not overlap in space.
    """
    same = image.array.shape == reference.array.shape
    if same and np.allclose(image.affine, reference.affine, rtol=0, atol=_SAME_GRID_MM):
        return image, ()
    fixed = itk_image(np.zeros(reference.array.shape, dtype=np.uint8, order="F"), reference.affine)
    moving = itk_image(image.array.astype(np.float32), image.affine)
    everywhere = itk_image(np.ones(image.array.shape, dtype=np.uint8, order="F"), image.affine)
    inside = sitk.Resample(everywhere, fixed, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    if sitk.GetArrayViewFromImage(inside).mean() < _LEAST_OVERLAP:
        raise UserError(f"{image.label} and {reference.label} do not lie in the same place; are they of one patient?")
    moved = sitk.Resample(moving, fixed, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    warning = f"{image.name} was resampled onto the grid of {reference.name}."
    return Image(sitk.GetArrayFromImage(moved).T, reference.affine, image.name, image.source), (warning,)


def itk_image(array: NDArray[np.generic], affine: Affine) -> sitk.Image:
    """An ITK image of an array [i, j, k] and its RAS affine. ITK directions are orthonormal: a shear is left out."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    matrix = lps_from_ras(affine)
    spacing = np.array(spacing_of(matrix))
    u, _, v = np.linalg.svd(matrix[:3, :3] / spacing)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((u @ v).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    return image


def affine_of(image: sitk.Image) -> Affine:
    """The voxel-to-RAS affine of an ITK image."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return lps_from_ras(matrix)
