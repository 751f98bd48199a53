"""The progress bar: true numbers, on any terminal."""

from __future__ import annotations

import io

import numpy as np

from IterMask3DLib import progress
from IterMask3DLib.core.image import PackedMask, Phase, Step
from IterMask3DLib.core.progress import ProgressBar, clock


class Terminal(io.StringIO):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._name = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._name

    def isatty(self) -> bool:
        return True


def step(number: int, phase: Phase) -> Step:
    mask = PackedMask.of(np.ones((2, 2, 2), dtype=bool))
    empty = np.zeros((2, 2, 2), np.float32)
    return Step(number, phase, 0.1, mask, 0.25, 2.0, None, lambda: empty, lambda: empty)


def test_it_counts_passes_and_tells_the_remaining_time(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    out = Terminal("utf-8")
    bar = ProgressBar(out, "anna", 100)
    for number in range(1, 51):
        bar.step(step(number, "sweep"))
        now[0] += 2
    line = out.getvalue().split("\r")[-1]
    # 50 of about 106 passes at 2 seconds each: 56 are left.
    assert "pass 50 of about 106" in line and "25.0 % masked" in line and "1:52 left" in line


def test_a_terminal_of_ascii_gets_ascii() -> None:
    out = Terminal("ascii")
    bar = ProgressBar(out, "anna", 100)
    bar.phase("preparing the volume")
    bar.step(step(30, "sweep"))
    bar.close()
    assert out.getvalue().isascii() and "####" in out.getvalue()


def test_minutes_and_seconds_are_told_as_a_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 61, 3600)] == ["0:00", "1:00", "1:01", "60:00"]
