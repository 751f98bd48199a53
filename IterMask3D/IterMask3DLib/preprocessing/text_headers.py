"""Headers of NRRD and MetaImage files, checked before a library is let near them.

The readers of both formats trust what a header says: more axes than they have room for end the whole process, and a
header may send them to any file or device for its voxels. What passes here describes one volume of one number a voxel,
whose voxels lie in the file itself or in one file beside it.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason
from IterMask3DLib.core.limits import check_size

NRRD, META_IMAGE = (".nrrd", ".nhdr"), (".mha", ".mhd")

_MOST_BYTES = 1024**2
_LONGEST_LINE, _LONGEST_NAME = 30000, 200
_MOST_AXES = 4
_LARGEST_TEXT = 64
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_NRRD_TYPES = {
    "signed char": "i1",
    "int8": "i1",
    "int8_t": "i1",
    "uchar": "u1",
    "unsigned char": "u1",
    "uint8": "u1",
    "uint8_t": "u1",
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_META_NUMBERS = {
    "ElementSpacing": 1,
    "ElementSize": 1,
    "Offset": 1,
    "Position": 1,
    "Origin": 1,
    "CenterOfRotation": 1,
    "TransformMatrix": 2,
    "Rotation": 2,
    "Orientation": 2,
}
"""How many numbers stand there: the axes to this power."""


def check_text_header(path: Path) -> None:
    """Raises `UserError` where a NRRD or MetaImage file does not describe one volume that can be read safely."""
    lines, more = _lines(path)
    if path.name.lower().endswith(META_IMAGE):
        _check_meta_image(path, lines)
    else:
        _check_nrrd(path, lines, more)


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"{path} cannot be read; it is damaged, truncated or another kind of file ({what}).")


def _lines(path: Path) -> tuple[list[str], bool]:
    """The lines of a header, up to where its voxels begin, and whether something follows it in the file."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({reason(error)}).") from None
    lines: list[str] = []
    rest = raw
    while rest:
        line, _, rest = rest.partition(b"\n")
        line = line.removesuffix(b"\r")
        if len(line) > _LONGEST_LINE or b"\0" in line:
            raise _wrong(path, "its header is no text")
        lines.append(line.decode("latin-1"))
        if not line or line.startswith(b"ElementDataFile"):
            return lines, bool(rest)
    if len(raw) == _MOST_BYTES:
        raise _wrong(path, "its header has no end")
    return lines, False


def _sides(path: Path, text: str, axes: int) -> list[int]:
    sides = text.split()
    if len(sides) != axes or not all(side.isdecimal() and len(side) < 10 and int(side) > 0 for side in sides):
        raise _wrong(path, f"its sides are {text[:_LARGEST_TEXT]}")
    return [int(side) for side in sides]


def _axes(path: Path, text: str) -> int:
    if not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= _MOST_AXES:
        raise _wrong(path, f"it has {text[:_LARGEST_TEXT]} dimensions")
    return int(text)


def _check_beside(path: Path, name: str) -> None:
    """Raises `UserError` where a header does not name one plain file in its folder or below it."""
    outside = PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or ".." in re.split(r"[/\\]", name)
    if not name or outside or "%" in name or name.upper().startswith("LIST") or len(name.split()) > 1:
        raise _wrong(path, f"its voxels are said to lie in {name[:_LARGEST_TEXT]!r}, which is no file beside it")
    there = path.parent / name
    if not there.is_file() or there.samefile(path):
        raise UserError(f"{path} has its voxels in {name[:_LARGEST_TEXT]}, which is not beside it.")


def _check_meta_image(path: Path, lines: list[str]) -> None:
    fields: dict[str, str] = {}
    for line in lines:
        key, sign, value = (part.strip() for part in line.partition("="))
        if not sign or key in fields or len(key) > _LONGEST_NAME:
            raise _wrong(path, f"its header says {line[:_LARGEST_TEXT]!r}")
        fields[key] = value
    if "ElementDataFile" not in fields:
        raise _wrong(path, "it has no header of MetaImage")
    axes = _axes(path, fields.get("NDims", ""))
    sides = _sides(path, fields.get("DimSize", ""), axes)
    kind = fields.get("ElementType", "")
    if kind not in _META_TYPES:
        raise _wrong(path, f"values of type {kind[:_LARGEST_TEXT]!r}")
    channels = fields.get("ElementNumberOfChannels", "1")
    if channels != "1":
        raise UserError(f"{path} holds {channels[:_LARGEST_TEXT]} values a voxel; one is needed.")
    check_size(path, sides, _META_TYPES[kind])
    for key, power in _META_NUMBERS.items():
        if key in fields:
            _check_numbers(path, key, fields[key].split(), axes**power)
    for key in ("CompressedDataSize", "HeaderSize", "CompressionLevel"):
        if not re.fullmatch(r"\d{1,12}|-1", fields.get(key, "0")):
            raise _wrong(path, f"its {key} is {fields[key][:_LARGEST_TEXT]}")
    if fields["ElementDataFile"] != "LOCAL":
        _check_beside(path, fields["ElementDataFile"])


def _check_numbers(path: Path, what: str, numbers: list[str], count: int) -> None:
    if len(numbers) != count or not all(len(each) <= 40 and _NUMBER.fullmatch(each) for each in numbers):
        raise _wrong(path, f"its {what} is not {count} numbers")


def _check_nrrd(path: Path, lines: list[str], more: bool) -> None:
    if not lines or not re.fullmatch(r"NRRD000[1-5]", lines[0]):
        raise _wrong(path, "no header of NRRD")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        key, sign, value = line.partition(":")
        if not line or line.startswith("#") or value.startswith("="):
            continue
        key = key.strip().lower().replace(" ", "")
        if not sign or key in fields:
            raise _wrong(path, f"its header says {line[:_LARGEST_TEXT]!r}")
        fields[key] = value.strip()
    axes = _axes(path, fields.get("dimension", ""))
    sides = _sides(path, fields.get("sizes", ""), axes)
    kind = fields.get("type", "").lower()
    if kind not in _NRRD_TYPES:
        raise _wrong(path, f"values of type {kind[:_LARGEST_TEXT]!r}")
    check_size(path, sides, _NRRD_TYPES[kind])
    encoding = fields.get("encoding", "").lower()
    if encoding in ("txt", "text", "ascii"):
        # What is no number there takes the reader gigabytes, or ends the process.
        raise UserError(f"{path} has its voxels as text; save it with the encoding raw or gzip.")
    if encoding not in ("raw", "gzip", "gz", "bzip2", "bz2"):
        raise _wrong(path, f"an encoding {encoding[:_LARGEST_TEXT]!r}")
    for key in ("spacings", "thicknesses", "axismins", "axismaxs"):
        if key in fields:
            numbers = ["0" if each.lower() == "nan" else each for each in fields[key].split()]
            _check_numbers(path, key, numbers, axes)
    for key in ("spacedirections", "spaceorigin"):
        for vector in re.findall(r"\(([^)]*)\)", fields.get(key, "")):
            numbers = vector.split(",")
            _check_numbers(path, key, [each.strip() for each in numbers], min(max(len(numbers), 2), 4))
    for key in ("lineskip", "byteskip"):
        if not re.fullmatch(r"\d{1,12}|-1", fields.get(key, "0")):
            raise _wrong(path, f"its {key} is {fields[key][:_LARGEST_TEXT]}")
    data = fields.get("datafile")
    if data is not None:
        _check_beside(path, data)
    elif not more:
        raise _wrong(path, "no voxels follow its header")
