"""The jobs of the worker: a whole run, the shrink phase again, and the shrink phase from a mask the user edited."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Affine, BoolVolume, Curve, FloatVolume, PackedMask, Result, Step, Image
from IterMask3DLib.scene.engine_port import Choice, Engine, Study, SweepLike
from IterMask3DLib.scene.geometry import vtkOrder
from IterMask3DLib.scene.messages import CurveMessage, GridMessage, PhaseMessage, StepMessage
from IterMask3DLib.scene.outcomes import curveInfo, outcomeMessage
from IterMask3DLib.scene.records import RunOptions
from IterMask3DLib.scene.worker import Cancelled, Control

SERIES_BYTES = 512 * 1024**2
"""Memory that the error maps and reconstructions of all iterations may take together; beyond it, some sweep passes keep their mask alone."""

_USUAL_SHRINK = 10
_ERROR_BYTES = 4
_LARGEST_HALF = float(np.finfo(np.float16).max)
_SAME_PLACE_MM = 1e-3
_STOPPED = "The run was cancelled before the mask stayed; the last pass that ended was kept."

Found = TypeVar("Found")


@dataclass(frozen=True)
class Order:
    """A run to make: the copied input, and the stamp of the result nodes it is for."""

    stamp: str
    volume: Image
    brainMask: Image | None
    options: RunOptions


@dataclass(frozen=True)
class Swept:
    """A sweep that the shrink phase can begin from.

    `items`: for each point of the curve the iteration that left its mask; `brainSource`: where the brain was taken from, if not by this study.
    """

    order: Order
    study: Study
    sweep: SweepLike
    items: tuple[int, ...]
    brainSource: str | None = None


@dataclass(frozen=True)
class Earlier:
    """What the scene kept of a sweep: enough to go on from it.

    `masks`: of the iterations, on the model grid that `affine` places; `items`: the one that each point of the curve has.
    """

    order: Order
    thresholds: NDArray[np.float64]
    median: float
    masks: tuple[PackedMask, ...]
    items: tuple[int, ...]
    affine: Affine
    brainSource: str


@dataclass
class Bench:
    """What the worker keeps between jobs: the engine with its models, and the last sweep."""

    engine: Engine
    swept: Swept | None = None

    def forget(self) -> None:
        self.swept = None


def segment(bench: Bench, order: Order, control: Control) -> None:
    """Prepare, sweep, choose, shrink, restore; the sweep stays on the bench."""
    study = _prepared(bench, order, control)
    steps = _Steps(study, control)
    sweep = steps.stream(study.sweep())
    # A point that no pass was spent on shares the mask of the one before.
    places = {id(mask): item for item, mask in enumerate(steps.masks)}
    swept = bench.swept = Swept(order, study, sweep, tuple(places[id(mask)] for mask in sweep.masks))
    choice = Choice(start=order.options.start)
    curve, warnings = study.choose(sweep, choice)
    _shrink(swept, choice, curve, startMask(study, sweep, curve, choice.start), warnings, control)


def shrinkAgain(bench: Bench, source: Swept | Earlier, choice: Choice, control: Control) -> None:
    """The shrink phase with another choice."""
    swept = _recalled(bench, source, control)
    curve, warnings = swept.study.choose(swept.sweep, choice)
    _shrink(swept, choice, curve, startMask(swept.study, swept.sweep, curve, choice.start), warnings, control)


def goOnFrom(bench: Bench, source: Swept | Earlier, choice: Choice, mask: BoolVolume, skipped: int, control: Control) -> None:
    """The shrink phase from an edited mask [x, y, z]; `skipped`: shrink passes there were before."""
    swept = _recalled(bench, source, control)
    curve, warnings = swept.study.choose(swept.sweep, choice)
    # Outside the brain there is nothing to hide.
    _shrink(swept, choice, curve, mask & swept.study.brain, warnings, control, skipped)


def startMask(study: Study, sweep: SweepLike, curve: Curve, start: str) -> BoolVolume:
    """What the shrink phase hides first: the whole brain, or (best) what the chosen point left."""
    return study.brain if start == "brain" else sweep.masks[curve.chosen].unpack()


def _prepared(bench: Bench, order: Order, control: Control) -> Study:
    bench.forget()
    control.post(PhaseMessage("prepare", "Preparing the volume"))
    study = bench.engine.prepare(order.volume, order.brainMask, order.options, lambda text: control.post(PhaseMessage("prepare", text)))
    control.checkpoint()
    control.post(_grid(study))
    return study


def _recalled(bench: Bench, source: Swept | Earlier, control: Control) -> Swept:
    if isinstance(source, Swept):
        control.post(_grid(source.study))
        control.checkpoint()
        return source
    study = _prepared(bench, source.order, control)
    if study.brain.shape != source.masks[0].shape or not np.allclose(study.affine, source.affine, rtol=0, atol=_SAME_PLACE_MM):
        raise UserError(f"{source.order.volume.name} has changed since the run; run Segment again.")
    sweep = study.remembered(source.thresholds, tuple(source.masks[item] for item in source.items), source.median)
    bench.swept = Swept(source.order, study, sweep, source.items, source.brainSource)
    return bench.swept


def _grid(study: Study) -> GridMessage:
    voxelMl = abs(float(np.linalg.det(study.affine[:3, :3]))) / 1000
    return GridMessage(study.affine, study.passes, float(study.brain.sum()) * voxelMl)


def _shrink(
    swept: Swept, choice: Choice, curve: Curve, start: BoolVolume, warnings: tuple[str, ...], control: Control, skipped: int = 0
) -> None:
    """Streams the shrink phase and posts the outcome; a cancelled one gives the outcome of its last pass."""
    study = swept.study
    # No checkpoint between this and the first pass: a curve that says another threshold than the heatmap beside it must not stay.
    control.post(CurveMessage(curveInfo(curve, swept.items, automatic=choice.point is None)))
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
    outcome = study.restore(result, control.elapsed, choice)
    control.post(outcomeMessage(outcome if swept.brainSource is None else replace(outcome, brain_source=swept.brainSource)))
    if steps.cancelled:
        raise Cancelled


class _Steps:
    """Passes the steps of a phase on, and stops between two of them. `masks`: what each pass left."""

    def __init__(self, study: Study, control: Control) -> None:
        self._study, self._control = study, control
        voxels = study.brain.size
        total = (study.passes + _USUAL_SHRINK) * voxels * (_ERROR_BYTES + study.unscaled(np.zeros(study.brain.shape, np.float32)).itemsize)
        self._every = max(1, math.ceil(total / SERIES_BYTES))
        self.masks: list[PackedMask] = []
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
                step = next(steps)
                if history is not None:
                    history.append((int(step.mask.unpack().sum()), step.ratio if step.ratio is not None else 0.0))
                self._control.post(self._message(step, len(self.masks)))
                self.masks.append(step.mask)
                self._control.checkpoint()
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
        return StepMessage(
            phase=step.phase,
            threshold=step.threshold,
            fraction=step.masked_fraction,
            seconds=step.seconds,
            ratio=step.ratio,
            elapsed=self._control.elapsed,
            mask=vtkOrder(step.mask.unpack()).view(np.uint8),
            error=_rounded(step.error_map()) if whole else None,
            reconstruction=vtkOrder(self._study.unscaled(step.reconstruction())) if whole else None,
        )


def _rounded(error: FloatVolume) -> NDArray[np.float32]:
    """An error map in VTK's order: half precision is enough to look at, and leaves zeros behind that compress when the scene is saved."""
    return vtkOrder(np.minimum(error, _LARGEST_HALF)).astype(np.float16).astype(np.float32)
