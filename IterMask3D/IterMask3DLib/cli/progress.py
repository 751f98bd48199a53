"""The progress of a case on the command line, from the pace of its passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from tqdm import tqdm

from IterMask3DLib.core.progress import Pace, clock
from IterMask3DLib.core.result import Step

_WIDTH = 28
_PASSES_A_LINE = 10


class ProgressBar:
    """Draws one line that changes on a terminal, and a line in ten passes where the output is a file."""

    def __init__(
        self, out: TextIO, case: str, live: bool | None = None, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._out, self._case, self._now = out, case, now
        self._begun, self._pace = now(), Pace()
        self._bar: tqdm[None] | None = None
        if out.isatty() if live is None else live:
            self._bar = tqdm(total=0, file=out, leave=False, dynamic_ncols=True, bar_format="{desc}")

    def phase(self, text: str) -> None:
        """Says what is being done."""
        if self._bar is None:
            self._print(f"{text} ...")
        else:
            self._bar.set_description_str(f"{self._case}: {text} ...")

    def step(self, step: Step) -> None:
        """Counts a pass."""
        to_come = step.expected_total - step.number
        progress = self._pace.after(self._now() - self._begun, step.seconds, to_come)
        masked = step.scalars.get("masked_fraction")
        share = "" if masked is None else f", {100 * masked:5.1f} % masked"
        about = f"pass {step.number} of about {step.expected_total}"
        text = f"{step.phase:6} {about}{share}, {clock(progress.remaining or 0.0)} left"
        if self._bar is not None:
            case = self._case.replace("{", "{{").replace("}", "}}")
            self._bar.bar_format = f"{case}: {{bar:{_WIDTH}}} {{desc}}"
            self._bar.n, self._bar.total = step.number, step.expected_total
            self._bar.set_description_str(text)
        elif step.number % _PASSES_A_LINE == 0:
            self._print(text)

    def close(self) -> None:
        """Clears the line."""
        if self._bar is not None:
            self._bar.close()

    def _print(self, text: str) -> None:
        print(f"{self._case}: {text}", file=self._out, flush=True)
