"""An engine without a network: real geometry, errors by a formula, and as many passes as a test lets through."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.prepare import Grid, Prepared, prepare
from IterMask3DLib.core.image import BoolVolume, Curve, FloatVolume, PackedMask, Phase, Result, Step, Image
from IterMask3DLib.methods.itermask3d.threshold import CurveSettings, fit_curve
from IterMask3DLib.run import restored
from IterMask3DLib.results.outcome import CaseOutcome
from IterMask3DLib.scene.engine_port import Choice, OnPhase
from IterMask3DLib.scene.records import RunOptions

GRID = Grid(4.0, (48, 48, 48), "zscore_clip3")
STOP_RATIO = 0.01


@dataclass(frozen=True)
class FakeSweep:
    thresholds: NDArray[np.float64]
    masks: tuple[PackedMask, ...]
    median: float = 0.0


class FakeEngine:
    """`passes`: of the sweep; `gated`: each pass waits for `allow`; `failure`: raised by the pass of number `failsAt`."""

    def __init__(
        self, passes: int = 12, *, gated: bool = False, grid: Grid = GRID, failure: Exception | None = None, failsAt: int = 1
    ) -> None:
        self.passes, self.grid = passes, grid
        self.failure, self.failsAt = failure, failsAt
        self.seen: list[tuple[Phase, int]] = []
        self.prepared = 0
        self.released = 0
        self._gate = threading.Semaphore(0) if gated else None

    def allow(self, passes: int = 1) -> None:
        """Lets a gated engine do so many passes more."""
        assert self._gate is not None
        self._gate.release(passes)

    def prepare(self, volume: Image, brainMask: Image | None, options: RunOptions, onPhase: OnPhase) -> FakeStudy:
        if options.model == "missing":
            raise UserError("Model missing is neither bundled, installed, nor a folder; see `itermask3d models list`.")
        onPhase("Preparing the volume")
        self.prepared += 1
        return FakeStudy(self, prepare(volume, self.grid, brainMask), options)

    def release(self) -> None:
        self.released += 1

    def look(self, phase: Phase, number: int) -> None:
        if self._gate is not None:
            self._gate.acquire(timeout=60)
        if self.failure is not None and number == self.failsAt:
            raise self.failure
        self.seen.append((phase, number))


class FakeStudy:
    """Errors are the squared scaled intensity, more of it in early passes, so that the mask shrinks over several passes."""

    def __init__(self, engine: FakeEngine, prepared: Prepared, options: RunOptions) -> None:
        self._engine, self._prepared, self._options = engine, prepared, options
        self.affine, self.brain = prepared.affine, prepared.brain
        self.passes = options.passes or engine.passes
        self._last = 0

    def errors(self, number: int) -> FloatVolume:
        return np.where(self.brain, self._prepared.volume**2 * (1 + 0.5**number), 0).astype(np.float32)

    def sweep(self) -> Generator[Step, None, FakeSweep]:
        thresholds, masks = [], []
        for number in range(1, self.passes + 1):
            self._engine.look("sweep", number)
            errors = self.errors(number)
            threshold = float(np.quantile(errors[self.brain], number / self.passes))
            step = self._step("sweep", number, errors > threshold, threshold, None)
            thresholds.append(threshold)
            masks.append(step.mask)
            yield step
        return FakeSweep(np.array(thresholds), tuple(masks))

    def remembered(self, thresholds: NDArray[np.float64], masks: tuple[PackedMask, ...], median: float) -> FakeSweep:
        return FakeSweep(thresholds, masks, median)

    def choose(self, sweep: Any, choice: Choice) -> tuple[Curve, tuple[str, ...]]:
        asked = self._options.gamma or 0.5
        curve, warnings = fit_curve(sweep.thresholds, CurveSettings(gamma=asked if choice.gamma is None else choice.gamma))
        return (curve, warnings) if choice.point is None else (replace(curve, chosen=choice.point), ())

    def shrink(self, curve: Curve, start: BoolVolume, first: int, warnings: tuple[str, ...]) -> Generator[Step, None, Result]:
        mask, number, history = start & self.brain, first, []
        while True:
            self._engine.look("shrink", number)
            errors = self.errors(1 + number - first)
            smaller = errors > curve.threshold
            ratio = (int(mask.sum()) - int(smaller.sum())) / int(mask.sum()) if mask.any() else -1.0
            history.append((int(smaller.sum()), ratio))
            yield self._step("shrink", number, smaller, curve.threshold, ratio, 1 + number - first)
            if ratio < STOP_RATIO or not smaller.any():
                break
            mask, number = smaller, number + 1
        mean = float(errors[self.brain].mean())
        return Result(smaller, errors, self._reconstruction(), curve, tuple(history), int(smaller.sum()), mean, warnings)

    def _reconstruction(self) -> FloatVolume:
        return np.asarray(self._prepared.volume * 0.5, dtype=np.float32)

    def _step(
        self, phase: Phase, number: int, mask: BoolVolume, threshold: float, ratio: float | None, errorNumber: int | None = None
    ) -> Step:
        self._last = number

        def current() -> None:
            if self._last != number:
                raise RuntimeError(f"The volumes of step {number} are gone.")

        def reconstruction() -> FloatVolume:
            current()
            return self._reconstruction()

        def error_map() -> FloatVolume:
            current()
            return self.errors(number if errorNumber is None else errorNumber)

        fraction = float(mask.sum()) / float(self.brain.sum())
        return Step(number, phase, threshold, PackedMask.of(mask), fraction, 0.01, ratio, reconstruction, error_map)

    def unscaled(self, reconstruction: FloatVolume) -> NDArray[Any]:
        scaled = self._prepared.scaled
        return np.round(np.where(self.brain, reconstruction * scaled.factor + scaled.offset, 0)).astype(np.int16)

    def restore(self, result: Result, seconds: float, choice: Choice) -> CaseOutcome:
        made = {"model": "fake", "model_sha256": "0" * 64, "seed": self._options.seed, "seconds": round(seconds, 2), "settings": {}}
        return restored(self._prepared.original, self._prepared, result, {**made, "versions": {"itermask3d": "fake"}})


class Clicker:
    """A timer that a test owns: it counts its starts and stops, and `tick` does what the event loop would."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.active = False

    def start(self) -> None:
        self.active = True

    def stop(self) -> None:
        self.active = False

    def tick(self) -> None:
        if self.active:
            self._call()


def pump(logic: Any, until: Any, seconds: float = 20.0) -> None:
    """Polls until something holds; fails after a while."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not come to pass"
        logic.poll()
        threading.Event().wait(0.001)
