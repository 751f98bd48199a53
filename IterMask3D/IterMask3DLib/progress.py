"""The progress bar of the command line: the number of sweep passes is known, so the remaining time is a true estimate."""

from __future__ import annotations

import time
from typing import TextIO

from IterMask3DLib.engine.records import Step

_WIDTH = 28
_USUAL_SHRINK_PASSES = 6


class ProgressBar:
    """Draws one line a case on a terminal, and one line in ten passes where the output is a file."""

    def __init__(self, out: TextIO, case: str, sweep_passes: int) -> None:
        self._out, self._case, self._sweep_passes = out, case, sweep_passes
        self._live = out.isatty()
        # A terminal that knows ASCII alone still gets a bar.
        plain = "utf" not in (out.encoding or "").lower()
        self._full, self._rest, self._dots = ("#", ".", "...") if plain else ("█", "░", "…")
        self._begun: float | None = None
        self._first_number = 0

    def phase(self, text: str) -> None:
        self._write(f"{self._case}: {text} {self._dots}", final=not self._live)

    def step(self, step: Step) -> None:
        now = time.perf_counter()
        if self._begun is None:
            # The first pass may carry warm-up costs; the pace is taken from its own time.
            self._begun, self._first_number = now - step.seconds, step.number - 1
        total = max(self._sweep_passes + _USUAL_SHRINK_PASSES, step.number + (step.phase == "shrink"))
        remaining = (now - self._begun) / (step.number - self._first_number) * (total - step.number)
        about = f"pass {step.number} of {'about ' if step.phase == 'sweep' else ''}{total}"
        done = round(_WIDTH * step.number / total)
        bar = self._full * done + self._rest * (_WIDTH - done)
        line = f"{self._case}: {bar} {step.phase:6} {about}, {100 * step.masked_fraction:5.1f} % masked, {clock(remaining)} left"
        if self._live or step.number % 10 == 0:
            self._write(line, final=not self._live)

    def close(self) -> None:
        if self._live:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _write(self, line: str, final: bool) -> None:
        self._out.write(line + "\n" if final else f"\r\x1b[K{line}")
        self._out.flush()


def clock(seconds: float) -> str:
    """Minutes and seconds, as m:ss."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
