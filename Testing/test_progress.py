"""The progress bar: true numbers, on any terminal."""

from __future__ import annotations

import io

from IterMask3DLib.cli.progress import ProgressBar
from IterMask3DLib.core.progress import Pace, clock
from IterMask3DLib.core.result import Step


class Terminal(io.StringIO):
    def __init__(self, encoding: str, live: bool = True) -> None:
        super().__init__()
        self._name, self._live = encoding, live

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._name

    def isatty(self) -> bool:
        return self._live


def step(number: int, total: int, phase: str = "sweep", **scalars: float) -> Step:
    return Step(number, total, phase, 2.0, scalars)


def drawn(out: Terminal, passes: int, total: int) -> str:
    """What a bar shows after so many passes of two seconds each."""
    now = [100.0]
    bar = ProgressBar(out, "anna", now=lambda: now[0])
    for number in range(1, passes + 1):
        now[0] += 2
        bar.step(step(number, total, masked_fraction=0.25))
    return out.getvalue()


def test_it_counts_passes_and_tells_the_remaining_time() -> None:
    line = drawn(Terminal("utf-8"), 50, 106).split("\r")[-1]
    # 50 of about 106 passes at 2 seconds each: 56 are left.
    assert line.startswith("anna: █") and "sweep  pass 50 of about 106" in line
    assert "25.0 % masked" in line and "1:52 left" in line


def test_a_terminal_of_ascii_gets_ascii() -> None:
    out = Terminal("ascii")
    bar = ProgressBar(out, "anna")
    bar.phase("preparing the volume")
    bar.step(step(30, 106))
    bar.close()
    assert out.getvalue().isascii() and "####" in out.getvalue() and "preparing the volume" in out.getvalue()


def test_a_file_gets_a_line_in_ten_passes() -> None:
    lines = drawn(Terminal("utf-8", live=False), 25, 30).splitlines()
    assert [line[:30] for line in lines] == ["anna: sweep  pass 10 of about ", "anna: sweep  pass 20 of about "]


def test_a_method_that_masks_nothing_is_told_without_a_mask() -> None:
    out = Terminal("utf-8", live=False)
    ProgressBar(out, "anna").step(step(10, 10, "score", error=3.0))
    assert out.getvalue() == "anna: score  pass 10 of about 10, 0:00 left\n"


def test_a_name_cannot_disturb_the_bar() -> None:
    out = Terminal("utf-8")
    bar = ProgressBar(out, "{bar}{0}%s")
    bar.phase("{desc} %d")
    bar.step(step(1, 2))
    assert "{bar}{0}%s: " in out.getvalue() and "{desc} %d" in out.getvalue()


def test_the_first_pass_sets_the_pace_by_its_own_time() -> None:
    pace = Pace()
    first = pace.after(elapsed=60.0, seconds=2.0, passes_to_come=9)
    assert (first.done, first.total, first.fraction, first.remaining) == (1, 10, 0.1, 18.0)
    assert pace.after(elapsed=64.0, seconds=4.0, passes_to_come=8).remaining == 24.0


def test_minutes_and_seconds_are_told_as_a_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 61, 3600)] == ["0:00", "1:00", "1:01", "60:00"]
