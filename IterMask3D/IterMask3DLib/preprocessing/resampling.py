"""Images on other grids: between parallel ones as one small matrix an axis, which is what scipy's general routine gives,
many times faster; between any others by SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, lps_from_ras, spacing_of
from IterMask3DLib.core.image import FloatVolume, Image

Matrix = NDArray[np.float64]

_SAME_GRID_MM = 1e-2
_LEAST_OVERLAP = 0.05


def linear(size: int, source: int, factor: float, offset: float) -> Matrix:
    """[size, source]: value i of the result lies at `factor` · i + `offset` of the source, beyond whose ends there are zeros."""
    places = np.arange(size) * factor + offset
    low = np.floor(places).astype(np.int64)
    matrix = np.zeros((size, source))
    for index, weight in ((low, 1 - (places - low)), (low + 1, places - low)):
        inside = (index >= 0) & (index < source)
        matrix[np.flatnonzero(inside), index[inside]] += weight[inside]
    return matrix


def gaussian(size: int, sigma: float) -> Matrix:
    """[size, size]: a Gaussian average, mirrored at the ends."""
    return np.asarray(ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0)) if sigma else np.eye(size)


def along_axes(values: NDArray[np.generic], matrices: Sequence[Matrix]) -> FloatVolume:
    """Applies a matrix to each axis of `values` [x, y, z]; computed in double precision, float32 [x, y, z]."""
    result = values.astype(np.float64)
    # Each product puts its axis last, so that three of them bring the axes back into order.
    for matrix in matrices:
        result = np.tensordot(result, matrix, axes=(0, 1))
    return np.ascontiguousarray(result, dtype=np.float32)


def onto_grid_of(reference: Image, image: Image) -> tuple[Image, tuple[str, ...]]:
    """An image on the grid of another, by linear interpolation, and what is to be told of it.

    Raises `UserError` where the two do not overlap in space.
    """
    same = image.array.shape == reference.array.shape
    if same and np.allclose(image.affine, reference.affine, rtol=0, atol=_SAME_GRID_MM):
        return image, ()
    fixed, moving = (itk_image(each.array.astype(np.float32), each.affine) for each in (reference, image))
    inside = sitk.GetArrayViewFromImage(
        sitk.Resample(moving * 0 + 1, fixed, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)
    )
    if inside.mean() < _LEAST_OVERLAP:
        raise UserError(f"{image.label} and {reference.label} do not lie in the same place; are they of one patient?")
    moved = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, sitk.Transform(), sitk.sitkLinear, 0.0)).T
    told = f"{image.name} was resampled onto the grid of {reference.name}."
    return Image(moved, reference.affine, image.name, image.source), (told,)


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
