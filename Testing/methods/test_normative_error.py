"""The error of healthy brains by place: a table on the brain's box, the same for both hemispheres."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.methods.itermask3d.normative_error import SIDE, normative_error_at, normative_table


def ellipsoid(shape: tuple[int, int, int], at: float = 0.0) -> BoolVolume:
    places = [
        (axis - side / 2 + 0.5 - at) / (side / 2 - 4) for axis, side in zip(np.indices(shape), shape, strict=True)
    ]
    return sum(p**2 for p in places) <= 1


def field(brain: BoolVolume, of: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> FloatVolume:
    """A function of the place in the brain's box, each axis 0 to 1."""
    hits = np.argwhere(brain)
    first, last = hits.min(axis=0), hits.max(axis=0)
    x, y, z = ((axis - a + 0.5) / (b - a + 1) for axis, a, b in zip(np.indices(brain.shape), first, last, strict=True))
    return of(x, y, z).astype(np.float32)


def test_a_smooth_error_that_is_alike_on_both_sides_is_found_again_in_another_brain() -> None:
    def truth(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return 1 + (2 * x - 1) ** 2 + y + 2 * z

    healthy = [ellipsoid((64, 80, 72)), ellipsoid((70, 76, 64), at=2.0)]
    table = normative_table((field(brain, truth), brain) for brain in healthy)
    other = ellipsoid((48, 64, 56))
    measured, wanted = normative_error_at(table, other)[other], field(other, truth)[other]
    assert np.abs(measured / wanted - 1).mean() < 0.03
    assert np.corrcoef(measured, wanted)[0, 1] > 0.99


def test_both_hemispheres_are_taken_together() -> None:
    brain = ellipsoid((64, 64, 64))
    left_only = field(brain, lambda x, y, z: 2.0 * (x < 0.5))
    expected = normative_error_at(normative_table([(left_only, brain)]), brain)
    assert expected[brain] == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(expected, expected[::-1], rtol=1e-4)


def test_cells_no_brain_reaches_lean_towards_the_mean() -> None:
    brain = ellipsoid((48, 48, 48))
    table = normative_table([(np.where(brain, 3, 0).astype(np.float32), brain)])
    assert table.shape == (SIDE,) * 3 and table.dtype == np.float32
    assert table == pytest.approx(3.0, rel=1e-5)


def test_outside_the_brain_nothing_is_divided() -> None:
    brain = ellipsoid((48, 48, 48))
    expected = normative_error_at(np.full((SIDE,) * 3, 4, np.float32), brain)
    assert (expected[~brain] == 1).all() and (expected[brain] == 4).all()
