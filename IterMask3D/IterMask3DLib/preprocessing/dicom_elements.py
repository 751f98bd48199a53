"""Whether the elements of a DICOM file lie within it.

GDCM takes the memory that the length of an element asks for before it looks whether the file has as much, and keeps it
when it does not: a file of a kilobyte in which one byte is wrong can cost gigabytes. So lengths are followed first.
Encoding: DICOM PS3.5, chapter 7 and annex A; the beginning of a file: PS3.10, chapter 7.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Literal

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
"""Value representations whose length has four bytes, and two."""

_KNOWN = _LONG | _SHORT

_META_GROUP, _SYNTAX, _ROWS = 0x0002, 0x00020010, 0x00280010
_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)
"""Pixel data of whole numbers, and of floats of four and of eight bytes."""

_DELIMITERS, _ITEM, _SEQUENCE_END = 0xFFFE, 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_BIG_ENDIAN, _DEFLATED = b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
"""Transfer syntaxes that need more than to be followed as they are."""


def holds_its_elements(path: Path) -> bool:
    """Whether a file holds all that the lengths in it claim, up to its pixels; True for what is no DICOM."""
    try:
        with path.open("rb") as file:
            return _Elements(file).all_within()
    except OSError:
        return True  # Whoever reads it will say what is wrong with it.


class _Elements:
    """Follows the elements of a file, those of sequences after the sequence itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, file.seek(0, os.SEEK_END)
        self._order: Literal["little", "big"] = "little"
        self._explicit = True

    def all_within(self) -> bool:
        at = 132 if self._bytes(128, 4) == b"DICM" else 0
        if not at and self._number(0, 2) not in (_META_GROUP, 0x0008):
            return True
        syntax = b""
        while at + 8 <= self._size and self._number(at, 2) == _META_GROUP:
            begin, length = self._value(at)
            if begin + length > self._size:
                return False
            if self._tag(at) == _SYNTAX:
                syntax = self._bytes(begin, length).strip(b"\0 ")
            at = begin + length
        if syntax == _DEFLATED:
            return True
        self._order = "big" if syntax == _BIG_ENDIAN else "little"
        # What the file says of its own encoding is not always so.
        self._explicit = self._bytes(at + 4, 2) in _KNOWN
        return self._from(at)

    def _from(self, at: int) -> bool:
        """From the first element behind the file's own on."""
        nested_to, opened, in_fragments, is_image = 0, 0, False, False
        while at + 8 <= self._size:
            tag = self._tag(at)
            if tag >> 16 == _DELIMITERS:
                length, at = self._number(at + 4, 4), at + 8
                is_fragment = in_fragments and tag == _ITEM
                if (is_fragment or length != _UNDEFINED) and at + length > self._size:
                    return False
                if tag == _SEQUENCE_END:
                    opened, in_fragments = opened - 1, False
                at += length if is_fragment else 0
                continue
            if self._explicit and self._bytes(at + 4, 2) not in _KNOWN:
                # Some scanners write private sequences in the other encoding; elsewhere no reader can go on.
                if at < nested_to:
                    at = nested_to
                    continue
                return opened > 0
            begin, length = self._value(at)
            is_outermost = at >= nested_to and not opened
            if length == _UNDEFINED:
                if self._explicit and self._bytes(at + 4, 2) == b"UN":
                    return True
                in_fragments = tag in _PIXELS
                is_image &= not (in_fragments and is_outermost)
                opened, at = opened + 1, begin
                continue
            if begin + length > self._size:
                return False
            if is_outermost:
                if tag in _PIXELS:
                    return True
                is_image |= tag == _ROWS
            is_sequence = length >= 8 and self._tag(begin) == _ITEM
            nested_to = max(nested_to, begin + length) if is_sequence else nested_to
            at = begin if is_sequence else begin + length
        # What ends within an element or a sequence is cut, and an image that ends before its pixels.
        return not (is_image or opened or self._bytes(at, self._size - at).strip(b"\0"))

    def _value(self, at: int) -> tuple[int, int]:
        """Where the value of the element at a byte begins, and its length; one that is none is longer than the file."""
        representation = self._bytes(at + 4, 2)
        if not self._explicit:
            return at + 8, self._number(at + 4, 4)
        if representation in _LONG:
            return at + 12, self._number(at + 8, 4)
        return at + 8, self._number(at + 6, 2) if representation in _SHORT else self._size

    def _tag(self, at: int) -> int:
        return self._number(at, 2) << 16 | self._number(at + 2, 2)

    def _number(self, at: int, count: int) -> int:
        return int.from_bytes(self._bytes(at, count), self._order)

    def _bytes(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        return self._file.read(count)
