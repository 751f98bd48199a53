"""Bytes that are no messages, and messages that ask for nothing that can be done, given to the engine."""

from __future__ import annotations

import json
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.wire import Decoder, Message, WireError, encode
from IterMask3DLib.serve.engine import Engine
from IterMask3DLib.serve.records import case_of
from Testing.brains import phantom_image
from Testing.fuzz.changed import changed
from Testing.fuzz.rounds import rounds

VOLUME = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
FIELDS = {"case": "odd", "channels": ["T1w"], "affines": {"T1w": np.eye(4).tolist()}, "sources": {}}


def frame(header: Any, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return b"IM3DWIR\1" + struct.pack("<IQ", len(text), len(payload)) + text + payload


def decoded(data: bytes, piece: int = 1 << 20) -> list[Message]:
    decoder = Decoder()
    return [message for begin in range(0, len(data), piece) for message in decoder.feed(data[begin : begin + piece])]


def header(shape: Any, dtype: Any = "int16") -> dict[str, Any]:
    arrays = [{"name": "image:T1w", "dtype": dtype, "shape": shape}]
    return {"kind": "prepare", "id": 1, "fields": FIELDS, "arrays": arrays}


FRAMES = {
    "volume of more voxels than any head": frame(header([30000, 30000, 30000])),
    "volume of negative sides": frame(header([-4, 5, 6])),
    "volume of 99 dimensions": frame(header([1] * 99)),
    "volume of objects": frame(header([4, 5, 6], "object")),
    "volume that is not there": frame(header([4, 5, 6])),
    "no JSON": frame(b"{"),
    "many brackets": frame(b"[" * 100000),
    "a list": frame([1]),
    "another language": b"GET / HTTP/1.1\r\n\r\n",
    "another version": b"IM3DWIR\x09" + bytes(12),
    "endless header": b"IM3DWIR\1" + struct.pack("<IQ", 2**32 - 1, 0),
    "endless payload": b"IM3DWIR\1" + struct.pack("<IQ", 10, 2**63),
}


@pytest.mark.parametrize("name", FRAMES)
def test_what_is_no_message_is_one_sentence(name: str) -> None:
    with pytest.raises(WireError) as raised:
        decoded(FRAMES[name])
    assert str(raised.value).isprintable() and len(str(raised.value)) < 400


def test_frames_of_other_bytes() -> None:
    whole = b"".join(bytes(part) for part in encode(Message("prepare", 1, FIELDS, {"image:T1w": VOLUME})))

    def check(at: int, new: bytes, piece: int) -> None:
        data = whole[:at] + new + whole[at + len(new) :]
        try:
            for message in decoded(data, piece):
                assert all(isinstance(array, np.ndarray) for array in message.arrays.values())
        except WireError as error:
            assert str(error).isprintable() and len(str(error)) < 400

    places = st.integers(0, len(whole) - 1)
    rounds(check, 100, at=places, new=st.binary(min_size=1, max_size=12), piece=st.sampled_from([1, 7, 4096]))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5, 6), np.int16),
        np.full((4, 5, 6), np.nan, np.float32),
        VOLUME[:2],
        VOLUME[0],
        VOLUME.astype(np.float64) * 1e200,
    ],
)
def test_a_volume_over_the_wire_is_held_to_the_limits_of_a_file(array: np.ndarray) -> None:
    with pytest.raises(UserError):
        case_of(FIELDS, {"image:T1w": array})


def test_a_place_that_no_volume_has_is_refused_over_the_wire() -> None:
    for affine in (np.zeros((4, 4)), np.diag([1e-3, 1, 1, 1]), np.full((4, 4), np.inf)):
        with pytest.raises(UserError):
            case_of({**FIELDS, "affines": {"T1w": affine.tolist()}}, {"image:T1w": VOLUME})


class Said:
    """A channel to a door that only listens."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def is_cancelled(self, request: int) -> bool:
        return False

    def wait_while_paused(self, request: int) -> None:
        pass


def test_requests_with_other_values_are_answered_with_a_sentence(model: Path) -> None:
    image = phantom_image((20, 24, 20), 8.0)
    fields = {
        "case": "odd",
        "key": "one",
        "channels": ["T1w"],
        "affines": {"T1w": image.affine.tolist()},
        "request": {"model": str(model), "device": "cpu", "seed": 1, "settings": {"gamma": 0.1}},
        "edit": {"by": "gamma", "gamma": 0.1},
    }
    arrays = {"image:T1w": np.ascontiguousarray(image.array.T)}
    channel = Said()
    engine = Engine(channel)  # type: ignore[arg-type]

    def check(kind: str, odd: Any) -> None:
        from IterMask3DLib.serve.channel import Work

        given = odd if isinstance(odd, dict) else {}
        channel.messages.clear()
        engine._answer(Work(channel, 1), Message(kind, 1, given, arrays))  # type: ignore[arg-type]
        last = channel.messages[-1]
        if last.kind == "error":
            assert str(last.fields["sentence"]).isprintable() and len(str(last.fields["sentence"])) < 400

    kinds = st.sampled_from(["prepare", "resume", "recall", "describe", "nonsense", "release"])
    rounds(check, kind=kinds, odd=changed(fields))
    assert threading.active_count() < 50
