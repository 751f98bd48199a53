"""Tells how far an evaluation is: one line on a terminal, one line in ten cases where the output is a file."""

from __future__ import annotations

import time
from typing import TextIO

from IterMask3DLib.core.progress import clock


class Tally:
    """Draws what is being done; `quiet` for all processes of a launcher but the first."""

    def __init__(self, out: TextIO, quiet: bool = False) -> None:
        self._out, self._quiet = out, quiet
        self._live = out.isatty()
        self._begun = time.perf_counter()
        self._what = ""

    def begin(self, what: str) -> None:
        """A new part of the work, which is named at the start of each line."""
        self._what, self._begun = what, time.perf_counter()
        self._write(f"{what}: begun", always=True)

    def case(self, done: int, count: int, name: str) -> None:
        """`done` of `count` cases are done, `name` comes now."""
        left = (time.perf_counter() - self._begun) / done * (count - done) if done else None
        remaining = "" if left is None else f", {clock(left)} left"
        self._write(f"{self._what}: {done} of {count}{remaining}  {name}", always=done % 10 == 0 or done == count)

    def close(self) -> None:
        if self._live and not self._quiet:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _write(self, line: str, always: bool) -> None:
        if self._quiet or not (self._live or always):
            return
        self._out.write(f"\r\x1b[K{line}" if self._live else f"{line}\n")
        self._out.flush()
