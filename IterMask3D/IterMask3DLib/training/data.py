"""Training examples: a scaled volume with a mask to fill in, drawn from the seed, the epoch and the volume's number alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.training.augment import AUGMENTATIONS, Augment, unchanged
from IterMask3DLib.training.masks import MaskPlan, sample_mask
from IterMask3DLib.training.recipe import Recipe

_ORDER, _DRAW, _FIXED = 1, 2, 3
"""Which stream of random numbers a draw comes from."""


class Volumes(Protocol):
    """Scaled volumes float32 [x, y, z] with their brains bool [x, y, z], by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> tuple[FloatVolume, BoolVolume]: ...


@dataclass(frozen=True)
class Example:
    """One training example, all [x, y, z]: the scaled volume, what the network is given [2, x, y, z], the brain and the mask to fill in."""

    volume: FloatVolume
    given: FloatVolume
    brain: BoolVolume
    mask: BoolVolume


def example(
    volume: FloatVolume, brain: BoolVolume, spacing: float, rng: np.random.Generator, plan: MaskPlan, augment: Augment = unchanged
) -> Example:
    """Augments a scaled volume [x, y, z], draws its mask and hides it behind noise; the high-frequency image is of the unmasked volume."""
    volume, brain = augment(volume, brain, rng)
    volume, brain = np.ascontiguousarray(volume), np.ascontiguousarray(brain)
    mask = sample_mask(brain, spacing, rng, plan)
    noise = rng.standard_normal(volume.shape, dtype=np.float32)
    given = np.stack((np.where(mask, noise, volume), high_frequency(volume, (spacing,) * 3)))
    return Example(volume, given, brain, mask)


def examples_of_step(step: int, places: Sequence[int], volumes: Volumes, recipe: Recipe) -> list[Example]:
    """The examples at some `places` of a step's batch.

    Each epoch visits every volume once, in a new order and under a new mask. An example depends on the seed, the epoch and the number of its
    volume, never on the process that draws it.
    """
    drawn = []
    for place in places:
        epoch, position = divmod(step * recipe.batch + place, len(volumes))
        number = int(np.random.default_rng([recipe.seed, _ORDER, epoch]).permutation(len(volumes))[position])
        rng = np.random.default_rng([recipe.seed, _DRAW, epoch, number])
        plan = MaskPlan(recipe.full_brain_share, recipe.scattered_share)
        drawn.append(example(*volumes[number], recipe.spacing, rng, plan, AUGMENTATIONS[recipe.augmentation]))
    return drawn


def fixed_example(number: int, volumes: Volumes, recipe: Recipe, plan: MaskPlan) -> Example:
    """A volume as it is under a mask that is the same at every call: for validation and pictures."""
    return example(*volumes[number], recipe.spacing, np.random.default_rng([recipe.seed, _FIXED, number]), plan)
