"""Reading volumes from files and DICOM folders, and writing NIfTI."""

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

from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.records import Affine, Volume

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def case_name(path: str | Path) -> str:
    """Name of the case a path stands for: the file name without its extension, safe as a folder name."""
    name = Path(path).resolve().name
    for extension in sorted(NIFTI + ITK, key=len, reverse=True):
        if name.lower().endswith(extension):
            name = name[: -len(extension)]
            break
    return re.sub(r"[^\w.+-]+", "_", name).strip("._") or "case"


def read_volume(path: str | Path) -> Volume:
    """Reads a NIfTI, NRRD or MetaImage file or a DICOM folder.

    Returns the array in the axis order of the file and its RAS affine. Raises `InputError` for whatever is not one finite, varying 3D volume.
    """
    place = Path(path)
    if not place.exists():
        raise InputError(f"{path} does not exist.")
    if place.is_file() and place.stat().st_size == 0:
        raise InputError(f"{path} is empty.")
    name = place.name.lower()
    if place.is_dir():
        array, affine = _read_dicom(place)
    elif name.endswith(NIFTI):
        array, affine = _read_nifti(place)
    elif name.endswith(ITK):
        array, affine = _read_itk(place)
    else:
        raise InputError(f"{path} is not a NIfTI, NRRD or MetaImage file or a DICOM folder; convert it to one of them.")
    return Volume(_checked(array, affine, path), affine, case_name(path), str(path))


def write_nifti(array: NDArray[np.generic], affine: Affine, path: Path) -> None:
    """Writes `array` [i, j, k(, n)] with its RAS affine (mm); booleans become 0 and 1."""
    data = array.astype(np.uint8) if array.dtype == bool else array
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    nibabel.save(image, path)


def _read_nifti(path: Path) -> tuple[NDArray[Any], Affine]:
    try:
        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj)  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path} cannot be read as NIfTI; it is damaged, truncated or another kind of file ({_short(error)}).") from None
    return array, np.asarray(image.affine, dtype=np.float64)  # type: ignore[attr-defined]


def _read_itk(path: Path) -> tuple[NDArray[Any], Affine]:
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read; it is damaged, truncated or another kind of file ({_short(error)}).") from None
    return _from_itk(image, path)


def _read_dicom(folder: Path) -> tuple[NDArray[Any], Affine]:
    series = [
        sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    ]
    if not series:
        raise InputError(f"{folder} holds no DICOM series; give the folder with the slices of one scan.")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(max(series, key=len))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise InputError(f"{folder} cannot be read as a DICOM series ({_short(error)}).") from None
    return _from_itk(image, folder)


def _from_itk(image: sitk.Image, path: Path) -> tuple[NDArray[Any], Affine]:
    """Array [i, j, k] and RAS affine of an ITK image, whose world is LPS."""
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise InputError(f"{path} holds {image.GetNumberOfComponentsPerPixel()} values a voxel; one is needed.")
    if image.GetDimension() != 3:
        raise InputError(f"{path} is a {image.GetDimension()}D image; a 3D volume is needed.")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, _LPS_TO_RAS @ affine


def _checked(array: NDArray[Any], affine: Affine, path: str | Path) -> NDArray[Any]:
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or min(array.shape) < 2:
        kind = "2D image" if array.ndim < 3 or 1 in array.shape else f"{array.ndim}D image"
        raise InputError(f"{path} is a {kind} ({' x '.join(map(str, array.shape))}); a 3D volume is needed.")
    if array.dtype.kind not in "iufb":
        raise InputError(f"{path} holds values of type {array.dtype}; one number a voxel is needed.")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path} has a singular orientation matrix; mend its header (spacing and directions).")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path} holds NaN or infinite voxels; replace them by numbers.")
    if array.min() == array.max():
        raise InputError(f"{path} is constant: every voxel is {array.flat[0]}.")
    return array


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__
