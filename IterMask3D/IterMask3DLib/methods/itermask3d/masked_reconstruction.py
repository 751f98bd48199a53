"""One forward pass: brain voxels are masked by noise, the network reconstructs them, and the error is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from IterMask3DLib.core.geometry import Spacing
from IterMask3DLib.core.image import BoolVolume, FloatVolume, PackedMask
from IterMask3DLib.core.result import ERROR_MAP, MASK, RECONSTRUCTION, Layer, Result, Step
from IterMask3DLib.runtime.noise import Noise
from IterMask3DLib.runtime.runner import Network

_SMALLEST_WEIGHT = 0.01
_TRUNCATE = 4.0


@dataclass(frozen=True)
class NetworkInput:
    """A scaled volume on the model grid and what else a pass needs.

    Attributes:
        volume, high_frequency: float32 [x, y, z]; brain: bool [x, y, z]; spacing: mm.
        normative_error: the error a healthy brain has at each voxel, by which errors are divided; None: they are not.
    """

    volume: FloatVolume
    high_frequency: FloatVolume
    brain: BoolVolume
    spacing: Spacing = (1.0, 1.0, 1.0)
    normative_error: FloatVolume | None = None


@dataclass(frozen=True)
class ForwardPass:
    """What one pass gives: the reconstruction [x, y, z] and the errors of the brain's voxels [n], on the device."""

    reconstruction: Tensor
    errors: Tensor
    seconds: float


class MaskedReconstruction:
    """Masks, reconstructs and measures; numbers its passes.

    Args:
        given: the volume.
        network: float32 [1, 2, x, y, z] (masked volume, high-frequency image) -> float32 [1, 1, x, y, z], anywhere.
        noise: what hides masked voxels.
        smoothing: standard deviation in mm of the Gaussian that averages the residual inside the brain before it is
            squared (0: none, as published).
        number: of the pass that was made last.
    """

    def __init__(
        self, given: NetworkInput, network: Network, noise: Noise, smoothing: float = 0.0, number: int = 0
    ) -> None:
        self._network, self._noise, self._brain = network, noise, given.brain
        self._brain_index = np.flatnonzero(given.brain)
        self._inside = torch.from_numpy(self._brain_index)
        self._visible = torch.from_numpy(given.volume[given.brain])
        normative = given.normative_error
        self._normative = None if normative is None else torch.from_numpy(normative[given.brain])
        self._channels = torch.from_numpy(np.stack((given.volume, given.high_frequency))[None])
        self._smoothing = None
        if smoothing:
            sigmas = [smoothing / side for side in given.spacing]
            self._smoothing = _Smoothing(torch.from_numpy(given.brain), self._inside, sigmas)
        self.unit = "" if normative is None else "× healthy"
        self.shape = given.volume.shape
        self.voxels = given.volume.size
        self.brain_voxels = len(self._inside)
        self.number = number

    def forward(self, mask: Tensor, draw: int) -> ForwardPass:
        """One pass.

        Args:
            mask: bool [n] over the brain's voxels; draw: which noise of the seed hides them.
        """
        begun = time.perf_counter()
        self.number += 1
        noise = torch.from_numpy(self._noise(draw, self.brain_voxels)).to(self._visible.device)
        masked = torch.where(mask.to(self._visible.device), noise, self._visible)
        self._channels[0, 0].view(-1)[self._inside] = masked
        reconstruction = self._network(self._channels)[0, 0]
        if reconstruction.device != self._visible.device:
            self._move_to(reconstruction.device)
        residual = reconstruction.reshape(-1)[self._inside] - self._visible
        if self._smoothing is not None:
            residual = self._smoothing(residual)
        errors = residual.square_()
        if self._normative is not None:
            errors /= self._normative
        self._last = ForwardPass(reconstruction, errors, time.perf_counter() - begun)
        return self._last

    def _move_to(self, device: torch.device) -> None:
        """Keeps what every pass needs where the network runs, so that a pass copies nothing but noise."""
        self._inside, self._visible, self._channels = (
            x.to(device) for x in (self._inside, self._visible, self._channels)
        )
        self._normative = None if self._normative is None else self._normative.to(device)
        if self._smoothing is not None:
            self._smoothing.move_to(device)

    def step(
        self,
        phase: str,
        done: ForwardPass,
        mask: Tensor,
        threshold: float,
        to_come: int,
        ratio: float | None = None,
        stop: Callable[[], Result] | None = None,
    ) -> Step:
        """The step of a pass. `mask`: what the threshold left; `to_come`: passes expected; `ratio`: share unmasked."""
        number = self.number

        def last() -> ForwardPass:
            # A step reaches its pass through this object, so that keeping every step keeps no volumes.
            if self.number != number:
                raise RuntimeError(f"The volumes of step {number} are gone: ask for them before the next step.")
            return self._last

        scalars = {"threshold": threshold, "masked_fraction": float(mask.sum()) / self.brain_voxels}
        if ratio is not None:
            scalars["unmasked_fraction"] = ratio
        layers = {
            MASK: Layer.mask(PackedMask.of(self.volume_of(mask))),
            ERROR_MAP: Layer.score(lambda: self.error_map(last()), self.unit),
            RECONSTRUCTION: Layer.intensity(lambda: self.reconstruction(last())),
        }
        return Step(number, number + to_come, phase, done.seconds, scalars, layers, stop)

    def error_map(self, done: ForwardPass) -> FloatVolume:
        return np.asarray(self.volume_of(done.errors), dtype=np.float32)

    def reconstruction(self, done: ForwardPass) -> FloatVolume:
        return np.asarray(done.reconstruction.cpu().numpy())

    def whole_brain(self) -> Tensor:
        return torch.ones(self.brain_voxels, dtype=torch.bool)

    def brain_part(self, mask: BoolVolume) -> Tensor:
        return torch.from_numpy(mask[self._brain])

    def volume_of(self, values: Tensor) -> NDArray[Any]:
        """Values of the brain's voxels [n] as a volume [x, y, z], 0 outside."""
        given = values.cpu().numpy()
        whole = np.zeros(self.voxels, dtype=given.dtype)
        whole[self._brain_index] = given
        return whole.reshape(self.shape)


class _Smoothing:
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
    """A normalised Gaussian along an axis, cut off at four standard deviations: float32 [size, size].

    Beyond the ends there are zeros.
    """
    radius = int(_TRUNCATE * sigma + 0.5)
    places = torch.arange(size, dtype=torch.float64)
    apart = places[:, None] - places
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    return (torch.exp(-0.5 * (apart / sigma) ** 2) * (apart.abs() <= radius) / kernel.sum()).float()
