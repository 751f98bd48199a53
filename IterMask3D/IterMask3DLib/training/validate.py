"""How well held-out brains are filled in, under the kinds of mask an inference meets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from IterMask3DLib.core.image import FloatVolume
from IterMask3DLib.runtime.distributed import share, together
from IterMask3DLib.training.data import Example, Volumes, fixed_example
from IterMask3DLib.training.masks import MaskPlan
from IterMask3DLib.training.recipe import Recipe

KINDS = {"blob": MaskPlan(), "whole_brain": MaskPlan(full_brain=1.0), "scattered": MaskPlan(scattered=1.0)}
"""Kinds of mask a validation hides: the published blobs, the whole brain as an inference begins, scattered voxels as it goes on."""

JUDGED_BY = ("blob", "whole_brain")
"""The mean of these two decides which weights are best."""

Reconstruct = Callable[[Tensor], Tensor]
"""float32 [1, 2, x, y, z] on the CPU -> float32 [1, 1, x, y, z]."""


def reconstructed(item: Example, reconstruct: Reconstruct) -> FloatVolume:
    """What the network makes of an example: float32 [x, y, z]."""
    return np.asarray(reconstruct(torch.from_numpy(item.given)[None])[0, 0].float().cpu().numpy())


def validation_errors(volumes: Volumes, recipe: Recipe, reconstruct: Reconstruct) -> dict[str, float]:
    """Mean squared error in the mask, averaged over the volumes, for each kind of mask; each process does its share of the volumes."""
    mine = []
    for number in share(range(len(volumes))):
        errors = []
        for plan in KINDS.values():
            item = fixed_example(number, volumes, recipe, plan)
            errors.append(float(np.square(reconstructed(item, reconstruct) - item.volume)[item.mask].mean()))
        mine.append((number, errors))
    everyone = sorted(row for part in together(mine) for row in part)
    means = np.mean([errors for _, errors in everyone], axis=0)
    return {kind: float(mean) for kind, mean in zip(KINDS, means, strict=True)}


def judged(errors: dict[str, float]) -> float:
    """The one number by which weights are compared: lower is better."""
    return float(np.mean([errors[kind] for kind in JUDGED_BY]))
