"""The jobs of the worker: a whole run, the shrink phase again, and the shrink phase from a mask the user edited."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.engine.records import BoolVolume, Curve, PackedMask, Result, Step, Volume
from IterMask3DLib.scene.engine_port import Engine, Study, SweepLike
from IterMask3DLib.scene.geometry import vtkOrder
from IterMask3DLib.scene.messages import CurveMessage, GridMessage, PhaseMessage, StepMessage
from IterMask3DLib.scene.outcomes import curveInfo, outcomeMessage
from IterMask3DLib.scene.records import RunOptions
from IterMask3DLib.scene.worker import Cancelled, Control

SERIES_BYTES = 512 * 1024**2
"""Memory that the error maps and reconstructions of all iterations may take together; beyond it, some sweep passes keep their mask alone."""

_USUAL_SHRINK = 10
_ERROR_BYTES = 4
_STOPPED = "The run was cancelled before the mask stayed; the last pass that ended was kept."

Found = TypeVar("Found")


@dataclass
class Bench:
    """What the worker keeps between jobs: the engine, and the last study with its sweep of so many passes, under the stamp of its result."""

    engine: Engine
    stamp: str = ""
    study: Study | None = None
    sweep: SweepLike | None = None
    passes: int = 0

    def keep(self, stamp: str, study: Study, sweep: SweepLike, passes: int) -> None:
        self.stamp, self.study, self.sweep, self.passes = stamp, study, sweep, passes

    def forget(self) -> None:
        self.stamp, self.study, self.sweep, self.passes = "", None, None, 0


@dataclass(frozen=True)
class Order:
    """A run to make: the copied input, and the stamp of the result nodes it is for."""

    stamp: str
    volume: Volume
    brainMask: Volume | None
    options: RunOptions


@dataclass(frozen=True)
class Earlier:
    """What the scene kept of a sweep: enough to go on from it."""

    thresholds: NDArray[np.float64]
    masks: tuple[PackedMask, ...]
    passes: int


def segment(bench: Bench, order: Order, control: Control) -> None:
    """Prepare, sweep, choose, shrink, restore; the study and its sweep stay on the bench."""
    bench.forget()
    study = _prepared(bench, order, control)
    steps = _Steps(study, control)
    sweep = steps.stream(study.sweep())
    bench.keep(order.stamp, study, sweep, steps.last)
    curve, warnings = study.choose(sweep, None, None)
    start = study.brain if order.options.start == "brain" else sweep.masks[curve.chosen].unpack()
    _shrunk(study, control, curve, start, steps.last + 1, warnings, automatic=True)


def shrinkAgain(
    bench: Bench, order: Order, earlier: Earlier | None, gamma: float | None, point: int | None, start: str, control: Control
) -> None:
    """The shrink phase with another choice. `earlier`: None where the bench holds the sweep."""
    study, sweep = _recalled(bench, order, earlier, control)
    curve, warnings = study.choose(sweep, gamma, point)
    mask = study.brain if start == "brain" else sweep.masks[curve.chosen].unpack()
    _shrunk(study, control, curve, mask, bench.passes + 1, warnings, automatic=point is None)


def goOnFrom(
    bench: Bench, order: Order, earlier: Earlier | None, mask: BoolVolume, gamma: float, point: int, first: int, control: Control
) -> None:
    """The shrink phase from an edited mask [x, y, z], at the threshold of `point`; the first pass is number `first`."""
    study, sweep = _recalled(bench, order, earlier, control)
    curve, _ = study.choose(sweep, gamma, point)
    # Outside the brain there is nothing to hide.
    _shrunk(study, control, curve, mask & study.brain, first, (), automatic=False)


def _prepared(bench: Bench, order: Order, control: Control) -> Study:
    control.post(PhaseMessage("prepare", "Preparing the volume"))
    study = bench.engine.prepare(order.volume, order.brainMask, order.options, lambda text: control.post(PhaseMessage("prepare", text)))
    control.checkpoint()
    control.post(GridMessage(study.affine, study.passes, float(study.brain.sum()) * _voxelMl(study)))
    return study


def _recalled(bench: Bench, order: Order, earlier: Earlier | None, control: Control) -> tuple[Study, SweepLike]:
    if earlier is None:
        assert bench.study is not None and bench.sweep is not None
        control.post(GridMessage(bench.study.affine, 0, float(bench.study.brain.sum()) * _voxelMl(bench.study)))
        return bench.study, bench.sweep
    bench.forget()
    study = _prepared(bench, order, control)
    sweep = study.remembered(earlier.thresholds, earlier.masks)
    bench.keep(order.stamp, study, sweep, earlier.passes)
    return study, sweep


def _voxelMl(study: Study) -> float:
    return abs(float(np.linalg.det(study.affine[:3, :3]))) / 1000


def _shrunk(
    study: Study, control: Control, curve: Curve, start: BoolVolume, first: int, warnings: tuple[str, ...], automatic: bool
) -> None:
    """Streams the shrink phase and posts the outcome; a cancelled one gives the outcome of its last pass."""
    control.post(CurveMessage(curveInfo(curve, automatic)))
    steps = _Steps(study, control)
    history: list[tuple[int, float]] = []

    def partial(step: Step) -> Result:
        heatmap = step.error_map()
        mask = step.mask.unpack()
        return Result(
            mask=mask,
            heatmap=heatmap,
            reconstruction=step.reconstruction(),
            curve=curve,
            shrink=tuple(history),
            mask_size=int(mask.sum()),
            mean_error=float(heatmap[study.brain].mean()),
            warnings=(*warnings, _STOPPED),
        )

    result = steps.stream(study.shrink(curve, start, first, warnings), partial, history)
    control.post(PhaseMessage("restore", "Returning to the grid of the volume"))
    control.post(outcomeMessage(study.restore(result, control.elapsed)))
    if steps.cancelled:
        raise Cancelled


class _Steps:
    """Passes the steps of a phase on, and stops between two of them."""

    def __init__(self, study: Study, control: Control) -> None:
        self._study, self._control = study, control
        voxels = study.brain.size
        total = (study.passes + _USUAL_SHRINK) * voxels * (_ERROR_BYTES + study.unscaled(np.zeros(study.brain.shape, np.float32)).itemsize)
        self._every = max(1, math.ceil(total / SERIES_BYTES))
        self.last = 0
        self.cancelled = False

    def stream(
        self,
        steps: Generator[Step, None, Found],
        partial: Callable[[Step], Found] | None = None,
        history: list[tuple[int, float]] | None = None,
    ) -> Found:
        """What the generator returns; cancelled after a step, what `partial` makes of that step."""
        step: Step | None = None
        try:
            while True:
                self._control.checkpoint()
                step = next(steps)
                self.last = step.number
                if history is not None:
                    history.append((int(step.mask.unpack().sum()), step.ratio if step.ratio is not None else 0.0))
                self._control.post(self._message(step))
        except StopIteration as end:
            found: Found = end.value
            return found
        except Cancelled:
            if partial is None or step is None:
                raise
            self.cancelled = True
            return partial(step)
        finally:
            steps.close()

    def _message(self, step: Step) -> StepMessage:
        whole = step.phase == "shrink" or (step.number - 1) % self._every == 0
        error = reconstruction = None
        if whole:
            # Half precision is enough to look at, and leaves zeros behind that compress when the scene is saved.
            error = vtkOrder(step.error_map()).astype(np.float16).astype(np.float32)
            reconstruction = vtkOrder(self._study.unscaled(step.reconstruction()))
        return StepMessage(
            number=step.number,
            phase=step.phase,
            threshold=step.threshold,
            fraction=step.masked_fraction,
            seconds=step.seconds,
            ratio=step.ratio,
            elapsed=self._control.elapsed,
            mask=vtkOrder(step.mask.unpack()).view(np.uint8),
            error=error,
            reconstruction=reconstruction,
        )
