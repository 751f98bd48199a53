"""The published augmentation of slices: a window that fills the image, and a box of noise."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

_TRIES = 10
_ASPECT, _ERASED_ASPECT = (3 / 4, 4 / 3), (0.3, 10 / 3)
_ERASED_SHARE = (0.02, 1 / 3)


def random_window(shape: tuple[int, int], smallest: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A box inside an image as float32 [4]: its first corner and its sides, in pixels along x and y.

    Its area is between `smallest` and 1 of the image's, its longer side at most 4/3 of the shorter one; the whole image
    where no such box was drawn in ten tries.
    """
    box = _box(shape, (smallest, 1.0), _ASPECT, rng)
    return _array(0, 0, *shape) if box is None else box


def random_erasure(shape: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise in a box of an image, NaN elsewhere, float32 [x, y]; with probability 1 - `share` NaN everywhere."""
    noise = np.full(shape, np.nan, dtype=np.float32)
    if rng.random() < share:
        box = _box(shape, _ERASED_SHARE, _ERASED_ASPECT, rng)
        x, y, width, height = (0, 0, 0, 0) if box is None else box.astype(int)
        noise[x : x + width, y : y + height] = rng.standard_normal((width, height), dtype=np.float32)
    return noise


def enlarged(images: Tensor, windows: Tensor) -> Tensor:
    """The window of each image, cubically interpolated to the size of the image.

    Args:
        images: [b, 1, x, y]; windows: [b, 4] of `random_window`.
    """
    size = torch.tensor(images.shape[2:], dtype=windows.dtype, device=windows.device)
    first, sides = windows[:, :2], windows[:, 2:]
    scale, centre = sides / size, (2 * first + sides) / size - 1
    # The grid's first coordinate runs along the last axis.
    theta = torch.zeros((len(images), 2, 3), dtype=windows.dtype, device=windows.device)
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 1], scale[:, 0]
    theta[:, 0, 2], theta[:, 1, 2] = centre[:, 1], centre[:, 0]
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid.to(images.dtype), "bicubic", "border", align_corners=False)


def erased(images: Tensor, noise: Tensor) -> Tensor:
    """Images with the noise of `random_erasure` where there is any; both [b, 1, x, y]."""
    return torch.where(noise.isnan(), images, noise.to(images.dtype))


def _box(
    shape: tuple[int, int], shares: tuple[float, float], aspects: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.float32] | None:
    low, high = map(math.log, aspects)
    for _ in range(_TRIES):
        area = math.prod(shape) * rng.uniform(*shares)
        aspect = math.exp(rng.uniform(low, high))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= shape[0] and 0 < height <= shape[1]:
            x, y = int(rng.integers(shape[0] - width + 1)), int(rng.integers(shape[1] - height + 1))
            return _array(x, y, width, height)
    return None


def _array(*numbers: int) -> NDArray[np.float32]:
    return np.array(numbers, dtype=np.float32)
