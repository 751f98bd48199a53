"""The language between a door and the engine's process: messages to bytes and back, without any input or output.

A frame is 8 bytes that name the language and its version, the lengths of the header (uint32) and of the payload
(uint64), both little-endian, the header as JSON, and the arrays it announces, raw, each at a multiple of 16 bytes.
Nothing is ever unpickled, and every size is checked before memory is reserved.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import one_line
from IterMask3DLib.core.files import plain
from IterMask3DLib.core.limits import MOST_VOXELS

VERSION = 1
_NAME = b"IM3DWIR"
_LENGTHS = struct.Struct("<IQ")
_DTYPES = frozenset(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)) | {
    "float16",
    "float32",
    "float64",
}
_ALIGNED = 16
_LARGEST_HEADER, _LARGEST_PAYLOAD = 16 * 1024**2, 16 * 1024**3
_MOST_ARRAYS, _MOST_AXES = 4096, 8
_VOLUME_AXES = 3
_LARGEST_ID = 2**53
_SHOWN = 80


class WireError(UserError):
    """What came is no message, or what was to be sent cannot be one."""


@dataclass(frozen=True, eq=False)
class Message:
    """One message.

    Attributes:
        kind: what it says; id: the number of the request it makes, or belongs to.
        fields: JSON values by name. Sent numbers that are not finite arrive as None, tuples as lists.
        arrays: whole or floating point numbers, by name; sent booleans arrive as uint8.
    """

    kind: str
    id: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def encode(message: Message) -> list[bytes | memoryview]:
    """A message as the buffers of one frame; those of arrays are views where the array's order allows it.

    Raises `WireError`.
    """
    arrays = {name: _sendable(name, array) for name, array in message.arrays.items()}
    entries = [{"name": name, "dtype": array.dtype.name, "shape": array.shape} for name, array in arrays.items()]
    header = {"kind": message.kind, "id": message.id, "fields": plain(message.fields), "arrays": plain(entries)}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    length = sum(_padded(array.nbytes) for array in arrays.values())
    if len(text) > _LARGEST_HEADER or length > _LARGEST_PAYLOAD or len(arrays) > _MOST_ARRAYS:
        raise WireError(f"The message {message.kind} is too large to be sent ({length / 2**20:.0f} MB).")
    buffers: list[bytes | memoryview] = [_NAME + bytes([VERSION]) + _LENGTHS.pack(len(text), length) + text]
    for array in arrays.values():
        buffers.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        buffers.append(bytes(_padded(array.nbytes) - array.nbytes))
    return [buffer for buffer in buffers if len(buffer)]


class Decoder:
    """Makes messages of bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._error: WireError | None = None
        self._rest = memoryview(b"")
        self._parts = self._read()
        self._part, self._filled = np.empty(next(self._parts), np.uint8), 0

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """The messages that ended with these bytes. Raises `WireError`, from then on for whatever comes."""
        if self._error is not None:
            raise self._error
        self._rest = memoryview(data).cast("B")
        try:
            while self._fill():
                self._part, self._filled = _reserved(self._parts.send(self._part)), 0
        except WireError as error:
            self._error = error
            raise
        messages, self._messages = self._messages, []
        return messages

    def _fill(self) -> bool:
        """Moves what came to the part that is being read; whether it is whole now."""
        taken = self._rest[: len(self._part) - self._filled]
        self._part[self._filled : self._filled + len(taken)] = taken
        self._filled, self._rest = self._filled + len(taken), self._rest[len(taken) :]
        return self._filled == len(self._part)

    def _read(self) -> Generator[int, NDArray[np.uint8], None]:
        """The parts of every frame: yields how long the next one is, and is sent it when it is whole."""
        while True:
            name = (yield len(_NAME) + 1).tobytes()
            if name != _NAME + bytes([VERSION]):
                raise WireError(self._other_language(name))
            header_length, payload_length = _LENGTHS.unpack((yield _LENGTHS.size).tobytes())
            if not 0 < header_length <= _LARGEST_HEADER or payload_length > _LARGEST_PAYLOAD:
                raise _damaged("a size that no message has")
            header = _header((yield header_length).tobytes())
            places = _places(header["arrays"], payload_length)
            payload = yield payload_length
            arrays = {
                name: payload[start:stop].view(dtype).reshape(shape)
                for name, (dtype, shape, start, stop) in places.items()
            }
            self._messages.append(Message(header["kind"], header["id"], header["fields"], arrays))

    def _other_language(self, name: bytes) -> str:
        if name.startswith(_NAME):
            return (
                f"The other side speaks version {name[-1]} of the engine's language, this one version {VERSION}; "
                "install the same version of IterMask3D on both."
            )
        text = (name + self._rest[:_SHOWN].tobytes()).decode("utf-8", errors="replace")
        shown = one_line(text)[:_SHOWN]
        return f"Something else than the engine's messages came: {shown!r}; its start-up must print nothing."


def _reserved(size: int) -> NDArray[np.uint8]:
    """Memory that is taken only as it is filled."""
    try:
        return np.empty(size, np.uint8)
    except MemoryError:
        raise WireError(f"There is no memory for a message of {size / 2**20:.0f} MB; close other programs.") from None


def _header(text: bytes) -> dict[str, Any]:
    """A header whose values have their types."""
    try:
        header = json.loads(text.decode("utf-8"), parse_constant=_refused)
    except (ValueError, RecursionError):
        raise _damaged("a header that is no JSON") from None
    types = {"kind": str, "id": int, "fields": dict, "arrays": list}
    if not isinstance(header, dict) or any(type(header.get(name)) is not kind for name, kind in types.items()):
        raise _damaged("a header without kind, id, fields and arrays")
    if not 0 <= header["id"] <= _LARGEST_ID or len(header["arrays"]) > _MOST_ARRAYS:
        raise _damaged("an id or a number of arrays that no message has")
    return header


def _places(entries: list[Any], payload_length: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]]:
    """Type, shape, first and last byte of each array in the payload."""
    places: dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]] = {}
    begin = 0
    for entry in entries:
        described = entry if isinstance(entry, dict) else {}
        name, dtype, shape = str(described.get("name")), str(described.get("dtype")), described.get("shape")
        if not isinstance(shape, list) or len(shape) > _MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise _damaged("an array without a shape")
        if name in places or dtype not in _DTYPES:
            raise _damaged("an array of a kind that is not sent")
        if len(shape) == _VOLUME_AXES and math.prod(shape) > MOST_VOXELS:
            sides = " x ".join(map(str, shape))
            raise WireError(f"A volume of {sides} voxels came; at most {MOST_VOXELS:,} can be worked on.")
        kind = np.dtype(dtype).newbyteorder("<")
        end = begin + math.prod(shape) * kind.itemsize
        if end > payload_length:
            raise _damaged("an array that is larger than the message")
        places[name] = kind, tuple(shape), begin, end
        begin = _padded(end)
    if begin != payload_length:
        raise _damaged("a size that is not that of its arrays")
    return places


def _sendable(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """An array as it is sent. Raises `WireError` for a type that is not."""
    array = np.asarray(array)
    array = array.view(np.uint8) if array.dtype == bool else array
    if array.dtype.name not in _DTYPES or array.ndim > _MOST_AXES:
        raise WireError(f"The array {name} of type {array.dtype} cannot be sent.")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _damaged(what: str) -> WireError:
    return WireError(f"A message has {what}; the connection to the engine is damaged.")
