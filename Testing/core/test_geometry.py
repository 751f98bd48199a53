"""Grids in space, by brute force and by other libraries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import (
    GridTransform,
    bounding_box,
    lps_from_ras,
    shifted,
    spacing_of,
    voxel_millilitres,
    world_transform_in_ras,
)
from Testing.preprocessing.grids import oblique, rotation

TRANSFORMS = [
    GridTransform((0, 1, 2), (False, False, False), (9, 8, 7), (5, 6, 4), (2.0, 1.0, 1.5), (0.25, -3.0, 1.0)),
    GridTransform((2, 0, 1), (True, False, True), (9, 8, 7), (10, 12, 11), (0.6, 0.7, 1.0), (-1.13, 0.43, 2.0)),
    GridTransform((1, 2, 0), (True, True, True), (6, 9, 8), (16, 16, 16), (1.0, 1.0, 1.0), (-4.0, -5.0, 3.0)),
]


def model_of_input(t: GridTransform, index: tuple[int, ...]) -> np.ndarray:
    """Where an input voxel lies on the model grid, straight from what the attributes say."""
    place = np.zeros(3)
    for axis, x in enumerate(t.axes):
        along = t.input_shape[axis] - 1 - index[axis] if t.flipped[axis] else index[axis]
        place[x] = (along - t.offset[x]) / t.factor[x]
    return place


def test_spacing_and_volume_of_a_voxel_do_not_depend_on_how_it_is_turned() -> None:
    assert spacing_of(oblique()) == pytest.approx((1.0, 1.5, 3.0))
    assert voxel_millilitres(oblique()) == pytest.approx(4.5 / 1000)
    assert voxel_millilitres(np.diag([-2.0, 2.0, 2.0, 1.0])) == pytest.approx(0.008)


def test_lps_is_what_itk_has_where_nifti_has_ras() -> None:
    image = sitk.Image([4, 5, 6], sitk.sitkUInt8)
    image.SetSpacing((1.0, 1.5, 3.0))
    image.SetDirection(rotation()[:3, :3].ravel().tolist())
    image.SetOrigin((7.0, -8.0, 9.0))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    x, y, z = image.TransformIndexToPhysicalPoint((1, 2, 3))
    np.testing.assert_allclose(lps_from_ras(matrix) @ [1, 2, 3, 1], [-x, -y, z, 1])
    np.testing.assert_allclose(lps_from_ras(lps_from_ras(matrix)), matrix)


def test_a_movement_in_lps_is_the_same_movement_in_ras() -> None:
    point = np.array([10.0, -20.0, 30.0, 1.0])
    in_lps = lps_from_ras(np.eye(4)) @ point
    moved = lps_from_ras(np.eye(4)) @ (rotation() @ in_lps)
    np.testing.assert_allclose(world_transform_in_ras(rotation()) @ point, moved)


def test_a_box_holds_every_voxel_of_a_mask_and_a_margin_as_far_as_there_is_one() -> None:
    mask = np.zeros((8, 9, 10), dtype=bool)
    mask[2, 3, 4] = mask[4, 3, 9] = True
    assert bounding_box(mask) == (slice(2, 5), slice(3, 4), slice(4, 10))
    assert bounding_box(mask, 2) == (slice(0, 7), slice(1, 6), slice(2, 10))
    assert bounding_box(mask, (0, 1, 3)) == (slice(2, 5), slice(2, 5), slice(1, 10))
    assert bounding_box(mask[2]) == (slice(3, 4), slice(4, 5))
    assert bounding_box(np.zeros((3, 3, 3), dtype=bool)) is None


def test_a_part_of_a_grid_lies_where_it_lay() -> None:
    part = shifted(oblique(), (slice(2, 5), slice(3, 4), slice(4, 9)))
    np.testing.assert_allclose(part @ [1, 0, 2, 1], oblique() @ [3, 3, 6, 1])


@pytest.mark.parametrize("t", TRANSFORMS)
def test_turning_moves_every_voxel_to_a_place_of_its_own(t: GridTransform) -> None:
    array = np.random.default_rng(0).random(t.input_shape)
    assert t.turn(array).shape == t.turned_shape
    back = np.zeros_like(array)
    t.turn(back)[...] = t.turn(array)
    np.testing.assert_array_equal(back, array)
    box = (slice(1, 4), slice(2, 3), slice(0, 5))
    np.testing.assert_array_equal(np.sort(t.turn(array)[t.turn_box(box)], axis=None), np.sort(array[box], axis=None))


@pytest.mark.parametrize("t", TRANSFORMS)
def test_a_mask_goes_to_the_input_by_the_nearest_voxel(t: GridTransform) -> None:
    mask = np.random.default_rng(1).random(t.model_shape) > 0.6
    home = t.mask_to_input(mask)
    assert home.dtype == bool and home.shape == t.input_shape
    for index in itertools.product(*map(range, t.input_shape)):
        nearest = np.floor(model_of_input(t, index) + 0.5).astype(int)
        inside = ((nearest >= 0) & (nearest < t.model_shape)).all()
        assert home[index] == (inside and mask[tuple(nearest)])


@pytest.mark.parametrize("t", TRANSFORMS)
def test_a_mask_goes_to_the_model_by_the_nearest_voxel(t: GridTransform) -> None:
    mask = np.random.default_rng(2).random(t.input_shape) > 0.6
    found = t.mask_to_model(mask)
    turned = t.turn(mask)
    for index in itertools.product(*map(range, t.model_shape)):
        nearest = np.floor(np.array(index) * t.factor + t.offset + 0.5).astype(int)
        inside = ((nearest >= 0) & (nearest < turned.shape)).all()
        assert found[index] == (inside and turned[tuple(nearest)])


def test_an_empty_mask_stays_empty() -> None:
    t = TRANSFORMS[0]
    assert not t.mask_to_input(np.zeros(t.model_shape, dtype=bool)).any()
    assert not t.mask_to_model(np.zeros(t.input_shape, dtype=bool)).any()


@pytest.mark.parametrize("t", TRANSFORMS)
def test_the_way_between_two_grids_follows_from_their_affines(t: GridTransform) -> None:
    model_voxels = np.zeros((4, 4))
    model_voxels[3, 3] = 1
    for axis, x in enumerate(t.axes):
        sign = -1 if t.flipped[axis] else 1
        model_voxels[axis, x] = sign * t.factor[x]
        model_voxels[axis, 3] = t.input_shape[axis] - 1 - t.offset[x] if t.flipped[axis] else t.offset[x]
    for affine in (np.eye(4), oblique(), np.diag([-3.0, 2.0, 2.0, 1.0])):
        again = GridTransform.between(affine @ model_voxels, t.model_shape, affine, t.input_shape)
        assert (again.axes, again.flipped, again.input_shape) == (t.axes, t.flipped, t.input_shape)
        np.testing.assert_allclose((again.factor, again.offset), (t.factor, t.offset), atol=1e-9)


def test_grids_that_are_turned_or_sheared_against_each_other_are_not_parallel() -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.1
    for moved in (rotation(), sheared):
        with pytest.raises(UserError, match="has been moved since the run"):
            GridTransform.between(np.eye(4), (8, 8, 8), moved, (8, 8, 8))
