"""Healthy brains as a network sees them: on the model's grid, scaled, augmented, with a mask and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from IterMask3DLib.engine.highfreq import high_frequency
from IterMask3DLib.engine.intensity import zscore_clip3
from IterMask3DLib.training.masks import sample_mask

FloatVolume = NDArray[np.float32]
BoolVolume = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """One training example, all [x, y, z]: the scaled volume, its high-frequency image, its brain and the mask to fill in."""

    volume: FloatVolume
    high_frequency: FloatVolume
    brain: BoolVolume
    mask: BoolVolume


@dataclass(frozen=True)
class Augmentation:
    """What a volume is put through before it is masked; drawn per example."""

    flip: float = 0.5
    affine: float = 0.5
    degrees: float = 8.0
    scale: float = 0.1
    gamma: float = 0.2


def centred(array: NDArray[Any], brain: BoolVolume, shape: Sequence[int]) -> NDArray[Any]:
    """`array` cropped and zero-padded to `shape` with the centre of the brain's box in the middle; axes unchanged."""
    out = np.zeros(tuple(shape), dtype=array.dtype)
    source, target = [], []
    for axis, size in enumerate(shape):
        hits = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
        start = int(hits[0] + hits[-1] + 1 - size) // 2
        low, high = max(start, 0), min(start + size, array.shape[axis])
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    out[tuple(target)] = array[tuple(source)]
    return out


def load_stripped(path: Path, shape: Sequence[int]) -> NDArray[Any]:
    """A skull-stripped NIfTI volume (background 0, already on the model's spacing, RAS) centred on a grid of `shape`."""
    import nibabel

    array = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    return centred(array, array > 0, shape)


def example(
    stripped: NDArray[np.generic],
    spacing: float,
    rng: np.random.Generator,
    *,
    full_brain_share: float,
    augmentation: Augmentation | None,
) -> Example:
    """Draws one example from a stripped volume [x, y, z]."""
    raw = stripped.astype(np.float32)
    if augmentation is not None:
        raw = augmented(raw, augmentation, rng)
    brain = raw > 0
    volume = zscore_clip3(raw, brain).array
    mask = sample_mask(brain, spacing, rng, full_brain_share)
    return Example(volume, high_frequency(volume, (spacing,) * 3), brain, mask)


def augmented(raw: FloatVolume, plan: Augmentation, rng: np.random.Generator) -> FloatVolume:
    """Left-right flip, small rotation and scaling, and a change of contrast, each with its probability; background stays 0."""
    if rng.random() < plan.flip:
        raw = raw[::-1]
    if rng.random() < plan.affine:
        raw = _turned(raw, plan, rng)
    top = float(raw.max())
    exponent = np.exp(rng.uniform(-plan.gamma, plan.gamma))
    return np.asarray(top * (raw / top) ** exponent, dtype=np.float32)


def _turned(raw: FloatVolume, plan: Augmentation, rng: np.random.Generator) -> FloatVolume:
    angles = np.radians(rng.uniform(-plan.degrees, plan.degrees, size=3))
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (i for i in range(3) if i != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    matrix *= np.exp(rng.uniform(-plan.scale, plan.scale))
    # grid_sample counts in half sides and names the last axis first.
    sides = np.array(raw.shape, dtype=np.float64)
    theta = (matrix * (sides[None, :] / sides[:, None]))[::-1, ::-1].copy()
    theta = torch.from_numpy(np.concatenate((theta, np.zeros((3, 1))), axis=1)).float()[None]
    volume = torch.from_numpy(np.ascontiguousarray(raw))[None, None]
    grid = functional.affine_grid(theta, list(volume.shape), align_corners=False)
    inside = functional.grid_sample((volume > 0).float(), grid, mode="nearest", align_corners=False) > 0
    value = functional.grid_sample(volume, grid, mode="bilinear", align_corners=False)
    return torch.where(inside, value.clamp_min(1.0), torch.zeros(())).numpy()[0, 0]


def network_input(item: Example, rng: np.random.Generator) -> FloatVolume:
    """The two channels [2, x, y, z] a network is given: the volume with noise in the mask, and the high-frequency image."""
    noise = rng.standard_normal(item.volume.shape, dtype=np.float32)
    return np.stack((np.where(item.mask, noise, item.volume), item.high_frequency))
