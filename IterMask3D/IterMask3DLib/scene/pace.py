"""How far a run is and how long it will take, from the pace of its passes."""

from __future__ import annotations

from IterMask3DLib.core.progress import clock
from IterMask3DLib.scene.messages import StepMessage
from IterMask3DLib.scene.records import Progress
from IterMask3DLib.scene.words import tr as _

_USUAL_SHRINK = 6
_TITLES = {"sweep": _("Sweep"), "shrink": _("Shrink")}


class Pace:
    """Counts the passes of one run. `passes`: of its sweep, about; 0 where only the shrink phase runs."""

    def __init__(self, passes: int) -> None:
        self._passes = passes
        self._first: StepMessage | None = None
        self._done = 0

    def of(self, step: StepMessage) -> Progress:
        """The progress after a pass."""
        self._done += 1
        first = self._first = self._first or step
        total = max(self._passes + _USUAL_SHRINK, self._done + (step.phase == "shrink"))
        # The first pass may carry warm-up costs: its own time sets the pace until there is a second.
        spent = step.elapsed - first.elapsed + first.seconds
        remaining = spent / self._done * (total - self._done)
        text = _("{phase}: pass {done} of about {total}, {time} left").format(
            phase=_TITLES[step.phase], done=self._done, total=total, time=clock(remaining)
        )
        return Progress(step.phase, self._done, total, self._done / total, remaining, text)


def waiting(phase: str, text: str, fraction: float = 0.0) -> Progress:
    """Something is done whose end cannot be told."""
    return Progress(phase, 0, 0, fraction, None, text)
