"""The engine's process behind Qt: no thread, and the application's own event loop brings the data."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import qt
import slicer.util

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.run.transport import Command, OnData, OnEnd, OpenTransport
from IterMask3DLib.scene.translation import tr as _

_START_MS, _CLOSE_MS = 10_000, 2_000
_LAST_WORDS = 4096
_PIECE_BYTES = 1 << 22
"""How much is handed to Qt at a time: it copies what it cannot send at once."""


def process_of(command: Command) -> OpenTransport:
    """What starts a command through `QProcess`, for the client of the engine."""
    return lambda on_data, on_end: EngineProcess(command, on_data, on_end)


class EngineProcess:
    """A `Transport` on `qt.QProcess`. Raises `UserError` where the command cannot be started."""

    def __init__(self, command: Command, on_data: OnData, on_end: OnEnd) -> None:
        self._on_data, self._on_end = on_data, on_end
        self._ended = False
        self._words = b""
        self._unsent: deque[memoryview] = deque()
        process = self._process = qt.QProcess()
        process.setProcessEnvironment(_environment(command))
        process.connect("readyReadStandardOutput()", self._read)
        process.connect("readyReadStandardError()", self._read_words)
        process.connect("bytesWritten(qint64)", self._send)
        process.connect("finished(int,QProcess::ExitStatus)", self._finished)
        program, *arguments = command.arguments
        process.start(program, arguments)
        if not process.waitForStarted(_START_MS):
            self._ended = True
            why = process.errorString()
            raise UserError(_("The engine cannot be started: {program}: {why}.", program=program, why=why))

    def write(self, data: bytes) -> None:
        if not self._ended:
            whole = memoryview(data)
            self._unsent.extend(whole[start : start + _PIECE_BYTES] for start in range(0, len(whole), _PIECE_BYTES))
            self._send()

    def wait(self, seconds: float) -> bool:
        if self._ended:
            return False
        self._process.waitForBytesWritten(0)
        return bool(self._process.waitForReadyRead(int(1000 * seconds))) or self._ended

    def close(self) -> None:
        self._unsent.clear()
        self._process.closeWriteChannel()

    def kill(self) -> None:
        if not self._ended:
            self._process.kill()
            self._process.waitForFinished(_CLOSE_MS)

    def _send(self, _sent: int = 0) -> None:
        """Hands over the next piece once Qt has sent the last one."""
        while self._unsent and not self._process.bytesToWrite():
            # As an array: a plain C string would end at the first zero.
            self._process.write(qt.QByteArray(bytes(self._unsent.popleft())))

    def _read(self) -> None:
        data = self._process.readAllStandardOutput().data()
        if data:
            self._on_data(bytes(data))

    def _read_words(self) -> None:
        self._words = (self._words + bytes(self._process.readAllStandardError().data()))[-_LAST_WORDS:]

    def _finished(self, code: int, status: Any) -> None:
        if self._ended:
            return
        self._read()
        self._read_words()
        self._ended = True
        # Of a process that a signal ended, Qt tells the signal.
        crashed = os.name == "posix" and status == qt.QProcess.CrashExit
        self._on_end(-code if crashed else code, self._words.decode("utf-8", errors="replace").strip())


def _environment(command: Command) -> Any:
    """That of the application; for a program that is not of the application, that in which the user started it."""
    environment = qt.QProcessEnvironment.systemEnvironment()
    given: dict[str, str] = {}
    if command.foreign:
        environment.clear()
        given = slicer.util.startupEnvironment()
    for name, value in {**given, **command.environment}.items():
        environment.insert(name, value)
    return environment
