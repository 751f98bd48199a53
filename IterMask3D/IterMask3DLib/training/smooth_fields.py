"""Smooth random functions of position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


def random_field(shape: Sequence[int], grain: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """White noise on one node every `grain` voxels, linear between: float32 [x, y, z], standard deviation 1."""
    nodes = [max(2, int(np.ceil(side / grain)) + 1) for side in shape]
    coarse = torch.from_numpy(rng.standard_normal(nodes, dtype=np.float32))[None, None]
    smooth = functional.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0].numpy()
    return np.asarray(smooth / max(float(smooth.std()), 1e-6), dtype=np.float32)
