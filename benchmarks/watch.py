"""What a piece of work took: seconds by part, and the highest memory."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

Output = TypeVar("Output")

_PAGE_GB = 4096 / 1e9


class Clock:
    """Adds up seconds by the name of the part they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def timed(self, name: str, function: Callable[..., Output]) -> Callable[..., Output]:
        """`function`, whose time is put down to `name`."""

        def call(*arguments: Any, **named: Any) -> Output:
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[name] += time.perf_counter() - begun
                self.calls[name] += 1

        return call


class Memory:
    """The highest resident memory of this process while it was watched, in GB above what it was at the start."""

    peak = 0.0


@contextmanager
def watched() -> Generator[Memory, None, None]:
    """Samples this process's resident memory every 2 ms (Linux), after giving back what earlier work left unused."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    memory, stop = Memory(), threading.Event()
    base = _resident()

    def sample() -> None:
        while not stop.is_set():
            memory.peak = max(memory.peak, _resident() - base)
            time.sleep(0.002)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * _PAGE_GB
