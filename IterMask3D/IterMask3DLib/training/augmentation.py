"""What a brain is put through before it is learned from: flips, quarter turns, light changes of pose and contrast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.preprocessing.intensity import BACKGROUND, zscore_clip3

Augmentation = Callable[[Healthy, np.random.Generator], Healthy]


@dataclass(frozen=True)
class Unchanged:
    """The brain as it is."""

    def __call__(self, healthy: Healthy, rng: np.random.Generator) -> Healthy:
        return healthy


@dataclass(frozen=True)
class Flip:
    """Left for right with this probability."""

    probability: float = 0.5

    def __call__(self, healthy: Healthy, rng: np.random.Generator) -> Healthy:
        if rng.random() >= self.probability:
            return healthy
        return replace(healthy, channels=healthy.channels[:, ::-1], brain=healthy.brain[::-1])


@dataclass(frozen=True)
class QuarterTurns:
    """Turned by 90, 180 or 270 degrees in the plane of the first and the last axis, as often as published."""

    probability: float = 0.1

    def __call__(self, healthy: Healthy, rng: np.random.Generator) -> Healthy:
        if rng.random() >= self.probability:
            return healthy
        turns = int(rng.integers(1, 4))
        brain, last = healthy.brain, healthy.brain.ndim - 1
        channels = np.rot90(healthy.channels, turns, (1, last + 1))
        return replace(healthy, channels=channels, brain=np.rot90(brain, turns, (0, last)))


@dataclass(frozen=True)
class LightChanges:
    """Left-right flip, small turn and change of size, and a change of contrast.

    Attributes:
        flip, affine: probabilities.
        degrees: largest turn about each axis.
        scale, gamma: largest logarithm of the change of size, and of the exponent of the intensity.
    """

    flip: float = 0.5
    affine: float = 0.5
    degrees: float = 8.0
    scale: float = 0.1
    gamma: float = 0.2

    def __call__(self, healthy: Healthy, rng: np.random.Generator) -> Healthy:
        height, brain = healthy.channels - np.float32(BACKGROUND), healthy.brain
        if rng.random() < self.flip:
            height, brain = height[:, ::-1], brain[::-1]
        if rng.random() < self.affine:
            height, brain = self.turned(height, brain, rng)
        channels = [self._with_contrast(channel, brain, rng) for channel in height]
        return replace(healthy, channels=np.stack(channels), brain=brain)

    def _with_contrast(self, height: FloatVolume, brain: BoolVolume, rng: np.random.Generator) -> FloatVolume:
        exponent = np.float32(np.exp(rng.uniform(-self.gamma, self.gamma)))
        if brain.ndim == 2:
            # A slice stays on the scale of its volume.
            top = np.float32(-2 * BACKGROUND)
            return np.where(brain, top * (height / top) ** exponent, 0) + np.float32(BACKGROUND)
        values = height[brain]
        top = values.max()
        changed = np.zeros_like(height)
        changed[brain] = top * (values / top) ** exponent
        return zscore_clip3(changed, brain)[0]

    def turned(
        self, height: FloatVolume, brain: BoolVolume, rng: np.random.Generator
    ) -> tuple[FloatVolume, BoolVolume]:
        theta = self._theta(brain.shape, rng)
        stacked = np.concatenate((np.where(brain, height, np.float32(0)), brain[None].astype(np.float32)))
        both = torch.from_numpy(stacked)[None]
        grid = functional.affine_grid(theta, list(both.shape), align_corners=False)
        *values, share = functional.grid_sample(both, grid, mode="bilinear", align_corners=False)[0]
        # Averages inside the brain alone, so that no background bleeds into its rim.
        inside = share >= 0.5
        if not inside.any():
            return height, brain
        turned = torch.where(inside, torch.stack(values) / share.clamp_min(0.5), torch.zeros(()))
        return turned.numpy(), inside.numpy()

    def _theta(self, shape: tuple[int, ...], rng: np.random.Generator) -> torch.Tensor:
        """What `affine_grid` needs for a random turn and size: [1, n, n + 1] for n axes."""
        axes = len(shape)
        matrix = np.eye(axes)
        planes = [(1, 2), (0, 2), (0, 1)] if axes == 3 else [(0, 1)]
        for (a, b), angle in zip(
            planes, np.radians(rng.uniform(-self.degrees, self.degrees, len(planes))), strict=True
        ):
            turn = np.eye(axes)
            turn[a, a] = turn[b, b] = np.cos(angle)
            turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
            matrix = turn @ matrix
        matrix *= np.exp(rng.uniform(-self.scale, self.scale))
        # grid_sample counts in half sides and names the last axis first.
        sides = np.array(shape, dtype=np.float64)
        theta = (matrix * (sides[None, :] / sides[:, None]))[::-1, ::-1].copy()
        return torch.from_numpy(np.concatenate((theta, np.zeros((axes, 1))), axis=1)).float()[None]


AUGMENTATIONS: Mapping[str, Augmentation] = {
    "none": Unchanged(),
    "flip": Flip(),
    "published": QuarterTurns(),
    "light": LightChanges(),
}
"""What the options may name."""
