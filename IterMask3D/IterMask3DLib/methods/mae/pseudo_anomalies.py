"""Boxes of another intensity in a reconstruction: what the classifier takes for abnormal while it learns."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.image import FloatVolume

BOXES = (1, 10)
"""Between how many boxes there are, the second number left out."""


class Draws(Protocol):
    """What numbers are drawn from: `numpy.random.Generator`."""

    def integers(self, low: int, high: int) -> Any:
        """A whole number from `low` to `high`, which is left out."""
        ...

    def random(self) -> float:
        """A number between 0 and 1."""
        ...


def box_factors(shape: tuple[int, ...], sides: tuple[int, int], rng: Draws) -> FloatVolume:
    """What the intensities of an image are multiplied by: 1, and in each box a factor between 0 and 1.

    Where boxes overlap, their factors are multiplied.

    Args:
        shape: of the image, (x, y).
        sides: pixels between which the sides of a box are, the second number left out.
    """
    factors: NDArray[np.float32] = np.ones(shape, dtype=np.float32)
    largest = min(shape)
    low, high = min(sides[0], largest - 1), min(sides[1], largest)
    for _ in range(int(rng.integers(*BOXES))):
        height, width = int(rng.integers(low, high)), int(rng.integers(low, high))
        y, x = int(rng.integers(0, shape[1] - width)), int(rng.integers(0, shape[0] - height))
        factors[x : x + height, y : y + width] *= np.float32(rng.random())
    return factors
