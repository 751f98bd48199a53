"""Images from files and DICOM folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from IterMask3DLib.core.contrast import contrast_in
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.limits import check_size, check_voxels, short
from IterMask3DLib.preprocessing.dicom import ENDINGS as DICOM
from IterMask3DLib.preprocessing.dicom import dicom_contrast, is_dicom, read_dicom
from IterMask3DLib.preprocessing.nifti import ENDINGS as NIFTI
from IterMask3DLib.preprocessing.nifti import read_nifti
from IterMask3DLib.preprocessing.resampling import affine_of
from IterMask3DLib.preprocessing.text_headers import META_IMAGE, NRRD, check_text_header

# What it has to say is raised; its warnings would be printed between our lines, with names of files.
sitk.ProcessObject.SetGlobalWarningDisplay(False)

ITK = (*NRRD, *META_IMAGE)

_COMPLEX = (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64)


def case_name(path: str | Path) -> str:
    """Name of the case a path stands for: the file name without its extension, safe as a folder name."""
    try:
        name = Path(path).resolve().name
    except (OSError, ValueError, RuntimeError):
        name = Path(path).name  # Links that lead in a circle, and what can be no name.
    for extension in sorted(NIFTI + ITK + DICOM, key=len, reverse=True):
        if name.lower().endswith(extension):
            name = name[: -len(extension)]
            break
    return re.sub(r"[^\w.+-]+", "_", name).strip("._") or "case"


def is_volume(path: Path) -> bool:
    """Whether a name is that of a volume in a file of its own."""
    return path.name.lower().endswith(NIFTI + ITK)


def described_contrast(path: str | Path) -> tuple[str, str]:
    """The contrast of a volume that is not read yet, and what says so (its header or its name); "" twice for none."""
    place = Path(path)
    if place.is_dir() or place.name.lower().endswith(DICOM):
        found = dicom_contrast(place) if place.exists() else ""
        if found:
            return found, "header"
    named = contrast_in(case_name(path))
    return (named, "name") if named else ("", "")


def read_image(path: str | Path) -> Image:
    """Reads a NIfTI, NRRD or MetaImage file, a DICOM folder, or the DICOM series that a file belongs to.

    The array is in the axis order of the file. Raises `UserError` for whatever is not one finite, varying 3D volume.
    """
    place, name = Path(path), Path(path).name.lower()
    _check_there(place)
    if not name.endswith(NIFTI):
        _check_name(place)
    if place.is_dir() or name.endswith(DICOM):
        array, affine = _from_itk(read_dicom(place), place)
    elif name.endswith(NIFTI):
        array, affine = read_nifti(place)
    elif name.endswith(ITK):
        array, affine = _read_itk(place)
    elif is_dicom(place):
        array, affine = _from_itk(read_dicom(place), place)
    else:
        raise UserError(f"{path} is not a NIfTI, NRRD or MetaImage file or a DICOM folder; convert it to one of them.")
    return Image(check_voxels(path, array, affine), affine, case_name(path), str(path))


def read_case(name: str, images: Mapping[str, Path], brain_mask: Path | None = None) -> Case:
    """Reads the images of a case, by channel, and its brain mask. Raises `UserError`."""
    read = {channel: read_image(path) for channel, path in images.items()}
    return Case(name, read, read_image(brain_mask) if brain_mask else None)


def _check_there(place: Path) -> None:
    try:
        there, folder, file = place.exists(), place.is_dir(), place.is_file()
        size = place.stat().st_size if there else 0
    except (OSError, ValueError, RuntimeError) as error:
        why = reason(error) if isinstance(error, OSError) else "its name cannot be used"
        raise UserError(f"{place} cannot be opened ({why}).") from None
    if not there:
        raise UserError(f"{place} does not exist.")
    if not (folder or file):
        raise UserError(f"{place} is neither a file nor a folder.")
    if file and size == 0:
        raise UserError(f"{place} is empty.")
    for entry in place.iterdir() if folder else ():
        # A reader of the folder would wait for what never comes.
        if entry.exists() and not (entry.is_file() or entry.is_dir()):
            raise UserError(f"{place} holds a device or a pipe; remove it.")


def _check_name(place: Path) -> None:
    # SimpleITK ends the whole process for a name that is not UTF-8.
    try:
        str(place).encode("utf-8")
    except UnicodeEncodeError:
        name = str(place).encode("utf-8", "backslashreplace").decode()
        raise UserError(f"{name} has letters that are not UTF-8; rename it.") from None


def _read_itk(path: Path) -> tuple[NDArray[Any], Affine]:
    check_text_header(path)
    reader = sitk.ImageFileReader()
    try:
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        if reader.GetNumberOfComponents() == 1:
            check_size(path, reader.GetSize(), np.complex64 if reader.GetPixelID() in _COMPLEX else np.float32)
        image = reader.Execute()
    except (RuntimeError, ValueError, MemoryError) as error:
        raise UserError(
            f"{path} cannot be read; it is damaged, truncated or another kind of file ({short(error)})."
        ) from None
    return _from_itk(image, path)


def _from_itk(image: sitk.Image, path: Path) -> tuple[NDArray[Any], Affine]:
    """Array [i, j, k] and RAS affine of an ITK image, whose world is LPS."""
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise UserError(f"{path} holds {image.GetNumberOfComponentsPerPixel()} values a voxel; one is needed.")
    if image.GetDimension() != 3:
        raise UserError(f"{path} is a {image.GetDimension()}D image; a 3D volume is needed.")
    return sitk.GetArrayFromImage(image).T, affine_of(image)
