"""Volumes as stacks of slices, for the methods whose networks see one slice at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.runner import Network

BATCH = 8
"""Slices that go through a network at a time."""

LEAST_SLICES = 5


def as_slices(volume: NDArray[Any]) -> NDArray[Any]:
    """A volume [..., x, y, z] as its slices [z, ..., x, y]."""
    return np.ascontiguousarray(np.moveaxis(volume, -1, 0))


def as_volume(slices: NDArray[Any]) -> NDArray[Any]:
    """Slices [z, ..., x, y] as the volume [..., x, y, z] they are of."""
    return np.ascontiguousarray(np.moveaxis(slices, 0, -1))


def slices_with_brain(brain: BoolVolume, smallest: float) -> NDArray[np.intp]:
    """Numbers of the slices that have at least this share of the brain that the largest one has; brain [z, x, y]."""
    areas = brain.sum(axis=(1, 2))
    return np.flatnonzero(areas >= max(1, smallest * areas.max()))


def check_slices(case: Prepared) -> None:
    """Raises `UserError` where a brain has too few slices to be one."""
    count = int(case.brain.any(axis=(0, 1)).sum())
    if count < LEAST_SLICES:
        raise UserError(
            f"{case.case.name}: the brain has {count} slices of {case.spacing[2]:g} mm and needs at least "
            f"{LEAST_SLICES}; give a whole volume."
        )


def in_batches(network: Network, given: Tensor, size: int = BATCH) -> Tensor:
    """The output of a network for any number of slices, so many at a time: float32 [n, c, x, y] -> [n, …] on the CPU.

    The last batch is filled up, because executors compile a network for each size of batch they meet.
    """
    parts = []
    for start in range(0, len(given), size):
        batch = given[start : start + size]
        filled = torch.cat((batch, batch.new_zeros(size - len(batch), *batch.shape[1:])))
        parts.append(network(filled)[: len(batch)].cpu())
    return torch.cat(parts)
