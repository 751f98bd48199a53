"""The way to the other channel and back, and how far what comes back is from what was given, where it was hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from IterMask3DLib.methods.mmccd.bands import Band
from IterMask3DLib.methods.mmccd.diffusion import Schedule, ddim_step, ddpm_step
from IterMask3DLib.methods.mmccd.network import denoising_input
from IterMask3DLib.runtime.noise import Noise
from IterMask3DLib.runtime.runner import Network

Slices = NDArray[np.float32]
"""Slices of a volume: float32 [n, x, y]."""

DENOISE, TRANSLATE, BACK = "denoise", "translate", "translate back"
"""What a pass does."""

Pass = tuple[str, tuple[Tensor, Tensor] | None]
"""What was done and, where it was `BACK`, the translated slices and those that came back: float32 [b, 1, x, y]."""

_HIDING, _SAMPLING = 0, 1
"""Streams of noise."""


@dataclass(frozen=True)
class Look:
    """A slice behind a band; `number`: of the band, None where nothing is hidden."""

    slice: int
    band: Band | None = None
    number: int = 0


class CycleErrors:
    """Errors and reconstructions of slices, averaged over the looks in which a pixel was hidden.

    Attributes:
        given, target: the slices; without a target the error is that of the way back alone, else the mean of both.
        looks: how often each pixel was hidden: float32 [n, x, y].
    """

    def __init__(self, given: Slices, target: Slices | None) -> None:
        self.given, self.target = given, target
        self.looks, self._errors, self._images = (np.zeros_like(given) for _ in range(3))

    def add(self, look: Look, there: Slices, back: Slices) -> None:
        """Takes in what a look gave: the translated slice [x, y] and the one that came back."""
        place = (look.slice, *(look.band.place if look.band else (slice(None), slice(None))))
        error = np.square(self.given[place] - back[place[1:]])
        if self.target is not None:
            error = (error + np.square(self.target[place] - there[place[1:]])) / 2
        self._errors[place] += error
        self._images[place] += back[place[1:]]
        self.looks[place] += 1

    def errors(self) -> Slices:
        """The mean error of each pixel, 0 where it was never hidden."""
        return np.asarray(self._errors / np.maximum(self.looks, 1), dtype=np.float32)

    def images(self) -> Slices:
        """The mean reconstruction of each pixel; what was given where it was never hidden."""
        return np.where(self.looks > 0, self._images / np.maximum(self.looks, 1), self.given).astype(np.float32)


@dataclass(frozen=True)
class DiffusionCycle:
    """There by masked conditional diffusion, and back.

    What a band hides of the condition is noise, drawn anew in each step; each slice begins with the same noise behind
    every band. Noise follows from the slice, the band and the step, so that no result depends on what runs together.

    Attributes:
        network: a `DenoisingNetwork` at work; back: the way back.
        noise: of the run; sampler: ddim or ddpm.
    """

    network: Network
    back: Network
    schedule: Schedule
    noise: Noise
    sampler: str = "ddim"

    @property
    def passes(self) -> int:
        """Of each batch of looks."""
        return len(self.schedule.times) + 1

    def run(self, given: Slices, looks: Sequence[Look]) -> Iterator[Pass]:
        """Each pass when it was made; `BACK` is the last."""
        shape, count = given.shape[1:], len(given)
        clear = torch.from_numpy(np.stack([given[look.slice] for look in looks]))[:, None]
        hidden = torch.zeros(clear.shape, dtype=torch.bool)
        for place, look in enumerate(looks):
            if look.band is not None:
                hidden[(place, 0, *look.band.place)] = True

        def drawn(step: int, stream: int) -> Tensor:
            places = [(2 * look.number + stream) * self.passes + step for look in looks]
            numbers = [place * count + look.slice for place, look in zip(places, looks, strict=True)]
            noise = np.stack([self.noise(number, shape[0] * shape[1]).reshape(shape) for number in numbers])
            return torch.from_numpy(noise)[:, None]

        first = [self.noise(look.slice, shape[0] * shape[1]).reshape(shape) for look in looks]
        values = torch.from_numpy(np.stack(first))[:, None]
        for index in reversed(range(len(self.schedule.times))):
            condition = torch.where(hidden, drawn(index + 1, _HIDING), clear)
            clean = self.network(denoising_input(values, condition, self.schedule.times[index])).cpu()
            if self.sampler == "ddim":
                values = ddim_step(self.schedule, index, values, clean)
            else:
                values = ddpm_step(self.schedule, index, values, clean, drawn(index + 1, _SAMPLING))
            yield DENOISE, None
        yield BACK, (values, self.back(values).cpu())


@dataclass(frozen=True)
class PlainCycle:
    """There and back by one network each: the cyclic U-Net."""

    there: Network
    back: Network
    passes: int = 2

    def run(self, given: Slices, looks: Sequence[Look]) -> Iterator[Pass]:
        """As of `DiffusionCycle`; nothing is hidden."""
        there = self.there(torch.from_numpy(np.stack([given[look.slice] for look in looks]))[:, None]).cpu()
        yield TRANSLATE, None
        yield BACK, (there, self.back(there).cpu())
