"""NIfTI files, read whole and checked to the last byte."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason, whole_file
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.limits import check_size, short

ENDINGS = (".nii", ".nii.gz")

_HEADER_BYTES = 544
"""Enough for the header of NIfTI-1 (348) and NIfTI-2 (540)."""

_TRAILING = 1 << 20
_FAILURES = (
    ImageFileError,
    HeaderDataError,
    OSError,
    EOFError,
    KeyError,
    ValueError,
    OverflowError,
    zlib.error,
    struct.error,
)


def read_nifti(path: Path) -> tuple[NDArray[Any], Affine]:
    """The voxels in the file's axis order, scaled as the header says, and the RAS affine.

    What the header claims is checked before memory is taken; a compressed file must hold about that much and have the
    right checksum. Raises `UserError`.
    """
    try:
        with (gzip.open if path.name.lower().endswith(".gz") else open)(path, "rb") as file:
            beginning = file.read(_HEADER_BYTES)
            kind = _kind(beginning)
            header = kind.header_class.from_fileobj(io.BytesIO(beginning), check=False)
            shape, dtype = header.get_data_shape(), header.get_data_dtype()
            if any(side < 1 for side in shape):
                raise UserError(f"{path} has a header with the sides {' x '.join(map(str, shape))}; mend its header.")
            wanted = check_size(path, shape, dtype) + int(header.get_data_offset())
            # Read to its end, so that the checksum of a compressed file is compared.
            data = beginning + file.read(max(0, wanted + _TRAILING - len(beginning)))
            if file.read(1):
                raise UserError(f"{path} holds more than its header says; it is damaged or no NIfTI file.")
        image = kind.from_bytes(data)
        array = np.asanyarray(image.dataobj)
    except _FAILURES as error:
        what = reason(error) if isinstance(error, OSError) and error.errno else short(error)
        raise UserError(
            f"{path} cannot be read as NIfTI; it is damaged, truncated or another kind of file ({what})."
        ) from None
    return array, np.asarray(image.affine, dtype=np.float64)


def write_nifti(array: NDArray[np.generic], affine: Affine, path: Path) -> None:
    """Writes `array` [i, j, k(, n)] with its RAS affine (mm) to a NIfTI file, whole; booleans become 0 and 1."""
    data = array.astype(np.uint8) if array.dtype == bool else array
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    with whole_file(path) as beside:
        nibabel.save(image, beside)


def _kind(beginning: bytes) -> Any:
    """The class of a single-file NIfTI image by the size its header states, in either byte order."""
    if len(beginning) >= 4:
        sizes = {struct.unpack(f"{order}i", beginning[:4])[0] for order in "<>"}
        if 348 in sizes:
            return nibabel.Nifti1Image
        if 540 in sizes:
            return nibabel.Nifti2Image
    raise ImageFileError("no header of NIfTI")
