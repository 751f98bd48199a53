"""The loop of IterMask3D: sweep the threshold, choose a point on its curve, shrink the mask until it stays.

Source: Liang et al., Medical Image Analysis 107, 103763 (arXiv 2504.04911), and its public code, with that code's
faults mended.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from torch import Tensor

from IterMask3DLib.core.artifacts import FloatVector, MaskHistory, ThresholdCurve
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume, PackedMask
from IterMask3DLib.core.request import ByGamma, ByPoint
from IterMask3DLib.core.result import ANOMALY, HEATMAP, MASK, RECONSTRUCTION, Layer, Result, Step, Steps
from IterMask3DLib.core.settings import changed
from IterMask3DLib.methods.itermask3d.masked_reconstruction import ForwardPass, MaskedReconstruction
from IterMask3DLib.methods.itermask3d.settings import Settings
from IterMask3DLib.methods.itermask3d.threshold import fit_curve, interpolated, percentile_threshold

_USUAL_SHRINK = 6
_STOPPED = "The run was cancelled before the mask stayed; the last pass that ended was kept."


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Attributes:
        thresholds: float64 [points].
        masks: what each pass left; steps: for each point the number of the pass whose mask belongs to it (a point that
            no pass was spent on has that of the one before).
        median: the error that half of the brain does not exceed in the first pass.
    """

    thresholds: FloatVector
    masks: tuple[PackedMask, ...]
    steps: tuple[int, ...]
    median: float = 0.0

    def mask_at(self, point: int) -> BoolVolume:
        """The mask [x, y, z] of a point of the curve."""
        return self.masks[self.steps[point] - 1].unpack()


def sweep(passes: MaskedReconstruction, settings: Settings) -> Generator[Step, None, Sweep]:
    """Hides the whole brain, then pass by pass only what the last pass reconstructed worst; yields a `Step` a pass.

    Pass t unmasks where the error is within the lowest t of `settings.sweep_passes` shares of the brain.
    """
    visited = settings.visited or tuple(range(1, settings.sweep_passes + 1))
    mask = passes.whole_brain()
    thresholds, masks = [], []
    median = 0.0
    errors: Tensor | None = None
    for count, t in enumerate(visited, start=1):
        if errors is not None:
            # Without gaps this is the mask the pass before left; across a gap it hides what would be left by now.
            mask = errors > percentile_threshold(errors, (t - 1) / settings.sweep_passes, passes.voxels)
        done = passes.forward(mask, draw=t)
        if errors is None:
            median = percentile_threshold(done.errors, 0.5, passes.voxels)
        errors = done.errors
        threshold = percentile_threshold(errors, t / settings.sweep_passes, passes.voxels)
        to_come = len(visited) - count + _USUAL_SHRINK
        step = passes.step("sweep", done, errors > threshold, threshold, to_come)
        thresholds.append(threshold)
        left = step.layers[MASK].values
        assert isinstance(left, PackedMask)
        masks.append(left)
        yield step
    points = np.arange(1, settings.sweep_passes + 1)
    steps = tuple(int(n) for n in np.searchsorted(visited, points, side="right"))
    return Sweep(interpolated(visited, thresholds, settings.sweep_passes), tuple(masks), steps, median)


def choose(
    swept: Sweep, settings: Settings, by: ByGamma | ByPoint | None = None
) -> tuple[ThresholdCurve, tuple[str, ...]]:
    """The threshold curve with its chosen point, and warnings. `by`: None: as the settings say.

    Raises `UserError` for a choice that is not possible.
    """
    if isinstance(by, ByGamma) and by.gamma is not None:
        settings = changed(settings, {"gamma": by.gamma, "median_multiple": None}, "settings")
    curve, warnings = fit_curve(swept.thresholds, settings, swept.median)
    curve = replace(curve, steps=swept.steps)
    if isinstance(by, ByPoint):
        if not 0 <= by.point < len(curve.thresholds):
            raise UserError(f"The threshold curve has no point {by.point + 1}; it has {len(curve.thresholds)}.")
        return replace(curve, chosen=by.point, fixed=None, by_hand=True), ()
    return curve, warnings


def first_shrink_draw(settings: Settings, passes_before: int = 0) -> int:
    """Which noise of the seed the first shrink pass draws.

    Counted from the end of the curve, so that the same choice draws the same noise again, however many passes the sweep
    took.
    """
    return settings.sweep_passes + 1 + passes_before


def shrink(
    passes: MaskedReconstruction,
    curve: ThresholdCurve,
    settings: Settings,
    start: BoolVolume,
    first_draw: int,
    warnings: tuple[str, ...] = (),
    state: Sweep | None = None,
) -> Steps:
    """Unmasks wherever the error is at most the chosen threshold, until the mask stays; yields a `Step` a pass.

    Args:
        start: bool [x, y, z], the mask to begin with.
        first_draw: which noise of the seed the first pass draws.
        state: of every result, that of a stopped run too.
    """
    mask = passes.brain_part(start)
    history = MaskHistory((), ())
    extent: Tensor | None = None
    # A step reaches what its pass found through this list, so that keeping every step keeps no volumes.
    latest: list[_Found] = []
    while True:
        done = passes.forward(mask, draw=first_draw + len(history.sizes))
        if extent is None and settings.region_growing is not None:
            extent = mask.to(done.errors.device) & (done.errors > settings.region_growing * curve.threshold)
        smaller = done.errors > curve.threshold
        before, after = int(mask.sum()), int(smaller.sum())
        ratio = (before - after) / before if before else -1.0
        history = MaskHistory((*history.sizes, after), (*history.ratios, ratio))
        latest[:] = [found := _Found(passes, done, smaller, extent, curve, history, warnings, state)]
        to_come = max(1, _USUAL_SHRINK - len(history.sizes))
        yield passes.step("shrink", done, smaller, curve.threshold, to_come, ratio, lambda: latest[0].when_stopped())
        # Signed as published: a mask that grows has stopped shrinking.
        if ratio < settings.stop_ratio or after == 0:
            return found.result()
        if len(history.sizes) == settings.max_shrink:
            warning = f"The mask was still shrinking after {settings.max_shrink} passes; the last one was kept."
            return replace(found, warnings=(*warnings, warning)).result()
        mask = smaller


@dataclass(frozen=True)
class _Found:
    """What a shrink pass found: mask, heatmap and reconstruction belong to the same pass."""

    passes: MaskedReconstruction
    done: ForwardPass
    mask: Tensor
    extent: Tensor | None
    curve: ThresholdCurve
    history: MaskHistory
    warnings: tuple[str, ...]
    state: Sweep | None

    def result(self) -> Result:
        anomaly = np.asarray(self.passes.volume_of(self.mask), dtype=bool)
        if self.extent is not None:
            anomaly = grown(anomaly, np.asarray(self.passes.volume_of(self.extent), dtype=bool))
        mean_error = float(self.done.errors.double().mean())
        return Result(
            layers={
                ANOMALY: Layer.mask(anomaly),
                HEATMAP: Layer.score(self.passes.error_map(self.done), self.passes.unit),
                RECONSTRUCTION: Layer.intensity(self.passes.reconstruction(self.done)),
            },
            case_score=mean_error,
            scalars={"mask_size": float(anomaly.sum()), "mean_error": mean_error},
            artifacts=(self.curve, self.history),
            state=self.state,
            warnings=self.warnings,
        )

    def when_stopped(self) -> Result:
        """The result if the run ended with this pass; regions are not grown from a mask that was still shrinking."""
        return replace(self, extent=None, warnings=(*self.warnings, _STOPPED)).result()


def grown(seeds: BoolVolume, extent: BoolVolume) -> BoolVolume:
    """`seeds` with all of `extent` that touches them by a face, an edge or a corner, or through more of it."""
    touching = np.ones((3, 3, 3), dtype=bool)
    return np.asarray(ndimage.binary_propagation(seeds, structure=touching, mask=seeds | extent))
