"""IterMask3D: sweep the threshold, choose a point on its curve, shrink the mask until it stays.

Source: Liang et al., Medical Image Analysis 107, 103763 (arXiv 2504.04911), and its public code, with that code's faults mended.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from IterMask3DLib.engine.noise import Noise, seeded_noise
from IterMask3DLib.engine.records import BoolVolume, Curve, PackedMask, Result, Step
from IterMask3DLib.engine.threshold import CurveSettings, fit_curve, interpolated, percentile_threshold
from IterMask3DLib.methods.eye import Case, Eye, Reconstruct

__all__ = ["Case", "Reconstruct", "Settings", "Start", "Sweep", "fast_points", "refine", "result_of", "shrink", "sweep"]

Start = Literal["brain", "best"]
Outcome = TypeVar("Outcome")

_FAST_PERCENTS = (1, 10, 20, 30, 40, 50, 60, 70, 75, 80, 84, 88, 91, 94, 96, 98, 99, 100)


@dataclass(frozen=True)
class Settings:
    """The numbers of a run.

    `passes`: points of the threshold curve, one per percent of the brain as published; `visited`: those a pass is spent on, ascending from 1 to
    `passes` (None: all, as published), the others are interpolated; `smoothing`: mm, of the residual before it is squared (0 as published);
    `start`: the shrink phase begins with the whole brain masked, or with the mask of the chosen threshold; `stop_ratio`: it ends when a pass
    lifts less than this share of the mask; `max_shrink`: and at the latest after this many passes; `regrow`: what stays masked is grown to the
    whole regions whose error exceeded this many thresholds when the shrink began, while the network had seen nothing of them (None: it is not,
    as published); `seed`: of the noise.
    """

    curve: CurveSettings = field(default_factory=CurveSettings)
    passes: int = 100
    visited: tuple[int, ...] | None = None
    smoothing: float = 0.0
    start: Start = "brain"
    stop_ratio: float = 0.01
    max_shrink: int = 100
    regrow: float | None = None
    seed: int = 0

    @property
    def sweep_passes(self) -> int:
        """How many network passes the sweep takes."""
        return len(self.visited) if self.visited else self.passes


@dataclass(frozen=True)
class Sweep:
    """The thresholds of a sweep [passes] and, for each, the mask it left; a point that no pass was spent on has the mask of the one before.

    `median`: the error that half of the brain does not exceed in the first pass.
    """

    thresholds: NDArray[np.float64]
    masks: tuple[PackedMask, ...]
    median: float = 0.0


def fast_points(passes: int) -> tuple[int, ...]:
    """The points of a sweep that tell the whole curve, closer together where it bends."""
    return tuple(sorted({1, *(-(-percent * passes // 100) for percent in _FAST_PERCENTS)}))


def sweep(case: Case, reconstruct: Reconstruct, settings: Settings, noise: Noise | None = None) -> Generator[Step, None, Sweep]:
    """Hides the whole brain, then pass by pass only what the last pass reconstructed worst; yields a `Step` a pass.

    Pass t lifts the mask where the error is within the lowest t of `settings.passes` shares of the brain.
    """
    return (yield from _sweep(_eye(case, reconstruct, settings, noise), settings))


def shrink(
    case: Case,
    reconstruct: Reconstruct,
    curve: Curve,
    settings: Settings,
    start: BoolVolume,
    noise: Noise | None = None,
    first: int = 1,
    warnings: tuple[str, ...] = (),
) -> Generator[Step, None, Result]:
    """Lifts the mask wherever the error is at most the chosen threshold, until it stays; yields a `Step` a pass.

    `start`: bool [x, y, z], the mask to begin with; `first`: number of the first pass (its noise depends on it).
    """
    eye = _eye(case, reconstruct, settings, noise)
    eye.number = first - 1
    return (yield from _shrink(eye, curve, settings, eye.brain_part(start), first, warnings))


def refine(case: Case, reconstruct: Reconstruct, settings: Settings, noise: Noise | None = None) -> Generator[Step, None, Result]:
    """The whole method: sweep, choice of the threshold, shrink. Yields one `Step` per network pass and returns the `Result`.

    Closing the generator cancels the run before the next pass; the steps yielded so far stay valid.
    """
    eye = _eye(case, reconstruct, settings, noise)
    swept = yield from _sweep(eye, settings)
    curve, warnings = fit_curve(swept.thresholds, settings.curve, swept.median)
    start = eye.whole_brain() if settings.start == "brain" else eye.brain_part(swept.masks[curve.chosen].unpack())
    return (yield from _shrink(eye, curve, settings, start, settings.passes + 1, warnings))


def result_of(steps: Generator[Step, None, Outcome], on_step: Callable[[Step], None] = lambda step: None) -> Outcome:
    """Runs `steps` to their end, showing each to `on_step`, and gives what they return."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        on_step(step)


def regrown(seeds: BoolVolume, extent: BoolVolume) -> BoolVolume:
    """`seeds` with all of `extent` that touches them, directly or through more of it, by a face, an edge or a corner: [x, y, z]."""
    regions, _ = ndimage.label(seeds | extent, structure=np.ones((3, 3, 3)))
    return np.asarray(np.isin(regions, np.setdiff1d(regions[seeds], 0)))


def _eye(case: Case, reconstruct: Reconstruct, settings: Settings, noise: Noise | None) -> Eye:
    return Eye(case, reconstruct, noise or seeded_noise(settings.seed), settings.smoothing)


def _sweep(eye: Eye, settings: Settings) -> Generator[Step, None, Sweep]:
    visited = settings.visited or tuple(range(1, settings.passes + 1))
    mask = eye.whole_brain()
    thresholds, masks = [], []
    median = 0.0
    errors: Tensor | None = None
    for t in visited:
        if errors is not None:
            # Without gaps this is the mask the pass before left; across a gap it hides what would be left by now.
            mask = errors > percentile_threshold(errors, (t - 1) / settings.passes, eye.voxels)
        seen = eye.look(mask, draw=t)
        if errors is None:
            median = percentile_threshold(seen.errors, 0.5, eye.voxels)
        errors = seen.errors
        threshold = percentile_threshold(errors, t / settings.passes, eye.voxels)
        step = eye.step("sweep", seen, errors > threshold, threshold, None)
        thresholds.append(threshold)
        masks.append(step.mask)
        yield step
    points = np.arange(1, settings.passes + 1)
    before = np.searchsorted(visited, points, side="right") - 1
    return Sweep(interpolated(visited, thresholds, settings.passes), tuple(masks[i] for i in before), median)


def _shrink(
    eye: Eye, curve: Curve, settings: Settings, mask: Tensor, first: int, warnings: tuple[str, ...]
) -> Generator[Step, None, Result]:
    history: list[tuple[int, float]] = []
    extent: Tensor | None = None
    while True:
        seen = eye.look(mask, draw=first + len(history))
        if extent is None and settings.regrow is not None:
            extent = mask.to(seen.errors.device) & (seen.errors > settings.regrow * curve.threshold)
        smaller = seen.errors > curve.threshold
        before, after = int(mask.sum()), int(smaller.sum())
        ratio = (before - after) / before if before else -1.0
        history.append((after, ratio))
        yield eye.step("shrink", seen, smaller, curve.threshold, ratio)
        # Signed as published: a mask that grows has stopped shrinking.
        if ratio < settings.stop_ratio or after == 0:
            break
        if len(history) == settings.max_shrink:
            warnings += (f"The mask was still shrinking after {settings.max_shrink} passes; the last one was kept.",)
            break
        mask = smaller
    kept = np.asarray(eye.filled(smaller), dtype=bool)
    anomaly = kept if extent is None else regrown(kept, np.asarray(eye.filled(extent), dtype=bool))
    return Result(
        mask=anomaly,
        heatmap=eye.error_map(seen),
        reconstruction=eye.reconstruction(seen),
        curve=curve,
        shrink=tuple(history),
        mask_size=int(anomaly.sum()),
        mean_error=float(seen.errors.double().mean()),
        warnings=warnings,
    )
