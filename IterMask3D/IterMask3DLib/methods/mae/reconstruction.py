"""Slices as the masked auto-encoder gives them back: averages over passes that hide other patches each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from IterMask3DLib.preprocessing.intensity import BACKGROUND

Pass = Callable[[Tensor], Tensor]
"""A masked pass: float32 [b, 2, x, y] -> [b, 1, x, y]; see `MaskedPass`."""


def with_noise(slices: Tensor, noise: Tensor, patches: tuple[int, int]) -> Tensor:
    """What a masked pass is given.

    Args:
        slices: float32 [b, 1, x, y].
        noise: float32 [b, patches], whose order decides what is hidden.
        patches: along both sides.

    Returns:
        float32 [b, 2, x, y].
    """
    planes = functional.interpolate(noise.reshape(-1, 1, *patches), size=slices.shape[2:])
    return torch.cat((slices, planes), dim=1)


def patch_noise(seed: Sequence[int], slices: int, patches: tuple[int, int]) -> Tensor:
    """Float32 [slices, patches] that depends on the seed alone."""
    drawn = np.random.default_rng(list(seed)).random((slices, patches[0] * patches[1]), dtype=np.float32)
    return torch.from_numpy(drawn)


def fitted(slices: Tensor, shape: Sequence[int]) -> Tensor:
    """Slices [b, c, x, y] at the size of a network; those of that size stay as they are."""
    if tuple(slices.shape[2:]) == tuple(shape):
        return slices
    return functional.interpolate(slices, size=tuple(shape), mode="bilinear", antialias=True)


def degraded(reconstruction: Tensor, factors: Tensor) -> Tensor:
    """A reconstruction whose intensities, counted from the background, are multiplied by factors; all [b, 1, x, y]."""
    return (reconstruction - BACKGROUND) * factors + BACKGROUND
