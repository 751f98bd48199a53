"""How bytes get to the engine's process and back: what a door needs of a transport, and the one for scripts."""

from __future__ import annotations

import os
import queue
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Protocol

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.translation import tr as _

OnData = Callable[[bytes], None]
"""Hears what came from the engine."""

OnEnd = Callable[[int | None, str], None]
"""Hears, once, that the engine's process has ended: its exit code (minus the signal that killed it, None where it is
not known) and the last lines of what it wrote to stderr."""

_CHUNK, _MOST_CHUNKS = 2**20, 256
_LAST_WORDS = 4096
_EXIT_SECONDS = 2.0


class Transport(Protocol):
    """A process at work, its stdin and stdout.

    A transport is made by a function that is given `on_data` and `on_end` and starts the process, or raises
    `UserError`. It calls both on the thread of its caller alone, from an event loop or within `wait`, and `on_end`
    once, after all data have been told. One made of an event loop (Qt's `QProcess`) calls `on_data` for
    `readyReadStandardOutput` and `on_end` for `finished` and for `errorOccurred` with `FailedToStart`; keeps stderr
    apart from stdout and empties it as it comes; and gives a command that is not of the application an environment
    without the application's own libraries.
    """

    def write(self, data: bytes) -> None:
        """Sends all of it, now or as the process takes it. What can no longer be sent is dropped: `on_end` follows."""
        ...

    def wait(self, seconds: float) -> bool:
        """Lets data come in, for at most so long; whether any came or the process ended. 0 does not wait."""
        ...

    def close(self) -> None:
        """Closes the process's stdin, which ends the engine."""
        ...

    def kill(self) -> None:
        """Ends the process, and those it started, at once."""
        ...


OpenTransport = Callable[[OnData, OnEnd], Transport]


@dataclass(frozen=True)
class Command:
    """A program with its arguments.

    Attributes:
        environment: what is added to that of this process.
        foreign: whether the program is none of the application's, whose libraries would break it.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    foreign: bool = False


def pipes_to(command: Command) -> OpenTransport:
    """What starts a process behind pipes, for `EngineClient`."""
    kind = PollingPipes if os.name == "posix" else ThreadedPipes
    return lambda on_data, on_end: kind(command, on_data, on_end)


class _Pipes:
    """A process with pipes to its stdin, stdout and stderr. Raises `UserError` where it cannot be started."""

    def __init__(self, command: Command, on_data: OnData, on_end: OnEnd) -> None:
        self._on_data, self._on_end = on_data, on_end
        self._words = b""
        self._ended = False
        try:
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, **command.environment},
                # A group of its own: what a terminal sends with Ctrl+C is for the door to decide.
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            told = _("The engine cannot be started: {program}: {why}.", program=command.arguments[0], why=why)
            raise UserError(told) from None
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._stdin, self._stdout, self._stderr = self._process.stdin, self._process.stdout, self._process.stderr

    def close(self) -> None:
        with suppress(OSError):
            self._stdin.close()

    def kill(self) -> None:
        if self._ended:
            return
        with suppress(OSError):
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _hear_words(self, data: bytes) -> None:
        self._words = (self._words + data)[-_LAST_WORDS:]

    def _finish(self) -> None:
        """After the last data: makes sure that nothing of the process is left, and tells."""
        self.close()
        try:
            self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self.kill()  # The tools it started.
        self._ended = True
        self._stdout.close()
        self._stderr.close()
        self._on_end(self._process.returncode, self._words.decode("utf-8", errors="replace").strip())


class PollingPipes(_Pipes):
    """The transport of POSIX: pipes that never block, looked at within `wait`. It needs no thread."""

    def __init__(self, command: Command, on_data: OnData, on_end: OnEnd) -> None:
        super().__init__(command, on_data, on_end)
        self._pending: deque[memoryview] = deque()
        self._selector = selectors.DefaultSelector()
        for stream in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(stream.fileno(), False)
        self._selector.register(self._stdout, selectors.EVENT_READ, self._read)
        self._selector.register(self._stderr, selectors.EVENT_READ, self._read_words)

    def write(self, data: bytes) -> None:
        if self._ended or self._stdin.closed:
            return
        if not self._pending:
            self._selector.register(self._stdin, selectors.EVENT_WRITE, self._send)
        self._pending.append(memoryview(data))
        self._send()

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self._ended:
            left = deadline - time.monotonic()
            came = False
            for key, _events in self._selector.select(max(0.0, min(left, _EXIT_SECONDS))):
                came = (not self._ended and key.data()) or came
            # Where something it started holds its stdout open, the end of the process is no end of the data.
            if not came and self._process.poll() is not None and not self._read():
                self._finish()
            if came or self._ended:
                return True
            if left <= 0:
                return False
        return False

    def close(self) -> None:
        self._drop_pending()
        super().close()

    def _finish(self) -> None:
        self._drop_pending()
        self._at_end_of_words()
        self._selector.close()
        super()._finish()

    def _read(self) -> bool:
        """Tells what stdout holds; whether it held anything, or the process has ended."""
        for turn in range(_MOST_CHUNKS):
            data = _read_of(self._stdout)
            if data is None:
                return turn > 0
            if not data:
                self._finish()
                break
            self._on_data(data)
        return True

    def _read_words(self) -> bool:
        if self._at_end_of_words():
            self._selector.unregister(self._stderr)
        return False

    def _at_end_of_words(self) -> bool:
        """Keeps what stderr holds; whether it has ended."""
        while data := _read_of(self._stderr):
            self._hear_words(data)
        return data is not None

    def _send(self) -> bool:
        """Writes what the process takes now."""
        try:
            while self._pending:
                data = self._pending[0]
                written = os.write(self._stdin.fileno(), data)
                self._pending[0] = data[written:]
                if written == len(data):
                    self._pending.popleft()
        except BlockingIOError:
            return False
        except OSError:  # The process is gone; its stdout says so as well.
            self._pending.clear()
        self._selector.unregister(self._stdin)
        return False

    def _drop_pending(self) -> None:
        if self._pending:
            self._pending.clear()
            self._selector.unregister(self._stdin)


def _read_of(stream: IO[bytes]) -> bytes | None:
    """What a stream holds; None where nothing is there yet, b"" at its end."""
    try:
        return os.read(stream.fileno(), _CHUNK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


class ThreadedPipes(_Pipes):
    """The transport of Windows, whose pipes cannot be polled: two threads read, `wait` tells."""

    def __init__(self, command: Command, on_data: OnData, on_end: OnEnd) -> None:
        super().__init__(command, on_data, on_end)
        self._came: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=_pump, args=(self._stdout, self._came.put), daemon=True),
            threading.Thread(target=_pump, args=(self._stderr, self._hear_words), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def write(self, data: bytes) -> None:
        # This may block, but not for long: the engine reads whatever it is doing.
        if not self._ended and not self._stdin.closed:
            rest = memoryview(data)
            with suppress(OSError):
                while rest:
                    rest = rest[self._stdin.write(rest) :]

    def wait(self, seconds: float) -> bool:
        if self._ended:
            return False
        try:
            data = self._came.get(timeout=seconds) if seconds > 0 else self._came.get_nowait()
        except queue.Empty:
            return False
        if data:
            self._on_data(data)
        else:
            self._finish()
        return True

    def _finish(self) -> None:
        self._readers[1].join(_EXIT_SECONDS)
        super()._finish()


def _pump(stream: IO[bytes], hear: Callable[[bytes], None]) -> None:
    """Reads a stream to its end, which it tells as b""."""
    data = b" "
    while data:
        try:
            data = os.read(stream.fileno(), _CHUNK)
        except (OSError, ValueError):
            data = b""
        hear(data)
