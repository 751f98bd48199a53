"""Standard streams that end no run: closed ones, full ones, and those whose reader went away."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Streams:
    """What became of the standard streams. `failure`: why one took no more; `closed`: whether its reader went away."""

    failure: str | None = None
    closed = False


class _Stream:
    """A stream that takes everything: what its target no longer does is lost, and noted."""

    def __init__(self, target: Any, streams: Streams) -> None:
        self._target, self._streams = target, streams
        if hasattr(target, "reconfigure"):
            # A name or a sign that a terminal cannot show must not end the run.
            target.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        with self._noted():
            self._target.write(text)
        return len(text)

    def flush(self) -> None:
        with self._noted():
            self._target.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            self._streams.closed = True
            self._give_up()
        except (OSError, ValueError) as error:
            self._streams.failure = getattr(error, "strerror", None) or str(error)
            self._give_up()

    def _give_up(self) -> None:
        # What is still to be written, by Python itself at its end too, goes nowhere.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._target.fileno())
            os.close(nowhere)


@contextmanager
def standard_streams() -> Iterator[Streams]:
    """Puts streams that end no run in the place of the standard ones."""
    for number in range(3):
        # A file that is opened later must not get the number of a standard stream: libraries print to it.
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    streams, before = Streams(), (sys.stdout, sys.stderr)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        sys.stdout, sys.stderr = (_Stream(nowhere if each is None else each, streams) for each in before)
        try:
            yield streams
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before
