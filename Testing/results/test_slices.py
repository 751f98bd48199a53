"""Slices: whatever the axes of the file, the patient's right is at the left of the picture."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from IterMask3DLib.core.geometry import Affine
from IterMask3DLib.results.slices import AXIS, LABELS, PLANES, Frame, Plane, box, cut

DIRECTION = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
"""Where a label lies from the middle of the patient, in R, A, S."""

GRIDS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
"""All 48 ways in which the axes of a file can lie along the patient's."""


def file_grid(order: tuple[int, ...], signs: tuple[int, ...]) -> Affine:
    """Axis n of the file runs along patient axis `order[n]` in the direction `signs[n]`.

    Its steps are 1, 2 and 3 mm; 0 mm is at voxel 10.
    """
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis in range(3):
        affine[order[axis], axis] = signs[axis] * (axis + 1)
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, 10)
    return affine


def ball(affine: Affine, direction: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Voxels [i, j, k] near the point 8 mm from the middle in `direction` (RAS)."""
    places = np.moveaxis(np.indices((21, 21, 21)), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    return ((places - 8 * np.array(direction)) ** 2).sum(axis=-1) <= 4**2


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize(("order", "signs"), GRIDS)
def test_each_label_stands_where_its_side_of_the_patient_is(
    order: tuple[int, ...], signs: tuple[int, ...], plane: Plane
) -> None:
    affine = file_grid(order, signs)
    left, right, top, bottom = LABELS[plane]
    for label, axis, before_middle in ((left, 1, True), (right, 1, False), (top, 0, True), (bottom, 0, False)):
        picture = cut(Frame.of(affine, (21, 21, 21)).turn(ball(affine, DIRECTION[label])), plane, 10)
        middle = np.argwhere(picture)[:, axis].mean()
        assert (middle < 10) == before_middle, label


def test_the_convention_is_radiological() -> None:
    assert LABELS["axial"][:2] == LABELS["coronal"][:2] == ("R", "L")


@pytest.mark.parametrize(("order", "signs"), GRIDS[::7])
def test_the_turned_affine_tells_where_the_turned_voxels_are(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = file_grid(order, signs)
    shape = (5, 6, 7)
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    frame = Frame.of(affine, shape)
    for axis in range(3):
        turned = frame.turn(places[..., axis])
        expected = np.moveaxis(np.indices(turned.shape), 0, -1) @ frame.affine[:3, :3].T + frame.affine[:3, 3]
        assert np.allclose(turned, expected[..., axis])


def test_pixels_are_as_high_and_wide_as_the_voxels_they_show() -> None:
    frame = Frame.of(np.diag([1.0, 2.0, 6.0, 1.0]), (4, 4, 4))
    assert [frame.aspect(plane) for plane in PLANES] == [2.0, 6.0, 3.0]
    assert [AXIS[plane] for plane in PLANES] == [2, 1, 0]


def test_the_box_keeps_the_same_room_in_millimetres_on_every_side() -> None:
    mask = np.zeros((40, 40, 40), dtype=bool)
    mask[15:20, 20, 3] = True
    assert box(mask, (1.0, 2.0, 5.0), margin=10) == (slice(5, 30), slice(15, 26), slice(1, 6))
    assert box(np.zeros((3, 3, 3), dtype=bool), (1.0, 1.0, 1.0)) == (slice(None),) * 3
