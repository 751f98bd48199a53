"""Denoising diffusion whose network predicts the clean image: its schedule, and the steps of its samplers.

Ho et al. (arXiv 2006.11239), Song et al. (arXiv 2010.02502); linear betas and respaced steps as MMCCD publishes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

TRAINED_STEPS = 1000
"""Steps that a network is trained on, of which a run takes some."""

_FIRST_BETA, _LAST_BETA = 1e-4, 0.02


@dataclass(frozen=True)
class Schedule:
    """The steps of a sampler.

    Attributes:
        times: of the trained steps, ascending; a sampler begins with the last.
        kept: share of the variance that the clean image has at each.
    """

    times: tuple[int, ...]
    kept: NDArray[np.float64]

    @property
    def kept_before(self) -> NDArray[np.float64]:
        """The share after each step, 1 after the last one that is taken."""
        return np.concatenate(([1.0], self.kept[:-1]))

    @property
    def betas(self) -> NDArray[np.float64]:
        """Variance that each step adds."""
        return 1 - self.kept / self.kept_before

    @classmethod
    def of(cls, count: int) -> Schedule:
        """`count` of the trained steps, evenly spaced from 0 on; whole strides where there are any, as published."""
        strided = tuple(range(0, TRAINED_STEPS, -(-TRAINED_STEPS // count)))
        times = strided if len(strided) == count else tuple(i * TRAINED_STEPS // count for i in range(count))
        every = np.cumprod(1 - np.linspace(_FIRST_BETA, _LAST_BETA, TRAINED_STEPS))
        return cls(times, np.asarray(every[list(times)], dtype=np.float64))


def noised(clean: Tensor, noise: Tensor, kept: Tensor | float) -> Tensor:
    """A clean image with as much noise as leaves it the share `kept` of the variance."""
    return clean * kept**0.5 + noise * (1 - kept) ** 0.5


def ddim_step(schedule: Schedule, index: int, values: Tensor, clean: Tensor) -> Tensor:
    """The image one step earlier, without new noise.

    Args:
        index: of the step in the schedule; values: the image there; clean: what the network predicts from it.
    """
    kept, before = float(schedule.kept[index]), float(schedule.kept_before[index])
    noise = (values - clean * kept**0.5) / (1 - kept) ** 0.5
    return noised(clean, noise, before)


def ddpm_step(schedule: Schedule, index: int, values: Tensor, clean: Tensor, noise: Tensor) -> Tensor:
    """The image one step earlier, drawn with the larger of the two usual variances; the last step draws nothing."""
    kept, before, beta = (float(each[index]) for each in (schedule.kept, schedule.kept_before, schedule.betas))
    mean = clean * (before**0.5 * beta / (1 - kept)) + values * ((1 - beta) ** 0.5 * (1 - before) / (1 - kept))
    return mean + noise * beta**0.5 if index else mean
