"""IterMask3D: sweep the threshold, choose a point on its curve, shrink the mask until it stays.

Source: Liang et al., Medical Image Analysis 107, 103763 (arXiv 2504.04911), and its public code, with that code's faults mended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from IterMask3DLib.engine.noise import Noise, seeded_noise
from IterMask3DLib.engine.records import BoolVolume, Curve, FloatVolume, PackedMask, Phase, Result, Step
from IterMask3DLib.engine.threshold import CurveSettings, fit_curve, percentile_threshold

Start = Literal["brain", "best"]
Outcome = TypeVar("Outcome")
Reconstruct = Callable[[Tensor], Tensor]
"""A network at work: float32 [1, 2, x, y, z] (masked volume, high-frequency image) -> float32 [x, y, z]."""


@dataclass(frozen=True)
class Settings:
    """The numbers of a run.

    `passes`: of the sweep, one per percent as published; `start`: the shrink phase begins with the whole brain masked, or with the mask of the
    chosen threshold; `stop_ratio`: the shrink ends when a pass lifts less than this share of the mask; `max_shrink`: and at the latest
    after this many passes; `seed`: of the noise.
    """

    curve: CurveSettings = field(default_factory=CurveSettings)
    passes: int = 100
    start: Start = "brain"
    stop_ratio: float = 0.01
    max_shrink: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """A scaled volume on the model grid, its high-frequency image and its brain: [x, y, z]."""

    volume: FloatVolume
    high_frequency: FloatVolume
    brain: BoolVolume


@dataclass(frozen=True)
class Sweep:
    """The thresholds of a sweep [passes] and, for each, the mask it left."""

    thresholds: NDArray[np.float64]
    masks: tuple[PackedMask, ...]


@dataclass(frozen=True)
class _Pass:
    """What one network pass gives: the reconstruction [x, y, z] and the squared error of the brain's voxels [n], on the device."""

    reconstruction: Tensor
    errors: Tensor
    seconds: float


class _Eye:
    """Hides brain voxels behind noise, lets the network look, and measures the error; numbers its passes."""

    def __init__(self, case: Case, reconstruct: Reconstruct, noise: Noise) -> None:
        self._reconstruct = reconstruct
        self._noise = noise
        self._brain = torch.from_numpy(np.flatnonzero(case.brain))
        self._visible = torch.from_numpy(case.volume).reshape(-1)[self._brain]
        self._channels = torch.stack((torch.from_numpy(case.volume), torch.from_numpy(case.high_frequency)))[None]
        self.shape = case.volume.shape
        self.voxels = case.volume.size
        self.brain_voxels = len(self._brain)
        self.number = 0

    def look(self, mask: Tensor) -> _Pass:
        """`mask`: bool [n] over the brain's voxels, on the CPU."""
        begun = time.perf_counter()
        self.number += 1
        noise = torch.from_numpy(self._noise(self.number, self.brain_voxels))
        self._channels[0, 0].view(-1)[self._brain] = torch.where(mask, noise, self._visible)
        reconstruction = self._reconstruct(self._channels)
        errors = (reconstruction.reshape(-1).cpu()[self._brain] - self._visible).square()
        self._last = _Pass(reconstruction, errors, time.perf_counter() - begun)
        return self._last

    def step(self, phase: Phase, seen: _Pass, mask: Tensor, threshold: float, ratio: float | None) -> Step:
        share = float(mask.sum()) / self.brain_voxels
        number = self.number

        def last() -> _Pass:
            # A step reaches its pass through the eye, so that keeping every step keeps no volumes.
            if self.number != number:
                raise RuntimeError(f"The volumes of step {number} are gone: ask for them before the next step.")
            return self._last

        return Step(
            number=number,
            phase=phase,
            threshold=threshold,
            mask=PackedMask.of(self.filled(mask)),
            masked_fraction=share,
            seconds=seen.seconds,
            ratio=ratio,
            reconstruction=lambda: last().reconstruction.cpu().numpy(),
            error_map=lambda: self.error_map(last()),
        )

    def error_map(self, seen: _Pass) -> FloatVolume:
        return np.asarray(self.filled(seen.errors), dtype=np.float32)

    def whole_brain(self) -> Tensor:
        return torch.ones(self.brain_voxels, dtype=torch.bool)

    def brain_part(self, mask: BoolVolume) -> Tensor:
        return torch.from_numpy(mask.reshape(-1))[self._brain]

    def filled(self, values: Tensor) -> NDArray[Any]:
        """Values of the brain's voxels [n] as a volume [x, y, z], 0 outside."""
        whole = torch.zeros(self.voxels, dtype=values.dtype)
        whole[self._brain] = values
        return whole.reshape(self.shape).numpy()


def sweep(case: Case, reconstruct: Reconstruct, settings: Settings, noise: Noise | None = None) -> Generator[Step, None, Sweep]:
    """Hides the whole brain, then pass by pass only what the last pass reconstructed worst; yields a `Step` a pass.

    Pass t lifts the mask where the error is within the lowest t of `settings.passes` shares of the brain.
    """
    return (yield from _sweep(_Eye(case, reconstruct, noise or seeded_noise(settings.seed)), settings))


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
    eye = _Eye(case, reconstruct, noise or seeded_noise(settings.seed))
    eye.number = first - 1
    return (yield from _shrink(eye, curve, settings, eye.brain_part(start), warnings))


def refine(case: Case, reconstruct: Reconstruct, settings: Settings, noise: Noise | None = None) -> Generator[Step, None, Result]:
    """The whole method: sweep, choice of the threshold, shrink. Yields one `Step` per network pass and returns the `Result`.

    Closing the generator cancels the run before the next pass; the steps yielded so far stay valid.
    """
    eye = _Eye(case, reconstruct, noise or seeded_noise(settings.seed))
    swept = yield from _sweep(eye, settings)
    curve, warnings = fit_curve(swept.thresholds, settings.curve)
    start = eye.whole_brain() if settings.start == "brain" else eye.brain_part(swept.masks[curve.chosen].unpack())
    return (yield from _shrink(eye, curve, settings, start, warnings))


def result_of(steps: Generator[Step, None, Outcome], on_step: Callable[[Step], None] = lambda step: None) -> Outcome:
    """Runs `steps` to their end, showing each to `on_step`, and gives what they return."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
        on_step(step)


def _sweep(eye: _Eye, settings: Settings) -> Generator[Step, None, Sweep]:
    mask = eye.whole_brain()
    thresholds, masks = [], []
    for t in range(1, settings.passes + 1):
        seen = eye.look(mask)
        threshold = percentile_threshold(seen.errors, t / settings.passes, eye.voxels)
        mask = seen.errors > threshold
        step = eye.step("sweep", seen, mask, threshold, None)
        thresholds.append(threshold)
        masks.append(step.mask)
        yield step
    return Sweep(np.array(thresholds), tuple(masks))


def _shrink(eye: _Eye, curve: Curve, settings: Settings, mask: Tensor, warnings: tuple[str, ...]) -> Generator[Step, None, Result]:
    history: list[tuple[int, float]] = []
    while True:
        seen = eye.look(mask)
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
    heatmap = eye.error_map(seen)
    return Result(
        mask=np.asarray(eye.filled(smaller), dtype=bool),
        heatmap=heatmap,
        reconstruction=seen.reconstruction.cpu().numpy(),
        curve=curve,
        shrink=tuple(history),
        mask_size=after,
        mean_error=float(seen.errors.double().mean()),
        warnings=warnings,
    )
