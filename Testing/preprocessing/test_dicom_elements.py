"""A DICOM file is followed through every encoding, and told from one that claims more than it holds."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.dicom import dicom_files
from IterMask3DLib.preprocessing.dicom_elements import holds_its_elements
from IterMask3DLib.preprocessing.read import read_image
from Testing.fuzz.test_dicom import series

UNDEFINED = 0xFFFFFFFF
SYNTAXES = {"explicit": "1.2.840.10008.1.2.1", "implicit": "1.2.840.10008.1.2", "big": "1.2.840.10008.1.2.2"}
PIXELS = bytes(range(200))


def element(tag: int, kind: bytes, value: bytes, encoding: str, length: int | None = None) -> bytes:
    """An element as DICOM PS3.5 writes it; `length`: what it claims."""
    order = ">" if encoding == "big" else "<"
    head = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    size = len(value) if length is None else length
    if encoding == "implicit" or tag >> 16 == 0xFFFE:
        return head + struct.pack(f"{order}I", size) + value
    if kind in (b"OW", b"SQ", b"UN", b"OB"):
        return head + kind + struct.pack(f"{order}HI", 0, size) + value
    return head + kind + struct.pack(f"{order}H", size) + value


def file(encoding: str, elements: bytes, syntax: str | None = None) -> bytes:
    """A file with the encoding, or what its header says instead."""
    uid = (SYNTAXES[encoding] if syntax is None else syntax).encode()
    return bytes(128) + b"DICM" + element(0x00020010, b"UI", uid + b"\0" * (len(uid) % 2), "explicit") + elements


def nested(encoding: str, how: str, claims: int | None = None) -> bytes:
    """A sequence of one item with one element."""
    inside = element(0x00080100, b"SH", b"CODE", encoding, claims)
    undefined = how == "undefined"
    item = element(0xFFFEE000, b"", inside, encoding, UNDEFINED if undefined else None)
    ends = [element(tag, b"", b"", encoding) if undefined else b"" for tag in (0xFFFEE00D, 0xFFFEE0DD)]
    return element(0x00081140, b"SQ", item + ends[0], encoding, UNDEFINED if undefined else None) + ends[1]


def body(encoding: str, how: str = "defined", claims: int | None = None) -> bytes:
    name, rows = (element(0x00100010, b"PN", b"SOMEBODY", encoding), element(0x00280010, b"US", b"\1\0", encoding))
    return nested(encoding, how, claims) + name + rows + element(0x7FE00010, b"OW", PIXELS, encoding)


def is_whole(tmp_path: Path, data: bytes) -> bool:
    (tmp_path / "slice").write_bytes(data)
    return holds_its_elements(tmp_path / "slice")


@pytest.mark.parametrize("how", ["defined", "undefined"])
@pytest.mark.parametrize("encoding", SYNTAXES)
def test_a_whole_file_is_told_from_one_that_claims_more(encoding: str, how: str, tmp_path: Path) -> None:
    data = file(encoding, body(encoding, how))
    assert is_whole(tmp_path, data) and is_whole(tmp_path, data + b"behind the pixels")
    # Nowhere can it be cut, but before it says that it is an image.
    known = len(data) - len(element(0x7FE00010, b"OW", PIXELS, encoding))
    assert not any(is_whole(tmp_path, data[:to]) for to in range(known, len(data)))
    assert not is_whole(tmp_path, file(encoding, element(0x00080060, b"UN", b"MR", encoding, 2**31) + body(encoding)))
    # Within a sequence too, and what the header says of the encoding need not be so.
    claims = 2**31 if encoding == "implicit" else 2**16 - 1
    assert not is_whole(tmp_path, file(encoding, body(encoding, how, claims)))
    if encoding != "big":
        assert is_whole(tmp_path, file(encoding, body(encoding, how), SYNTAXES["explicit"]))
        assert not is_whole(tmp_path, file(encoding, body(encoding, how)[:-1], SYNTAXES["implicit"]))


def test_compressed_pixels_are_followed_fragment_by_fragment(tmp_path: Path) -> None:
    parts = [element(0xFFFEE000, b"", part, "explicit") for part in (b"", b"\xff\xd8 no element \xff\xd9")]
    end = element(0xFFFEE0DD, b"", b"", "explicit")
    rows = element(0x00280010, b"US", b"\1\0", "explicit")
    pixels = element(0x7FE00010, b"OB", b"".join(parts) + end, "explicit", UNDEFINED)
    data = file("explicit", rows + pixels, "1.2.840.10008.1.2.4.70")
    assert is_whole(tmp_path, data)
    assert not any(is_whole(tmp_path, data[:to]) for to in range(len(data) - len(pixels), len(data)))
    # An icon can be compressed too; it is not what the file is an image of, and sequences go on behind it.
    item = element(0xFFFEE000, b"", rows + pixels, "explicit", UNDEFINED)
    icon = element(0x00880200, b"SQ", item + element(0xFFFEE00D, b"", b"", "explicit") + end, "explicit", UNDEFINED)
    open_item = element(0xFFFEE000, b"", rows, "explicit", UNDEFINED) + element(0xFFFEE00D, b"", b"", "explicit")
    before = rows + icon + element(0x00091140, b"SQ", open_item, "explicit")
    assert is_whole(tmp_path, file("explicit", before + pixels, "1.2.840.10008.1.2.4.70"))
    assert not is_whole(tmp_path, file("explicit", before, "1.2.840.10008.1.2.4.70"))


def test_what_no_reader_could_follow_is_refused_and_private_encodings_are_not(tmp_path: Path) -> None:
    odd = element(0x00090010, b"??", b"12", "explicit")
    assert not is_whole(
        tmp_path, file("explicit", element(0x00080060, b"CS", b"MR", "explicit") + odd + body("explicit"))
    )
    private = element(0xFFFEE000, b"", element(0x2001100F, b"", b"12", "implicit"), "explicit")
    assert is_whole(tmp_path, file("explicit", element(0x20051080, b"SQ", private, "explicit") + body("explicit")))
    unknown = element(0x20051080, b"UN", private, "explicit", UNDEFINED)
    assert is_whole(tmp_path, file("explicit", element(0x00080060, b"CS", b"MR", "explicit") + unknown))


def test_files_of_other_kinds_are_none_of_its_business(tmp_path: Path) -> None:
    for data in (
        b"",
        b"x",
        b"a text beside the slices",
        bytes(400),
        file("explicit", b"\x12" * 40, "1.2.840.10008.1.2.1.99"),
    ):
        assert is_whole(tmp_path, data)
    assert holds_its_elements(tmp_path / "nowhere")


def _claim(path: Path) -> None:
    """Where the slice lies claims two gigabytes."""
    data = path.read_bytes()
    at = data.index(b"\x20\x00\x32\x00")
    path.write_bytes(data[: at + 4] + b"UN\0\0" + struct.pack("<I", 2**31) + data[at + 8 :])


def _cut(to: int) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[:to])


@pytest.mark.parametrize("harm", [_claim, _cut(-100), _cut(600), _cut(0)])
def test_a_slice_at_the_end_of_a_series_that_is_damaged_is_not_left_out(
    harm: Callable[[Path], None], tmp_path: Path
) -> None:
    series(tmp_path / "scan")
    (tmp_path / "scan" / "notes.txt").write_text("exported on a Monday")
    assert len(dicom_files(tmp_path / "scan")) == read_image(tmp_path / "scan").array.shape[2] == 6
    harm(tmp_path / "scan" / "005.dcm")
    with pytest.raises(UserError, match=r"scan holds a DICOM file that is damaged or cut off; export the scan again"):
        read_image(tmp_path / "scan")
