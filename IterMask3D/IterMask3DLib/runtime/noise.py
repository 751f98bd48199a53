"""The noise that hides masked voxels: seeded, the same on every device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Noise = Callable[[int, int], NDArray[np.float32]]
"""(number of the pass, voxels) -> float32 [voxels]."""


def seeded_noise(seed: int) -> Noise:
    """Standard normal noise that depends on the seed and the number of the pass alone.

    So any pass can be repeated by itself.
    """

    def draw(number: int, voxels: int) -> NDArray[np.float32]:
        return np.random.default_rng([seed, number]).standard_normal(voxels, dtype=np.float32)

    return draw
