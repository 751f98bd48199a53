"""One process of the engine for many panels, one after another: starting one takes seconds, for torch alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from IterMask3DLib.core.wire import Decoder, Message, encode
from IterMask3DLib.scene.run.transport import Command, OnData, OnEnd, Transport, pipes_to

_AT_ONCE = frozenset(("pause", "unpause", "cancel"))
_LAST = frozenset(
    ("done", "error", "hello", "description", "diagnosis", "prepared", "recalled", "installed", "cleared")
)


class SharedEngine:
    """Lends its process to one client at a time; a client that leaves in mid-request takes the process with it."""

    def __init__(self, command: Command) -> None:
        self._start = pipes_to(command)
        self.process: Transport | None = None
        self.lent: _Lent | None = None
        self.last_id = 0

    def open(self, on_data: OnData, on_end: OnEnd) -> Transport:
        """An `OpenTransport`."""
        assert self.lent is None, "the engine is lent to another panel"
        self.lent = _Lent(self, on_data, on_end)
        if self.process is None:
            self.process = self._start(self._hear, self._note_end)
        return self.lent

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()

    def _hear(self, data: bytes) -> None:
        if self.lent is not None:
            self.lent.hear(data)

    def _note_end(self, code: int | None, words: str) -> None:
        self.process, lent, self.lent = None, self.lent, None
        if lent is not None:
            lent.on_end(code, words)


class _Lent:
    """The process as one client sees it: its requests are numbered on from those of the clients before it."""

    def __init__(self, engine: SharedEngine, on_data: OnData, on_end: OnEnd) -> None:
        self._engine, self._on_data, self.on_end = engine, on_data, on_end
        self._offset = engine.last_id
        self._asked: set[int] = set()
        self._sent, self._came = Decoder(), Decoder()

    def write(self, data: bytes) -> None:
        for message in self._sent.feed(data):
            number = message.id and message.id + self._offset
            if message.kind not in _AT_ONCE:
                self._asked.add(number)
                self._engine.last_id = max(self._engine.last_id, number)
            self._process.write(_bytes(replace(message, id=number)))

    def hear(self, data: bytes) -> None:
        for message in self._came.feed(data):
            if message.kind in _LAST:
                self._asked.discard(message.id)
            self._on_data(_bytes(replace(message, id=message.id and message.id - self._offset)))

    def wait(self, seconds: float) -> bool:
        return self._process.wait(seconds)

    def close(self) -> None:
        if self._engine.lent is not self:
            return
        if self._asked:
            self.kill()
        else:
            self._engine.lent = None
            self.on_end(0, "")

    def kill(self) -> None:
        if self._engine.lent is self:
            self._process.kill()
            while self._engine.lent is self:
                self._process.wait(1.0)

    @property
    def _process(self) -> Any:
        return self._engine.process


def _bytes(message: Message) -> bytes:
    return b"".join(encode(message))
