"""The engine's end of the wire: frames in and out, and the end of the process when the other side is gone.

A thread reads, so that a pause, a cancellation or the end of the input is heard while a pass computes; requests wait
in a queue until the main thread takes them. Another writes, so that a pass computes while the other side reads.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from numpy.typing import NDArray

from IterMask3DLib.core.wire import Decoder, Message, WireError, encode

_CHUNK = 2**18
_UNREAD = 8
"""Messages that may wait to be read: a fast GPU must not fill the memory with volumes nobody has looked at."""

_PARENT_SECONDS = 0.5
_LAST_WORD_SECONDS = 1.0


class Interrupted(Exception):
    """The request at hand was cancelled before there was a result."""


class Channel:
    """Reads messages from one file descriptor and writes them to another; both are its own.

    `next_request` gives those to work on; `pause`, `unpause` and `cancel` take effect as they come.
    """

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._requests: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._frames: queue.Queue[list[bytes | memoryview]] = queue.Queue(_UNREAD)
        self._changed = threading.Condition()
        self._cancelled: set[int] = set()
        self._paused: set[int] = set()

    @classmethod
    def of_this_process(cls) -> Channel:
        """Takes stdin and stdout for the wire alone, and ends this process with the one that started it."""
        incoming, outgoing = os.dup(0), os.dup(1)
        # What a native library prints must not stand between frames, and a tool that is started must not read requests.
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        faulthandler.enable()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # The door decides what Ctrl+C means.
        if sys.platform == "win32":
            import msvcrt

            for handle in (incoming, outgoing):
                msvcrt.setmode(handle, os.O_BINARY)
        else:
            # In a group of its own, so that `end` reaches the tools that a run starts, and nothing else.
            with suppress(OSError):
                os.setpgid(0, 0)
            signal.signal(signal.SIGHUP, lambda *_: None)
            threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
        channel = cls(incoming, outgoing)
        for loop in (channel._listen, channel._write):
            threading.Thread(target=loop, daemon=True).start()
        return channel

    def next_request(self) -> Message:
        """What is to be done next; waits for it."""
        return self._requests.get()

    def send(self, message: Message) -> None:
        """Sends a message, whose arrays must not change any more; waits while the other side has too many unread."""
        self._frames.put(encode(message))

    def is_cancelled(self, request: int) -> bool:
        """Whether a request was cancelled."""
        return request in self._cancelled

    def wait_while_paused(self, request: int) -> None:
        """Returns once a request is not paused, or was cancelled."""
        with self._changed:
            self._changed.wait_for(lambda: request not in self._paused or request in self._cancelled)

    def _write(self) -> None:
        while True:
            for buffer in self._frames.get():
                rest = memoryview(buffer)
                while rest:
                    try:
                        rest = rest[os.write(self._outgoing, rest) :]
                    except OSError:  # Nobody is there any more.
                        end(0)
            self._frames.task_done()

    def _listen(self) -> None:
        decoder = Decoder()
        while True:
            try:
                data = os.read(self._incoming, _CHUNK)
            except OSError:
                data = b""
            if not data:
                end(0)
            try:
                for message in decoder.feed(data):
                    self._hear(message)
            except WireError as error:
                self._say_and_end(str(error))

    def _hear(self, message: Message) -> None:
        if message.kind not in ("cancel", "pause", "unpause"):
            self._requests.put(message)
            return
        with self._changed:
            if message.kind == "cancel":
                self._cancelled.add(message.id)
            elif message.kind == "pause":
                self._paused.add(message.id)
            else:
                self._paused.discard(message.id)
            self._changed.notify_all()

    def _say_and_end(self, sentence: str) -> NoReturn:
        # The other side may have stopped reading.
        deadline = time.monotonic() + _LAST_WORD_SECONDS
        with suppress(queue.Full):
            self._frames.put(
                encode(Message("error", 0, {"sentence": sentence, "trace": ""})), timeout=_LAST_WORD_SECONDS
            )
        while self._frames.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(_LAST_WORD_SECONDS / 100)
        end(2)


class Work:
    """One request at work: what it answers, whether it was cancelled, and for how long it has worked."""

    def __init__(self, channel: Channel, request: int) -> None:
        self._channel, self._request = channel, request
        self._begun, self._waited = time.perf_counter(), 0.0

    @property
    def elapsed(self) -> float:
        """Seconds, without pauses and without waiting for the other side to read."""
        return time.perf_counter() - self._begun - self._waited

    def say(
        self, kind: str, fields: Mapping[str, Any] | None = None, arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        """Sends a message that belongs to this request."""
        message = Message(kind, self._request, fields or {}, arrays or {})
        begun = time.perf_counter()
        self._channel.send(message)
        self._waited += time.perf_counter() - begun

    def is_to_stop(self) -> bool:
        """Whether this request was cancelled; waits for the answer while it is paused."""
        begun = time.perf_counter()
        self._channel.wait_while_paused(self._request)
        self._waited += time.perf_counter() - begun
        return self._channel.is_cancelled(self._request)

    def checkpoint(self) -> None:
        """Raises `Interrupted` once this request is cancelled."""
        if self._channel.is_cancelled(self._request):
            raise Interrupted


def end(code: int) -> NoReturn:
    """Ends this process at once, in mid-pass too, and the tools it started."""
    if os.name != "nt" and os.getpgrp() == os.getpid():
        # This process itself has a handler for the signal, which the tools did not inherit.
        os.killpg(0, signal.SIGHUP)
    os._exit(code)


def _end_with_parent(parent: int) -> None:
    """A second look beside the end of the input, whose other end a process that the parent had started may hold open.

    The parent's death signal of Linux would come when the thread ends that started this process.
    """
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    end(0)
