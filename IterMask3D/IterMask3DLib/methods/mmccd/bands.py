"""The bands that hide a slice piece by piece, from one side to the other, along both axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS = 1, 0
"""The axis of a slice [x, y] that a band is narrow along."""


def pixels(mm: float, spacing: float) -> int:
    """A length in whole pixels, at least one."""
    return max(1, round(mm / spacing))


@dataclass(frozen=True)
class Band:
    """Everything of a slice [x, y] between two places of one axis.

    Attributes:
        axis: that it is narrow along; start, stop: its pixels there.
    """

    axis: int
    start: int
    stop: int

    @property
    def place(self) -> tuple[slice, slice]:
        """Index of a slice [x, y]."""
        narrow, all_of_it = slice(self.start, self.stop), slice(None)
        return (narrow, all_of_it) if self.axis == ROWS else (all_of_it, narrow)

    def touches(self, region: NDArray[np.bool_]) -> bool:
        """Whether it hides a pixel of a region [x, y]."""
        return bool(region[self.place].any())


def bands_of(shape: tuple[int, int], width: int, step: int) -> list[Band]:
    """Every band of a grid: those that begin 0, step, … along the second axis, then along the first; cut at the border.

    With the published 128 x 128 pixels, width 16 and step 2 they are 128, and hide each pixel 2 (in the first corner)
    to 16 times.
    """
    return [
        Band(axis, start, min(start + width, shape[axis]))
        for axis in (COLUMNS, ROWS)
        for start in range(0, shape[axis], step)
    ]


def in_rounds(bands: list[Band], width: int, step: int) -> list[list[Band]]:
    """The bands in rounds, in each of which none overlaps another: an early round leaves no large part of a slice out.

    The first of each axis begin at 0; the next ones begin half-way between, a quarter, and so on.
    """
    count = max(1, -(-width // step))
    # The binary digits of a fraction, in reverse order, sort halves before quarters before eighths.
    offsets = sorted(range(count), key=lambda offset: f"{offset * 2**16 // count:016b}"[::-1])
    rounds = [
        [band for band in bands if band.axis == axis and band.start // step % count == offset]
        for offset in offsets
        for axis in (COLUMNS, ROWS)
    ]
    return [each for each in rounds if each]
