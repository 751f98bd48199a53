"""What a volume is put through before it is masked: nothing, the published quarter turns, or light changes of pose and contrast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from IterMask3DLib.preprocessing.intensity import BACKGROUND, zscore_clip3
from IterMask3DLib.core.image import BoolVolume, FloatVolume

Augmented = tuple[FloatVolume, BoolVolume]
Augment = Callable[[FloatVolume, BoolVolume, np.random.Generator], Augmented]


@dataclass(frozen=True)
class QuarterTurns:
    """Turned by 90, 180 or 270 degrees in the plane of axes 0 and 2 with this probability, as published."""

    probability: float = 0.1

    def __call__(self, volume: FloatVolume, brain: BoolVolume, rng: np.random.Generator) -> Augmented:
        if rng.random() >= self.probability:
            return volume, brain
        turns = int(rng.integers(1, 4))
        return np.rot90(volume, turns, (0, 2)), np.rot90(brain, turns, (0, 2))


@dataclass(frozen=True)
class Light:
    """Left-right flip, small turn and change of size, and a change of contrast.

    `flip`, `affine`: probabilities; `degrees`: largest turn about each axis; `scale`, `gamma`: largest logarithm of the change of size and of the
    exponent of the intensity.
    """

    flip: float = 0.5
    affine: float = 0.5
    degrees: float = 8.0
    scale: float = 0.1
    gamma: float = 0.2

    def __call__(self, volume: FloatVolume, brain: BoolVolume, rng: np.random.Generator) -> Augmented:
        height = volume - np.float32(BACKGROUND)
        if rng.random() < self.flip:
            height, brain = height[::-1], brain[::-1]
        if rng.random() < self.affine:
            height, brain = self._turned(height, brain, rng)
        values = height[brain]
        top = values.max()
        changed = np.zeros_like(height)
        changed[brain] = top * (values / top) ** np.float32(np.exp(rng.uniform(-self.gamma, self.gamma)))
        return zscore_clip3(changed, brain).array, brain

    def _turned(self, height: FloatVolume, brain: BoolVolume, rng: np.random.Generator) -> Augmented:
        theta = self._theta(height.shape, rng)
        both = torch.from_numpy(np.stack((np.where(brain, height, np.float32(0)), brain.astype(np.float32))))[None]
        grid = functional.affine_grid(theta, list(both.shape), align_corners=False)
        value, share = functional.grid_sample(both, grid, mode="bilinear", align_corners=False)[0]
        # Averages inside the brain alone, so that no background bleeds into its rim.
        inside = share >= 0.5
        return torch.where(inside, value / share.clamp_min(0.5), torch.zeros(())).numpy(), inside.numpy()

    def _theta(self, shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
        matrix = np.eye(3)
        for axis, angle in enumerate(np.radians(rng.uniform(-self.degrees, self.degrees, size=3))):
            a, b = (i for i in range(3) if i != axis)
            turn = np.eye(3)
            turn[a, a] = turn[b, b] = np.cos(angle)
            turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
            matrix = turn @ matrix
        matrix *= np.exp(rng.uniform(-self.scale, self.scale))
        # grid_sample counts in half sides and names the last axis first.
        sides = np.array(shape, dtype=np.float64)
        theta = (matrix * (sides[None, :] / sides[:, None]))[::-1, ::-1].copy()
        return torch.from_numpy(np.concatenate((theta, np.zeros((3, 1))), axis=1)).float()[None]


def unchanged(volume: FloatVolume, brain: BoolVolume, rng: np.random.Generator) -> Augmented:
    """The volume as it is."""
    return volume, brain


AUGMENTATIONS: Mapping[str, Augment] = {"none": unchanged, "published": QuarterTurns(), "light": Light()}
"""What a recipe may name. Takes and gives a scaled volume [x, y, z] with its brain."""


def described(name: str) -> dict[str, Any]:
    """An augmentation by name with its numbers, for the card."""
    augmentation = AUGMENTATIONS[name]
    return {"name": name, **(asdict(augmentation) if isinstance(augmentation, (QuarterTurns, Light)) else {})}
