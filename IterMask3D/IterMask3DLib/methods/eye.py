"""What a masked brain looks like to a network, and how far its reconstruction is off."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from IterMask3DLib.engine.noise import Noise
from IterMask3DLib.engine.records import BoolVolume, FloatVolume, PackedMask, Phase, Step

Reconstruct = Callable[[Tensor], Tensor]
"""A network at work: float32 [1, 2, x, y, z] (masked volume, high-frequency image) -> float32 [x, y, z], on any device."""

_SMALLEST_WEIGHT = 0.01
_TRUNCATE = 4.0


@dataclass(frozen=True)
class Case:
    """A scaled volume on the model grid, its high-frequency image and its brain: [x, y, z]; `spacing`: mm.

    `expected`: the error a healthy brain has at each voxel, by which errors are divided (None: they are not, as published).
    """

    volume: FloatVolume
    high_frequency: FloatVolume
    brain: BoolVolume
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    expected: FloatVolume | None = None


@dataclass(frozen=True)
class Pass:
    """What one network pass gives: the reconstruction [x, y, z] and the errors of the brain's voxels [n], on the device."""

    reconstruction: Tensor
    errors: Tensor
    seconds: float


class Eye:
    """Hides brain voxels behind noise, lets the network look, and measures the error; numbers its passes.

    `smoothing`: standard deviation in mm of the Gaussian that averages the residual inside the brain before it is squared (0: none, as
    published).
    """

    def __init__(self, case: Case, reconstruct: Reconstruct, noise: Noise, smoothing: float = 0.0) -> None:
        self._reconstruct = reconstruct
        self._noise = noise
        self._case = case
        self.brain_index = np.flatnonzero(case.brain)
        self._inside = torch.from_numpy(self.brain_index)
        self._visible = torch.from_numpy(case.volume[case.brain])
        self._expected = None if case.expected is None else torch.from_numpy(case.expected[case.brain])
        self._channels = torch.from_numpy(np.stack((case.volume, case.high_frequency))[None])
        self._smoother = (
            _Smoother(torch.from_numpy(case.brain), self._inside, [smoothing / side for side in case.spacing]) if smoothing else None
        )
        self.shape = case.volume.shape
        self.voxels = case.volume.size
        self.brain_voxels = len(self._inside)
        self.number = 0

    def look(self, mask: Tensor, draw: int) -> Pass:
        """`mask`: bool [n] over the brain's voxels; `draw`: which noise of the seed hides them."""
        begun = time.perf_counter()
        self.number += 1
        noise = torch.from_numpy(self._noise(draw, self.brain_voxels)).to(self._visible.device)
        self._channels[0, 0].view(-1)[self._inside] = torch.where(mask.to(self._visible.device), noise, self._visible)
        reconstruction = self._reconstruct(self._channels)
        if reconstruction.device != self._visible.device:
            self._move_to(reconstruction.device)
        residual = reconstruction.reshape(-1)[self._inside] - self._visible
        if self._smoother is not None:
            residual = self._smoother(residual)
        errors = residual.square_()
        if self._expected is not None:
            errors /= self._expected
        self._last = Pass(reconstruction, errors, time.perf_counter() - begun)
        return self._last

    def _move_to(self, device: torch.device) -> None:
        """Keeps what every pass needs where the network runs, so that a pass copies nothing but noise."""
        self._inside, self._visible, self._channels = (x.to(device) for x in (self._inside, self._visible, self._channels))
        self._expected = None if self._expected is None else self._expected.to(device)
        if self._smoother is not None:
            self._smoother.move_to(device)

    def step(self, phase: Phase, seen: Pass, mask: Tensor, threshold: float, ratio: float | None) -> Step:
        number = self.number

        def last() -> Pass:
            # A step reaches its pass through the eye, so that keeping every step keeps no volumes.
            if self.number != number:
                raise RuntimeError(f"The volumes of step {number} are gone: ask for them before the next step.")
            return self._last

        return Step(
            number=number,
            phase=phase,
            threshold=threshold,
            mask=PackedMask.of(self.filled(mask)),
            masked_fraction=float(mask.sum()) / self.brain_voxels,
            seconds=seen.seconds,
            ratio=ratio,
            reconstruction=lambda: self.reconstruction(last()),
            error_map=lambda: self.error_map(last()),
        )

    def error_map(self, seen: Pass) -> FloatVolume:
        return np.asarray(self.filled(seen.errors), dtype=np.float32)

    def reconstruction(self, seen: Pass) -> FloatVolume:
        return np.asarray(seen.reconstruction.cpu().numpy())

    def whole_brain(self) -> Tensor:
        return torch.ones(self.brain_voxels, dtype=torch.bool)

    def brain_part(self, mask: BoolVolume) -> Tensor:
        return torch.from_numpy(mask[self._case.brain])

    def filled(self, values: Tensor) -> NDArray[Any]:
        """Values of the brain's voxels [n] as a volume [x, y, z], 0 outside."""
        whole = np.zeros(self.voxels, dtype=values.cpu().numpy().dtype)
        whole[self.brain_index] = values.cpu().numpy()
        return whole.reshape(self.shape)


class _Smoother:
    """A Gaussian average over the brain's voxels alone: one small matrix an axis."""

    def __init__(self, brain: Tensor, inside: Tensor, sigmas: list[float]) -> None:
        self._shape, self._inside = brain.shape, inside
        self._matrices = [_gaussian(size, sigma) for size, sigma in zip(brain.shape, sigmas, strict=True)]
        self._weight = self._blurred(torch.ones(len(inside))).clamp_(min=_SMALLEST_WEIGHT)

    def __call__(self, values: Tensor) -> Tensor:
        """Both [n]."""
        return self._blurred(values).div_(self._weight)

    def move_to(self, device: torch.device) -> None:
        self._inside, self._weight = self._inside.to(device), self._weight.to(device)
        self._matrices = [matrix.to(device) for matrix in self._matrices]

    def _blurred(self, values: Tensor) -> Tensor:
        volume = torch.zeros(self._shape.numel(), device=values.device)
        volume[self._inside] = values
        volume = volume.reshape(self._shape)
        # Each product puts its axis last, so that three of them bring the axes back into order.
        for matrix in self._matrices:
            volume = torch.tensordot(volume, matrix, dims=([0], [1]))
        return volume.reshape(-1)[self._inside]


def _gaussian(size: int, sigma: float) -> Tensor:
    """A normalised Gaussian along an axis, cut off at four standard deviations, with zeros beyond the ends: float32 [size, size]."""
    radius = int(_TRUNCATE * sigma + 0.5)
    apart = torch.arange(size, dtype=torch.float64)[:, None] - torch.arange(size, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    return (torch.exp(-0.5 * (apart / sigma) ** 2) * (apart.abs() <= radius) / kernel.sum()).float()
