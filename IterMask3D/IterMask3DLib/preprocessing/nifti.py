"""NIfTI files, read whole and checked to the last byte."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason, whole_file
from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.core.limits import check_size, short

ENDINGS = (".nii", ".nii.gz")

_HEADER_BYTES = 544
"""Enough for the header of NIfTI-1 (348) and NIfTI-2 (540)."""

_TRAILING = 1 << 20
_LATEST_START = 1 << 28
_GZIP = 31
"""What zlib calls the format of gzip, with its largest window."""

_FAILURES = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
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
            start = int(header.get_data_offset())
            if not 0 <= start <= _LATEST_START:
                raise UserError(f"{path} has a header that puts its voxels at byte {start}; mend its header.")
            wanted = check_size(path, shape, dtype) + start
            # Read to its end, so that the checksum of a compressed file is compared.
            data = beginning + file.read(max(0, wanted + _TRAILING - len(beginning)))
            if file.read(1):
                raise UserError(f"{path} holds more than its header says; it is damaged or no NIfTI file.")
        # What it mends in a header it would print.
        with LoggingOutputSuppressor():
            image = kind.from_bytes(data)
            array = np.asanyarray(image.dataobj)
    except _FAILURES as error:
        what = reason(error) if isinstance(error, OSError) and error.errno else short(error)
        raise UserError(
            f"{path} cannot be read as NIfTI; it is damaged, truncated or another kind of file ({what})."
        ) from None
    return array, np.asarray(image.affine, dtype=np.float64)


def write_nifti(array: NDArray[np.generic], affine: Affine, path: Path) -> None:
    """Writes `array` [i, j, k] with its RAS affine (mm) to a NIfTI file, whole; booleans become 0 and 1."""
    _write(path, affine, array.shape, array.dtype, [array])


def write_nifti_series(volumes: Sequence[Callable[[], NDArray[np.bool_]]], affine: Affine, path: Path) -> None:
    """Writes masks [i, j, k] as one file [i, j, k, n] of 0 and 1, whole; each is asked for when its turn has come."""
    first = volumes[0]()
    _write(path, affine, (*first.shape, len(volumes)), first.dtype, (volume() for volume in volumes))


def _write(
    path: Path, affine: Affine, shape: tuple[int, ...], dtype: Any, volumes: Iterable[NDArray[np.generic]]
) -> None:
    stored = np.dtype(np.uint8 if dtype == np.bool_ else dtype)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(stored)
    header.set_data_shape(shape)
    header.set_slope_inter(1, 0)
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    # Repeated bytes alone are shortened: on volumes twice as fast as the usual way, and a little smaller.
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP, 9, zlib.Z_RLE) if path.name.lower().endswith(".gz") else None
    with whole_file(path) as staged, staged.open("wb") as file:

        def put(data: Any) -> None:
            file.write(packer.compress(data) if packer else data)

        beginning = io.BytesIO()
        header.write_to(beginning)
        put(beginning.getvalue() + bytes(int(header["vox_offset"]) - beginning.tell()))
        for volume in volumes:
            # A file keeps the first axis closest together.
            put(np.ascontiguousarray(volume.astype(stored, copy=False).T).data.cast("B"))
        file.write(packer.flush() if packer else b"")


def _kind(beginning: bytes) -> Any:
    """The class of a single-file NIfTI image by the size its header states, in either byte order."""
    if len(beginning) >= 4:
        sizes = {struct.unpack(f"{order}i", beginning[:4])[0] for order in "<>"}
        if 348 in sizes:
            return nibabel.Nifti1Image
        if 540 in sizes:
            return nibabel.Nifti2Image
    raise ImageFileError("no header of NIfTI")
