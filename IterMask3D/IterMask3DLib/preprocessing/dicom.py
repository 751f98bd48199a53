"""DICOM folders: one scan of one moment, with all its slices, or a sentence that says what else is there.

Nothing of a header reaches a message but counts and sizes: names, dates and descriptions belong to the patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from IterMask3DLib.core.contrast import contrast_in, contrast_of_times
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason
from IterMask3DLib.core.limits import check_size, short
from IterMask3DLib.preprocessing.dicom_elements import holds_its_elements

ENDINGS = (".dcm", ".ima")
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
_NAMED = ("0008|103e", "0018|1030")
"""Series description and protocol name."""

_TIMES = ("0018|0080", "0018|0081", "0018|0082")
"""Repetition, echo and inversion time in ms."""

_SAME_MM = 1e-2
_UNEVEN = 0.05
"""Distances between slices may differ by this share of the usual one, which is what rounding in headers does."""


@dataclass(frozen=True)
class Slice:
    """One file of a series: where it lies along the normal of its plane (mm), and its size in pixels."""

    path: str
    place: float
    orientation: tuple[float, ...]
    size: tuple[int, ...]


def dicom_files(place: Path) -> list[str]:
    """The files of the scan of a folder, or of the one that a file belongs to, in the order of their slices.

    Raises `UserError` where the folder holds several series, several time points, slices of different sizes, or gaps.
    """
    series = _series_at(place)
    if not series:
        raise UserError(f"{place} holds no DICOM series; give the folder with the slices of one scan.")
    if len(series) > 1:
        counts = ", ".join(str(len(files)) for files in sorted(series, key=len, reverse=True))
        held = f"{len(series)} DICOM series (of {counts} files)"
        raise UserError(f"{place} holds {held}; give one file of the series you mean instead.")
    (files,) = series
    return _in_order(place, [_slice(place, file) for file in files]) if len(files) > 1 else files


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its ending, or by the four letters that each begins with at byte 128."""
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def series_of(folder: Path) -> list[tuple[str, str]]:
    """A file of each series of a folder, and words to choose it by, the largest first. Raises `UserError`.

    The words hold the description of the header: they are for the eyes of who chooses, never for a log.
    """
    found = []
    for files in sorted(_series(folder), key=len, reverse=True):
        try:
            reader = _header(files[0])
            name = reader.GetMetaData(_NAMED[0]).strip() if reader.HasMetaDataKey(_NAMED[0]) else ""
        except RuntimeError:
            name = ""
        found.append((files[0], f"{name or 'series'} ({len(files)} files)"))
    return found


def read_dicom(place: Path) -> sitk.Image:
    """The scan of a folder, or the one that a file belongs to. Raises `UserError`, as `dicom_files` does."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(dicom_files(place))
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise UserError(f"{place} cannot be read as a DICOM series ({_without_paths(error)}).") from None


def dicom_contrast(place: Path) -> str:
    """The contrast that the header of the scan of a folder names, or the times of its sequence tell; "" for none."""
    try:
        (files,) = _series_at(place)
        reader = _header(files[0])
    except (ValueError, RuntimeError, UserError):
        return ""  # What is wrong with it is said when it is read.
    there = {tag: reader.GetMetaData(tag) for tag in (*_NAMED, *_TIMES) if reader.HasMetaDataKey(tag)}
    for tag in _NAMED:
        named = contrast_in(there.get(tag, ""))
        if named:
            return named
    return contrast_of_times(*(_milliseconds(there.get(tag, "")) for tag in _TIMES))


def _milliseconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _header(file: str) -> sitk.ImageFileReader:
    """What a header says, without its pixels. Raises `RuntimeError`."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader


def _series_at(place: Path) -> list[list[str]]:
    """The series of a folder, or those that a file belongs to."""
    series = _series(place if place.is_dir() else place.parent)
    if place.is_file():
        return [files for files in series if any(Path(file).name == place.name for file in files)]
    return series


def _series(folder: Path) -> list[list[str]]:
    try:
        whole = all(_is_whole(path) for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise UserError(f"{folder} cannot be read as a DICOM folder ({reason(error)}).") from None
    if not whole:
        raise UserError(f"{folder} holds a DICOM file that is damaged or cut off; export the scan again.")
    try:
        ids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        return [list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)) for uid in ids]
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{folder} cannot be read as a DICOM folder ({_without_paths(error)}).") from None


def _is_whole(path: Path) -> bool:
    is_empty = path.suffix.lower() in ENDINGS and path.stat().st_size == 0
    return not is_empty and holds_its_elements(path)


def _slice(place: Path, file: str) -> Slice:
    try:
        reader = _header(file)
        check_size(place, reader.GetSize(), np.float32)
        position = _numbers(reader, _POSITION, 3)
        orientation = _numbers(reader, _ORIENTATION, 6)
    except (RuntimeError, ValueError):
        raise UserError(f"{place}: a file of the series cannot be read or does not say where its slice lies.") from None
    normal = np.cross(orientation[:3], orientation[3:])
    return Slice(file, float(normal @ position), tuple(np.round(orientation, 4)), reader.GetSize()[:2])


def _numbers(reader: sitk.ImageFileReader, tag: str, count: int) -> NDArray[np.float64]:
    numbers = np.array([float(text) for text in reader.GetMetaData(tag).split("\\")])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(tag)
    return numbers


def _in_order(place: Path, slices: list[Slice]) -> list[str]:
    """The files in the order of their places. Raises `UserError` where they make no even stack."""
    slices = sorted(slices, key=lambda each: each.place)
    if len({each.size for each in slices}) > 1:
        raise UserError(f"{place} holds slices of different sizes; give the folder of one scan.")
    if len({each.orientation for each in slices}) > 1:
        raise UserError(f"{place} holds slices in different directions; give the folder of one scan.")
    steps = np.diff([each.place for each in slices])
    same = int((steps < _SAME_MM).sum())
    if same:
        held = f"{same} slices twice in the same place: several time points or echoes"
        raise UserError(f"{place} holds {held}; export one of them alone.")
    usual = float(np.median(steps))
    wide = int((np.abs(steps - usual) > _UNEVEN * usual).sum())
    if wide:
        raise UserError(
            f"{place} has {wide} gaps between its slices: some are missing or cut off; export the scan again."
        )
    return [each.path for each in slices]


def _without_paths(error: Exception) -> str:
    # ITK's messages hold file names, and those of DICOM files can hold the patient's.
    return short(error).split(":")[-1].strip() or type(error).__name__
