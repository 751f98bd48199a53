"""Volumes with other bytes in their headers: read, or refused in a sentence."""

from __future__ import annotations

import gzip
import mmap
import struct
from pathlib import Path

import pytest
import SimpleITK as sitk
from hypothesis import strategies as st

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.read import read_image
from Testing.fuzz.images import VALUES, nifti
from Testing.fuzz.rounds import rounds
from Testing.fuzz.test_dicom import SERIES, write_slice

HEADER_BYTES = 352
NUMBERS = [
    "0",
    "-1",
    "1",
    "3",
    "20",
    "24",
    "17",
    "99",
    "1e9",
    "nan",
    "inf",
    "9" * 40,
    "1 2",
    "x",
    "",
    "(1,0,0)",
    "-0.5",
]
TEXTS = [
    *NUMBERS,
    "raw",
    "gzip",
    "LOCAL",
    "LIST",
    "/dev/zero",
    "../x",
    "short",
    "MET_SHORT",
    "True",
    "none",
    "%d",
    "\x00",
    "é",
]


def met(path: Path) -> None:
    """Reads a file; only a sentence for the user may come of it beside a volume."""
    try:
        image = read_image(path)
        assert image.array.ndim == 3 and image.affine.shape == (4, 4)
    except UserError as error:
        assert "\n" not in str(error).replace(str(path), "") and len(str(error)) < 600


def test_a_nifti_header_that_puts_its_voxels_far_away_is_told(tmp_path: Path) -> None:
    data = bytearray(nifti(tmp_path).read_bytes())
    data[108:112] = struct.pack("<f", 2.0**35)
    (tmp_path / "far.nii").write_bytes(data)
    with pytest.raises(UserError, match="puts its voxels at byte 34359738368; mend its header"):
        read_image(tmp_path / "far.nii")


def test_nifti_headers_of_other_bytes(tmp_path: Path) -> None:
    whole = nifti(tmp_path).read_bytes()

    def check(changes: list[tuple[int, bytes]], compressed: bool) -> None:
        data = bytearray(whole)
        for at, new in changes:
            data[at : at + len(new)] = new
        path = tmp_path / ("odd.nii.gz" if compressed else "odd.nii")
        path.write_bytes(gzip.compress(bytes(data), 1) if compressed else bytes(data))
        met(path)

    change = st.tuples(st.integers(0, HEADER_BYTES - 1), st.binary(min_size=1, max_size=8))
    rounds(check, 100, changes=st.lists(change, min_size=1, max_size=4), compressed=st.booleans())


@pytest.mark.parametrize("name", ["odd.nrrd", "odd.nhdr", "odd.mha", "odd.mhd"])
def test_text_headers_of_other_lines(name: str, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(VALUES.T)
    image.SetSpacing((8.0, 8.0, 8.0))
    path = tmp_path / name
    sitk.WriteImage(image, str(path), useCompression=False)
    lines = path.read_bytes().split(b"\n")
    count = next(n for n, line in enumerate(lines) if not line or line.startswith(b"ElementDataFile")) + 1
    sign = b":" if "n" in name[4:6] else b"="

    def check(number: int, text: str, how: str) -> None:
        odd, value = list(lines), text.encode("utf-8", "replace")
        if how == "value":
            odd[number] = odd[number].split(sign)[0] + sign + b" " + value
        elif how == "line":
            odd[number] = value
        elif how == "gone":
            del odd[number]
        else:
            odd.insert(number, odd[number])
        path.write_bytes(b"\n".join(odd))
        met(path)

    text = st.one_of(st.sampled_from(TEXTS), st.text(max_size=30))
    how = st.sampled_from(["value", "value", "value", "line", "gone", "twice"])
    rounds(check, 40, number=st.integers(0, count - 1), text=text, how=how)


def test_dicom_slices_of_other_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    paths = [write_slice(folder, number) for number in range(SERIES)]
    whole = [path.read_bytes() for path in paths]

    def check(which: int, at: int, new: bytes, cut: bool) -> None:
        for path, data in zip(paths, whole, strict=True):
            path.write_bytes(data)
        data = whole[which]
        at = at % len(data)
        paths[which].write_bytes(data[:at] if cut else data[:at] + new + data[at + len(new) :])
        met(folder)

    new = st.binary(min_size=1, max_size=6)
    before = resident_megabytes()
    rounds(check, 25, which=st.integers(0, SERIES - 1), at=st.integers(0, 1 << 16), new=new, cut=st.booleans())
    assert resident_megabytes() < before + 200


def resident_megabytes() -> float:
    """What this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 1e6
    except OSError:
        return 0.0
