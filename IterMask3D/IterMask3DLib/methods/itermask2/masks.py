"""Random masks of a slice that the second network learns to fill in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.image import BoolVolume

_VARIANCE = (0.3, 10.0)
_UNITS_MM = (10.0, 10.0, 2.5)
"""Length of one unit of the density, of each type as likely."""

_SMALL_SQUARES = ((100, 200), (100, 200), (5, 20))
"""Between how many small squares, times the root of both variances, a mask has: for each type."""

_SQUARES_MM = (4.0, 8.0, 16.0)
_LARGER_SQUARES = ((5, 10), (3, 10))


def sample_slice_mask(brain: BoolVolume, spacing: float, rng: np.random.Generator) -> BoolVolume:
    """Squares of three sizes whose corners lie around a random pixel of the brain, by a normal distribution.

    Source: the public code of IterMask2, with the corners drawn as pairs: there their rows and columns are drawn apart,
    which loses how they vary together and leaves the brain.

    Args:
        brain: bool [x, y], at least one pixel.
        spacing: mm, isotropic.

    Returns:
        bool [x, y], inside the brain, at least one pixel.
    """
    kind = int(rng.integers(len(_UNITS_MM)))
    first, second = rng.uniform(*_VARIANCE, size=2)
    root = float(np.sqrt(first * second))
    covariance = rng.uniform(0, root) * rng.choice((-1, 1))
    pixels = np.argwhere(brain)
    centre = pixels[rng.integers(len(pixels))]
    away = (pixels - centre) * (spacing / _UNITS_MM[kind])
    density = _density(away, np.array([[first, covariance], [covariance, second]]))
    fewest, most = (int(limit * root) for limit in _SMALL_SQUARES[kind])
    counts = (
        int(rng.integers(fewest, most, endpoint=True)),
        *(int(rng.integers(*limits)) for limits in _LARGER_SQUARES),
    )
    mask = np.zeros_like(brain)
    for count, side in zip(counts, _SQUARES_MM, strict=True):
        corners = pixels[rng.choice(len(pixels), size=count, p=density)]
        mask |= _squares(corners, max(1, round(side / spacing)), brain.shape)
    return mask & brain


def _density(away: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each of several places [n, 2] by a normal distribution about 0: [n]."""
    exponent = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
    weights = np.exp(exponent - exponent.max())
    return np.asarray(weights / weights.sum())


def _squares(corners: NDArray[np.intp], side: int, shape: tuple[int, ...]) -> BoolVolume:
    """Where squares with these first corners [n, 2] lie: bool [x, y]."""
    mask = np.zeros(shape, dtype=bool)
    steps = np.arange(side)
    rows = corners[:, 0, None, None] + steps[None, :, None]
    columns = corners[:, 1, None, None] + steps[None, None, :]
    rows, columns = np.broadcast_arrays(rows, columns)
    inside = (rows < shape[0]) & (columns < shape[1])
    mask[rows[inside], columns[inside]] = True
    return mask
