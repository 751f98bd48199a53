"""The language of the engine's process: what is sent arrives, in whatever pieces, and nothing else is a message."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as some_numpy
from numpy.typing import NDArray

from IterMask3DLib.core.wire import VERSION, Decoder, Message, WireError, encode

# However busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

NAME = b"IM3DWIR" + bytes([VERSION])
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")

json_values = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(2**60), 2**60)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=10,
)
arrays = some.sampled_from(DTYPES).flatmap(
    lambda dtype: some_numpy.arrays(dtype, some_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
messages = some.builds(
    Message,
    kind=some.text(),
    id=some.integers(0, 2**53),
    fields=some.dictionaries(some.text(), json_values, max_size=5),
    arrays=some.dictionaries(some.text(), arrays, max_size=4),
)


def frame(message: Message) -> bytes:
    return b"".join(encode(message))


def raw(header: Any, payload: bytes = b"", name: bytes = NAME) -> bytes:
    """A frame written by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return name + struct.pack("<IQ", len(text), len(payload)) + text + payload


def header(**changed: Any) -> dict[str, Any]:
    return {"kind": "step", "id": 1, "fields": {}, "arrays": [], **changed}


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@given(some.lists(messages, max_size=4), some.lists(some.integers(1, 64), min_size=1, max_size=20))
def test_messages_arrive_as_sent_in_pieces_of_any_size(sent: list[Message], pieces: list[int]) -> None:
    stream, decoder, arrived, at = b"".join(map(frame, sent)), Decoder(), [], 0
    for turn in range(len(stream)):
        size = pieces[turn % len(pieces)]
        arrived += decoder.feed(stream[at : at + size])
        at += size
        if at >= len(stream):
            break
    assert [(m.kind, m.id, m.fields) for m in arrived] == [(m.kind, m.id, m.fields) for m in sent]
    for one, other in zip(sent, arrived, strict=True):
        assert list(one.arrays) == list(other.arrays)
        assert all(same(array, other.arrays[name]) for name, array in one.arrays.items())


@given(messages, some.data())
def test_a_damaged_byte_never_raises_anything_but_a_wire_error(message: Message, data: Any) -> None:
    stream = bytearray(frame(message))
    for _ in range(data.draw(some.integers(1, 4))):
        stream[data.draw(some.integers(0, len(stream) - 1))] = data.draw(some.integers(0, 255))
    decoder = Decoder()
    try:
        decoder.feed(stream)
    except WireError as error:
        assert str(error).endswith((".", "nothing."))
        with pytest.raises(WireError):
            decoder.feed(frame(Message("hello")))


@given(some.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_words(noise: bytes) -> None:
    try:
        assert Decoder().feed(noise) == []
    except WireError as error:
        assert str(error)


@given(messages, some.integers(1, 1000))
def test_a_truncated_message_is_no_message(message: Message, missing: int) -> None:
    stream = frame(message)
    assert Decoder().feed(stream[: -min(missing, len(stream))]) == []


def test_arrays_of_any_layout_and_byte_order_arrive_as_values() -> None:
    volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    sent = {
        "transposed": volume.T,
        "every second": volume[:, ::2],
        "turned": volume[::-1],
        "big-endian": volume.astype(">f4"),
        "mask": volume > 11,
        "one number": np.float64(2.5),
    }
    (arrived,) = Decoder().feed(frame(Message("step", arrays=sent)))
    assert all(np.array_equal(arrived.arrays[name], np.asarray(array)) for name, array in sent.items())
    assert arrived.arrays["mask"].dtype == np.uint8
    assert arrived.arrays["big-endian"].dtype == np.dtype("<f4")
    arrived.arrays["transposed"][:] = 0  # The receiver's own.
    assert volume.max() == 23


def test_every_array_is_aligned_for_its_type() -> None:
    sent = {"a": np.zeros(3, np.uint8), "b": np.zeros(5, np.float64), "c": np.zeros(1, np.int16)}
    (arrived,) = Decoder().feed(frame(Message("step", arrays=sent)))
    assert all(array.flags.aligned and array.ctypes.data % 16 == 0 for array in arrived.arrays.values())


def test_numbers_of_numpy_and_those_json_lacks_can_be_told() -> None:
    told = {"count": np.int64(3), "share": np.float32(0.5), "nan": float("nan"), "inf": np.float64("inf"), "t": (1, 2)}
    (arrived,) = Decoder().feed(frame(Message("result", fields=told)))
    assert arrived.fields == {"count": 3, "share": 0.5, "nan": None, "inf": None, "t": [1, 2]}


def test_a_file_name_that_is_no_utf8_survives() -> None:
    (arrived,) = Decoder().feed(frame(Message("case", fields={"path": "brain\udcff.nii"})))
    assert arrived.fields["path"] == "brain\udcff.nii"


@pytest.mark.parametrize(
    "array", [np.array([object()]), np.array(["a"]), np.zeros(2, np.complex64), np.zeros(1, "M8[s]")]
)
def test_only_numbers_are_sent(array: NDArray[Any]) -> None:
    with pytest.raises(WireError, match="cannot be sent"):
        encode(Message("step", arrays={"a": array}))


@pytest.mark.parametrize(
    "wrong",
    [
        raw(header(id=-1)),
        raw(header(id=2**60)),
        raw(header(id=True)),
        raw(header(id="1")),
        raw(header(kind=3)),
        raw(header(fields=[])),
        raw(header(arrays={})),
        raw([1, 2]),
        raw(b"{"),
        raw(b"\xff\xfe"),
        raw(b'{"kind": NaN}'),
        raw(b"[" * 100_000),
        raw(b""),
        raw(b'{"id":' + b"9" * 5000 + b"}"),
        raw(header(arrays=[{"name": "a", "dtype": "object", "shape": [1]}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": "O", "shape": [1]}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": ">f4", "shape": [1]}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": "bool", "shape": [1]}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": ["f4"], "shape": [1]}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": "float32", "shape": [-1]}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": "float32", "shape": [1.0]}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": "float32", "shape": 4}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": "float32", "shape": [2**40, 2**40]}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": "float32", "shape": [1] * 50}]), bytes(16)),
        raw(header(arrays=[{"name": "a", "dtype": "float32", "shape": [9]}]), bytes(32)),
        raw(header(arrays=[{"name": "a", "dtype": "float32", "shape": [1]}]), bytes(32)),
        raw(header(arrays=[{"name": "a", "dtype": "uint8", "shape": [1]}] * 2), bytes(32)),
        raw(header(arrays=["a"])),
        raw(header(), bytes(16)),
        raw(header(arrays=[{"name": str(n), "dtype": "uint8", "shape": [0]} for n in range(5000)])),
        NAME + struct.pack("<IQ", 2**31, 0),
        NAME + struct.pack("<IQ", 10, 2**62),
    ],
)
def test_a_header_that_is_wrong_is_refused(wrong: bytes) -> None:
    with pytest.raises(WireError, match="damaged"):
        Decoder().feed(wrong)


def test_a_pickle_is_never_opened() -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("a pickle was opened",))

    with pytest.raises(WireError):
        Decoder().feed(raw(pickle.dumps(Trap())))


def test_another_version_says_which_is_which() -> None:
    with pytest.raises(WireError, match=rf"version {VERSION + 1} .* version {VERSION};"):
        Decoder().feed(raw(header(), name=b"IM3DWIR" + bytes([VERSION + 1])))


def test_what_a_login_script_prints_is_shown() -> None:
    with pytest.raises(WireError, match=r"Welcome to gpu1!.*must print nothing"):
        Decoder().feed(b"Welcome to gpu1!\nLast login: today\n")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to ask for the memory in use")
def test_an_announced_size_takes_no_memory_before_it_comes() -> None:
    text = json.dumps(header(arrays=[{"name": "a", "dtype": "uint8", "shape": [2**33]}])).encode()
    decoder, before = Decoder(), resident_bytes()
    try:
        assert decoder.feed(NAME + struct.pack("<IQ", len(text), 2**33) + text) == []
    except WireError as error:
        assert "no memory" in str(error)
    assert resident_bytes() - before < 64 * 2**20


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
