"""Images from files and DICOM folders, and NIfTI files from arrays."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import whole_file
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.image import Image
from IterMask3DLib.preprocessing.resampling import affine_of

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")


def case_name(path: str | Path) -> str:
    """Name of the case a path stands for: the file name without its extension, safe as a folder name."""
    name = Path(path).resolve().name
    for extension in sorted(NIFTI + ITK, key=len, reverse=True):
        if name.lower().endswith(extension):
            name = name[: -len(extension)]
            break
    return re.sub(r"[^\w.+-]+", "_", name).strip("._") or "case"


def read_image(path: str | Path) -> Image:
    """Reads a NIfTI, NRRD or MetaImage file or a DICOM folder.

    The array is in the axis order of the file. Raises `UserError` for whatever is not one finite, varying 3D volume.
    """
    place = Path(path)
    if not place.exists():
        raise UserError(f"{path} does not exist.")
    if place.is_file() and place.stat().st_size == 0:
        raise UserError(f"{path} is empty.")
    name = place.name.lower()
    if place.is_dir():
        array, affine = _read_dicom(place)
    elif name.endswith(NIFTI):
        array, affine = _read_nifti(place)
    elif name.endswith(ITK):
        array, affine = _read_itk(place)
    else:
        raise UserError(f"{path} is not a NIfTI, NRRD or MetaImage file or a DICOM folder; convert it to one of them.")
    return Image(_checked(array, affine, path), affine, case_name(path), str(path))


def write_nifti(array: NDArray[np.generic], affine: Affine, path: Path) -> None:
    """Writes `array` [i, j, k(, n)] with its RAS affine (mm) to a NIfTI file, whole; booleans become 0 and 1."""
    data = array.astype(np.uint8) if array.dtype == bool else array
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    with whole_file(path) as beside:
        nibabel.save(image, beside)


def _read_nifti(path: Path) -> tuple[NDArray[Any], Affine]:
    try:
        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj)  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path} cannot be read as NIfTI; it is damaged, truncated or another kind of file ({_short(error)}).") from None
    return array, np.asarray(image.affine, dtype=np.float64)  # type: ignore[attr-defined]


def _read_itk(path: Path) -> tuple[NDArray[Any], Affine]:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read; it is damaged, truncated or another kind of file ({_short(error)}).") from None
    return _from_itk(image, path)


def _read_dicom(folder: Path) -> tuple[NDArray[Any], Affine]:
    series = [
        sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    ]
    if not series:
        raise UserError(f"{folder} holds no DICOM series; give the folder with the slices of one scan.")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(max(series, key=len))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise UserError(f"{folder} cannot be read as a DICOM series ({_short(error)}).") from None
    return _from_itk(image, folder)


def _from_itk(image: sitk.Image, path: Path) -> tuple[NDArray[Any], Affine]:
    """Array [i, j, k] and RAS affine of an ITK image, whose world is LPS."""
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise UserError(f"{path} holds {image.GetNumberOfComponentsPerPixel()} values a voxel; one is needed.")
    if image.GetDimension() != 3:
        raise UserError(f"{path} is a {image.GetDimension()}D image; a 3D volume is needed.")
    return sitk.GetArrayFromImage(image).T, affine_of(image)


def _checked(array: NDArray[Any], affine: Affine, path: str | Path) -> NDArray[Any]:
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or min(array.shape) < 2:
        kind = "2D image" if array.ndim < 3 or 1 in array.shape else f"{array.ndim}D image"
        raise UserError(f"{path} is a {kind} ({' x '.join(map(str, array.shape))}); a 3D volume is needed.")
    if array.dtype.kind not in "iufb":
        raise UserError(f"{path} holds values of type {array.dtype}; one number a voxel is needed.")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UserError(f"{path} has a singular orientation matrix; mend its header (spacing and directions).")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"{path} holds NaN or infinite voxels; replace them by numbers.")
    if array.min() == array.max():
        raise UserError(f"{path} is constant: every voxel is {array.flat[0]}.")
    return array


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__
