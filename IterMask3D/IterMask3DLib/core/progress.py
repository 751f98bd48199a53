"""How far a run is and how long it will take, from the pace of its passes. Every door draws its bar from this."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a run is: passes done and in all (the latter an estimate), the share done, seconds left (None: unknown)."""

    done: int
    total: int
    fraction: float
    remaining: float | None


class Pace:
    """Counts the passes of one run."""

    def __init__(self) -> None:
        self._done = 0
        self._begun: float | None = None

    def after(self, elapsed: float, seconds: float, passes_to_come: int) -> Progress:
        """The progress after a pass.

        Args:
            elapsed: seconds since the run began, pauses left out.
            seconds: of this pass; the first pass may carry warm-up costs, so its own time sets the pace until a second.
            passes_to_come: as far as is known.
        """
        self._done += 1
        if self._begun is None:
            self._begun = elapsed - seconds
        total = self._done + max(0, passes_to_come)
        remaining = (elapsed - self._begun) / self._done * (total - self._done)
        return Progress(self._done, total, self._done / total, remaining)


def clock(seconds: float) -> str:
    """Minutes and seconds, as m:ss."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
