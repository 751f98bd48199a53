"""The jobs of the worker: a whole run, the shrink phase again, and the shrink phase from a mask the user edited."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.engine.errors import InputError
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
    """What the worker keeps between jobs: the engine, and the last study with its sweep, under the stamp of its result.

    `items`: for each point of the curve the iteration that left its mask.
    """

    engine: Engine
    stamp: str = ""
    study: Study | None = None
    sweep: SweepLike | None = None
    items: tuple[int, ...] = ()

    def keep(self, stamp: str, study: Study, sweep: SweepLike, items: tuple[int, ...]) -> None:
        self.stamp, self.study, self.sweep, self.items = stamp, study, sweep, items

    def forget(self) -> None:
        self.stamp, self.study, self.sweep, self.items = "", None, None, ()


@dataclass(frozen=True)
class Order:
    """A run to make: the copied input, and the stamp of the result nodes it is for."""

    stamp: str
    volume: Volume
    brainMask: Volume | None
    options: RunOptions


@dataclass(frozen=True)
class Earlier:
    """What the scene kept of a sweep: enough to go on from it. `masks`: of the iterations; `items`: the one that each point of the curve has."""

    thresholds: NDArray[np.float64]
    masks: tuple[PackedMask, ...]
    items: tuple[int, ...]


def segment(bench: Bench, order: Order, control: Control) -> None:
    """Prepare, sweep, choose, shrink, restore; the study and its sweep stay on the bench."""
    bench.forget()
    study = _prepared(bench, order, control)
    steps = _Steps(study, control)
    sweep = steps.stream(study.sweep())
    # A point that no pass was spent on shares the mask of the one before.
    bench.keep(order.stamp, study, sweep, tuple(steps.masks[id(mask)] for mask in sweep.masks))
    curve, warnings = study.choose(sweep, None, None)
    start = study.brain if order.options.start == "brain" else sweep.masks[curve.chosen].unpack()
    _shrunk(bench, control, curve, start, warnings, automatic=True)


def shrinkAgain(
    bench: Bench, order: Order, earlier: Earlier | None, gamma: float | None, point: int | None, start: str, control: Control
) -> None:
    """The shrink phase with another choice. `earlier`: None where the bench holds the sweep."""
    study, sweep = _recalled(bench, order, earlier, control)
    curve, warnings = study.choose(sweep, gamma, point)
    mask = study.brain if start == "brain" else sweep.masks[curve.chosen].unpack()
    _shrunk(bench, control, curve, mask, warnings, automatic=point is None)


def goOnFrom(
    bench: Bench, order: Order, earlier: Earlier | None, mask: BoolVolume, gamma: float, point: int, skipped: int, control: Control
) -> None:
    """The shrink phase from an edited mask [x, y, z], at the threshold of `point`; `skipped`: shrink passes there were before."""
    study, sweep = _recalled(bench, order, earlier, control)
    curve, _ = study.choose(sweep, gamma, point)
    # Outside the brain there is nothing to hide.
    _shrunk(bench, control, curve, mask & study.brain, (), automatic=False, skipped=skipped)


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
    if study.brain.shape != earlier.masks[0].shape:
        raise InputError("The volume lies on another model grid than at the time of the run; run Segment again.")
    sweep = study.remembered(earlier.thresholds, tuple(earlier.masks[item] for item in earlier.items))
    bench.keep(order.stamp, study, sweep, earlier.items)
    return study, sweep


def _voxelMl(study: Study) -> float:
    return abs(float(np.linalg.det(study.affine[:3, :3]))) / 1000


def _shrunk(
    bench: Bench, control: Control, curve: Curve, start: BoolVolume, warnings: tuple[str, ...], automatic: bool, skipped: int = 0
) -> None:
    """Streams the shrink phase and posts the outcome; a cancelled one gives the outcome of its last pass."""
    study = bench.study
    assert study is not None
    control.post(CurveMessage(curveInfo(curve, bench.items, automatic)))
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

    # Counted from the end of the curve, as the whole method does, so that the same choice draws the same noise again.
    first = len(curve.thresholds) + 1 + skipped
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
        self.masks: dict[int, int] = {}
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
                number = len(self.masks)
                self.masks[id(step.mask)] = number
                if history is not None:
                    history.append((int(step.mask.unpack().sum()), step.ratio if step.ratio is not None else 0.0))
                self._control.post(self._message(step, number))
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

    def _message(self, step: Step, number: int) -> StepMessage:
        whole = step.phase == "shrink" or number % self._every == 0
        error = reconstruction = None
        if whole:
            # Half precision is enough to look at, and leaves zeros behind that compress when the scene is saved.
            error = vtkOrder(step.error_map()).astype(np.float16).astype(np.float32)
            reconstruction = vtkOrder(self._study.unscaled(step.reconstruction()))
        return StepMessage(
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
