"""A door's end of the wire: requests to the engine's process, which is started when needed and again after a crash."""

from __future__ import annotations

import math
import os
import shlex
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.wire import VERSION, Decoder, Message, WireError, encode
from IterMask3DLib.scene.run.transport import Command, OpenTransport, Transport
from IterMask3DLib.scene.translation import tr as _

OnMessage = Callable[[Message], None]

LAST = frozenset(
    ("done", "error", "hello", "description", "diagnosis", "prepared", "recalled", "installed", "cleared", "series")
)
"""Kinds of message that end a request."""

_WAIT_SECONDS, _CLOSE_SECONDS = 0.2, 2.0
_LIBRARY = Path(__file__).resolve().parents[3]


def engine_command(command: str = "") -> Command:
    """How the engine is started.

    Args:
        command: a user's own, such as `ssh gpu1 itermask3d serve`; "": this library in the Python of this application.

    Raises:
        UserError: for a command with a quotation mark too few.
    """
    if command.strip():
        try:
            return Command(tuple(shlex.split(command, posix=os.name == "posix")), foreign=True)
        except ValueError as error:
            told = _("The command of the engine cannot be read ({why}): {command}", why=error, command=command)
            raise UserError(told) from None
    python = shutil.which("PythonSlicer") or sys.executable
    paths = [str(_LIBRARY), *filter(None, [os.environ.get("PYTHONPATH")])]
    # The folder that the application was started in is no place to import from.
    added = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    return Command((python, "-m", "IterMask3DLib.serve"), added)


@dataclass
class _Asked:
    """A request that has not ended; `key`: of the case that it is about."""

    key: str | None
    on_message: OnMessage


@dataclass
class _Link:
    """One process of the engine. `complaint`: why it cannot be understood, or understood nothing."""

    decoder: Decoder = field(default_factory=Decoder)
    transport: Transport | None = None
    complaint: str = ""
    ended: bool = False


class EngineClient:
    """Asks the engine, and hears its answers in the order in which it gave them.

    `on_message` of a request is called for each of its messages, on the thread that calls `poll` or `wait` or, with a
    transport of an event loop, from that loop; the last one is of a kind that ends the request.

    Attributes:
        engine: what it said of itself when it started: version, itermask3d, python, pid; empty before that.
    """

    def __init__(self, open_transport: OpenTransport) -> None:
        self._open = open_transport
        self._link: _Link | None = None
        self._asked: dict[int, _Asked] = {}
        self._inbox: deque[Message] = deque()
        self._last_id = 0
        self._waiting = False
        self._forget()

    def _forget(self) -> None:
        self.engine: Mapping[str, Any] = {}
        self._case: str | None = None
        self._has_state = False

    @property
    def busy(self) -> bool:
        """Whether a request has not ended."""
        return bool(self._asked)

    @property
    def running(self) -> bool:
        """Whether there is a process, as far as is known."""
        return self._link is not None

    def has_case(self, key: str) -> bool:
        """Whether the engine that runs holds this case, prepared."""
        return self._case == key

    def has_state(self, key: str) -> bool:
        """Whether it also holds the state of a run on it, so that `resume` needs no `prepare` and `recall` before."""
        return self._case == key and self._has_state

    def request(
        self,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        on_message: OnMessage = lambda message: None,
    ) -> int:
        """Asks for something and returns the number of the request.

        The engine is started where none runs; where it cannot be, `on_message` hears an error. Raises `WireError` for
        what cannot be sent.
        """
        fields = fields or {}
        request = self._last_id = self._last_id + 1
        frame = _frame(Message(kind, request, fields, arrays or {}))
        self._asked[request] = _Asked(fields.get("key"), on_message)
        if kind in ("prepare", "release"):
            self._case, self._has_state = None, False
        self._send(frame)
        return request

    def cancel(self, request: int) -> None:
        """Asks a request to end after the pass it is at; it still ends with `done` or `error`."""
        self._tell("cancel", request)

    def pause(self, request: int) -> None:
        """Asks a run to wait after the pass it is at."""
        self._tell("pause", request)

    def unpause(self, request: int) -> None:
        """Lets a run go on."""
        self._tell("unpause", request)

    def poll(self) -> None:
        """Hears what has come, without waiting."""
        self._hear(0.0)

    def wait(self, seconds: float | None = None) -> bool:
        """Hears until no request is left, at most for so long; whether none is."""
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        while self._asked:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._hear(min(left, _WAIT_SECONDS))
        return True

    def kill(self) -> None:
        """Ends the engine at once; requests that have not ended hear an error."""
        if self._link is not None and self._link.transport is not None:
            self._link.transport.kill()

    def close(self) -> None:
        """Ends the engine. Requests that have not ended hear nothing more."""
        self._asked.clear()
        self._inbox.clear()
        self._forget()
        link, self._link = self._link, None
        if link is None or link.transport is None:
            return
        for end in (link.transport.close, link.transport.kill):
            end()
            deadline = time.monotonic() + _CLOSE_SECONDS
            while not link.ended and time.monotonic() < deadline:
                link.transport.wait(_CLOSE_SECONDS)

    def _tell(self, kind: str, request: int) -> None:
        if request in self._asked and self._link is not None:
            self._send(_frame(Message(kind, request)))

    def _send(self, frame: bytes) -> None:
        if self._link is None:
            link = self._link = _Link()
            try:
                link.transport = self._open(
                    lambda data: self._on_data(link, data), lambda code, words: self._on_end(link, code, words)
                )
            except UserError as error:
                link.complaint = str(error)
                self._on_end(link, None, "")
            if link is not self._link:  # It has ended already.
                return
            frame = _frame(Message("hello", 0, {"version": VERSION})) + frame
        assert self._link.transport is not None
        self._link.transport.write(frame)

    def _hear(self, seconds: float) -> None:
        if self._link is not None and self._link.transport is not None:
            self._waiting = True
            try:
                self._link.transport.wait(0.0 if self._inbox else seconds)
            finally:
                self._waiting = False
        self._dispatch()

    def _on_data(self, link: _Link, data: bytes) -> None:
        if link is not self._link or link.complaint:
            return
        try:
            for message in link.decoder.feed(data):
                self._note(link, message)
                self._inbox.append(message)
        except WireError as error:
            link.complaint = str(error)
            self.kill()
        if not self._waiting:
            self._dispatch()

    def _note(self, link: _Link, message: Message) -> None:
        """Keeps what is known of the engine."""
        asked = self._asked.get(message.id)
        if message.id == 0 and message.kind == "hello":
            self.engine = message.fields
        elif message.id == 0 and message.kind == "error":
            link.complaint = message.fields["sentence"]
        elif message.kind == "prepared" and asked is not None:
            self._case, self._has_state = asked.key, False
        elif message.kind in ("result", "recalled") and asked is not None and asked.key == self._case:
            self._has_state = message.fields.get("resumable", True)

    def _on_end(self, link: _Link, code: int | None, words: str) -> None:
        link.ended = True
        if link is not self._link:
            return
        self._link = None
        self._forget()
        fields = {"sentence": link.complaint or _ending(code, words), "trace": words}
        ended = {message.id for message in self._inbox if message.kind in LAST}
        self._inbox.extend(Message("error", request, fields) for request in self._asked if request not in ended)
        if not self._waiting and link.transport is not None:
            self._dispatch()

    def _dispatch(self) -> None:
        while self._inbox:
            message = self._inbox.popleft()
            asked = self._asked.get(message.id)
            if message.kind in LAST:
                self._asked.pop(message.id, None)
            if asked is not None:
                asked.on_message(message)


def _frame(message: Message) -> bytes:
    return b"".join(encode(message))


def _ending(code: int | None, words: str) -> str:
    """Why the engine is gone, in a sentence."""
    last = words.splitlines()[-1].strip() if words else ""
    if code is not None and -code == getattr(signal, "SIGKILL", None):
        how = "it was killed, perhaps because the memory ran out"
    elif code is not None and code < 0:
        how = f"it crashed with signal {-code}"
    else:
        how = f"exit code {code}" if code else "the connection was closed"
        how += f": {last}" if last else ""
    return _("The engine ended unexpectedly ({how}); run again, which starts it anew.", how=how)
