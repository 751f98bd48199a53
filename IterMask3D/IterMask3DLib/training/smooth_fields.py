"""Smooth functions of position: polynomials of low order and random fields."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


def polynomials(places: NDArray[np.integer], shape: Sequence[int], order: int) -> NDArray[np.float64]:
    """All products of powers of position up to the total degree `order`, each axis running from -1 to 1 over `shape`.

    Args:
        places: voxels [n, 3].

    Returns:
        [n, terms], the constant first; 1, 4, 10, 20 terms for order 0, 1, 2, 3.
    """
    x, y, z = (2 * places / (np.array(shape) - 1) - 1).T
    powers = [each for each in product(range(order + 1), repeat=3) if sum(each) <= order]
    return np.stack([x**i * y**j * z**k for i, j, k in powers], axis=1)


def random_field(shape: Sequence[int], grain: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """White noise on one node every `grain` voxels, linear between: float32 [x, y, z], standard deviation 1."""
    nodes = [max(2, int(np.ceil(side / grain)) + 1) for side in shape]
    coarse = torch.from_numpy(rng.standard_normal(nodes, dtype=np.float32))[None, None]
    smooth = functional.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0].numpy()
    return np.asarray(smooth / max(float(smooth.std()), 1e-6), dtype=np.float32)
