"""To the model's grid and back: every orientation, oblique and anisotropic grids, odd sizes, brains at the border."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import GridTransform
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.result import Layer
from IterMask3DLib.preprocessing.prepare import Prepared, prepare
from Testing.brains import phantom, phantom_image, toy_card
from Testing.preprocessing.grids import oblique, rotation

COARSE = CardGrid(4.0, (48, 48, 48))
FINE = CardGrid(2.0, (80, 96, 80))
ORIENTATIONS = [
    np.array([[axis, flip] for axis, flip in zip(order, flips, strict=True)])
    for order in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


def card_of(grid: CardGrid, *inputs: str) -> ModelCard:
    return replace(toy_card(), grid=grid, inputs=inputs or ("T1w",))


def prepared_on(image: Image, grid: CardGrid) -> Prepared:
    return prepare(Case.of(image), card_of(grid))


def mask_home(prepared: Prepared, mask: np.ndarray) -> np.ndarray:
    return prepared.restore(Layer.mask(mask)).read()


def score_home(prepared: Prepared, values: np.ndarray) -> np.ndarray:
    return prepared.restore(Layer.score(values)).read()


def turned(image: Image, orientation: np.ndarray) -> Image:
    """The same physical volume with its axes permuted and flipped."""
    affine = image.affine @ inv_ornt_aff(orientation, image.array.shape)
    return Image(np.ascontiguousarray(apply_orientation(image.array, orientation)), affine, image.name)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


def centroid(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


def bright(prepared: Prepared) -> np.ndarray:
    """Where the input is above 405, as the scaled volume shows it."""
    (scale,) = prepared.scales
    return (prepared.channels[0] > (405 - scale.offset) / scale.factor) & prepared.brain


def test_there_are_48_orientations() -> None:
    assert len({orientation.tobytes() for orientation in ORIENTATIONS}) == 48


@pytest.mark.parametrize("number", range(48))
def test_every_orientation_gives_the_same_model_volume_and_masks_come_home_whole(number: int) -> None:
    reference = prepared_on(phantom_image((41, 48, 39)), COARSE)
    volume = turned(phantom_image((41, 48, 39)), ORIENTATIONS[number])
    prepared = prepared_on(volume, COARSE)
    np.testing.assert_allclose(prepared.channels[0], reference.channels[0], atol=1e-5)
    np.testing.assert_allclose(prepared.affine, reference.affine, atol=1e-6)
    assert prepared.transform.exact
    np.testing.assert_array_equal(mask_home(prepared, prepared.brain), volume.array > 0)
    lesion = bright(prepared)
    home = mask_home(prepared, lesion)
    assert dice(home, volume.array > 405) == 1.0
    np.testing.assert_allclose(centroid(home, volume.affine), centroid(lesion, prepared.affine), atol=1e-6)
    np.testing.assert_allclose(
        score_home(prepared, prepared.channels[0])[volume.array > 0], reference_values(volume), atol=1e-4
    )


def reference_values(volume: Image) -> np.ndarray:
    values = volume.array[volume.array > 0].astype(float)
    return np.clip((values - values.mean()) / values.std(), -3, 3)


def grids() -> dict[str, Image]:
    """Volumes on awkward grids: the same formula-made brain, sampled elsewhere."""
    thick = np.eye(4)
    thick[:3, :3] = np.diag([-1.7, 2.3, 5.9])
    fine = np.diag([1.6, 1.6, 1.6, 1.0])
    slanted = oblique() @ np.diag([2.2, 2.0, 1.4, 1.0])
    sheared = np.diag([3.0, 3.0, 3.0, 1.0])
    sheared[0, 1] = 0.4
    return {
        name: sampled(affine)
        for name, affine in (("thick", thick), ("fine", fine), ("oblique", slanted), ("sheared", sheared))
    }


def sampled(affine: np.ndarray) -> Image:
    """An ellipsoid brain of 1.2 l around the origin of RAS with a ball at (25, -15, 10) mm, on a grid of odd sizes."""
    corners = np.array(list(itertools.product((-75, 75), (-90, 90), (-70, 70))))
    steps = np.linalg.solve(affine[:3, :3], corners.T).T
    low, high = np.floor(steps.min(axis=0)) - 1, np.ceil(steps.max(axis=0)) + 1
    shape = (high - low + 1).astype(int) | 1
    affine = affine.copy()
    affine[:3, 3] = affine[:3, :3] @ low
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    r, a, s = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    values = 300 + 40 * np.sin(r / 20) + 30 * np.cos(a / 17)
    values[ball(r, a, s)] = 600
    brain = (r / 62) ** 2 + (a / 80) ** 2 + (s / 58) ** 2 <= 1
    return Image(np.where(brain, values, 0).astype(np.float32), affine, "sampled")


def ball(r: np.ndarray, a: np.ndarray, s: np.ndarray) -> np.ndarray:
    return (r - 25) ** 2 + (a + 15) ** 2 + (s - 10) ** 2 <= 15**2


@pytest.mark.parametrize("name", ["thick", "fine", "oblique", "sheared"])
def test_on_awkward_grids_a_place_stays_within_half_a_voxel(name: str) -> None:
    volume = grids()[name]
    prepared = prepared_on(volume, FINE)
    half = 0.5 * max(2.0, *volume.spacing)
    lesion = bright(prepared)
    wanted = np.array([25, -15, 10])
    assert np.linalg.norm(centroid(lesion, prepared.affine) - wanted) < half
    home = mask_home(prepared, lesion)
    assert np.linalg.norm(centroid(home, volume.affine) - wanted) < half
    assert dice(home, volume.array == 600) > 0.85
    assert home.shape == score_home(prepared, prepared.channels[0]).shape == volume.array.shape
    assert dice(mask_home(prepared, prepared.brain), volume.array > 0) > 0.95


@pytest.mark.parametrize("name", ["thick", "fine", "oblique", "sheared"])
def test_both_grids_name_the_same_points_of_space(name: str) -> None:
    image = grids()[name]
    prepared = prepared_on(image, FINE)
    # A bump that fades within the brain has its middle at the same point on both grids.
    interior = np.argwhere(ndimage.distance_transform_edt(prepared.brain) > 14)
    for place in np.random.default_rng(0).choice(interior, 5):
        distance = np.linalg.norm(np.indices(prepared.brain.shape).T - place, axis=-1).T
        home = score_home(prepared, np.exp(-0.5 * (distance / 4) ** 2).astype(np.float32))
        back = np.average(np.argwhere(home > 0), axis=0, weights=home[home > 0])
        there = prepared.affine[:3, :3] @ place + prepared.affine[:3, 3]
        assert np.linalg.norm(image.affine[:3, :3] @ back + image.affine[:3, 3] - there) < 0.2


def test_a_map_comes_home_by_linear_interpolation() -> None:
    volume = grids()["fine"]
    prepared = prepared_on(volume, FINE)
    index = np.indices(prepared.brain.shape)
    ramp = np.tensordot([0.3, -0.2, 0.5], index, axes=1).astype(np.float32)
    home = score_home(prepared, ramp)
    there = np.linalg.inv(prepared.affine) @ volume.affine
    for place in ((40, 50, 40), (33, 61, 47), (50, 45, 38)):
        assert home[place] == pytest.approx([0.3, -0.2, 0.5] @ (there @ [*place, 1])[:3], abs=1e-3)


def test_a_brain_at_the_border_is_kept_whole() -> None:
    array, affine = phantom()
    hits = [np.flatnonzero((array > 0).any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    tight = tuple(slice(h[0], h[-1] + 1) for h in hits)
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*(h[0] for h in hits), 1])[:3]
    volume = Image(array[tight], moved, "tight")
    prepared = prepared_on(volume, COARSE)
    np.testing.assert_array_equal(mask_home(prepared, prepared.brain), volume.array > 0)


def test_a_brain_larger_than_the_grid_makes_it_grow() -> None:
    prepared = prepared_on(phantom_image(), CardGrid(4.0, (16, 32, 32)))
    assert prepared.channels[0].shape == (32, 48, 32)
    np.testing.assert_array_equal(mask_home(prepared, prepared.brain), phantom_image().array > 0)


def test_the_reconstruction_comes_home_in_the_intensities_of_the_input() -> None:
    image = phantom_image()
    prepared = prepared_on(image, COARSE)
    home = prepared.restore(Layer.intensity(prepared.channels[0])).read()
    unclipped = (image.array > 0) & (image.array < 405)
    np.testing.assert_allclose(home[unclipped], image.array[unclipped], rtol=1e-3)
    assert not home[image.array == 0].any()


def test_no_background_bleeds_into_the_reconstruction_at_the_border_of_the_brain() -> None:
    image = grids()["fine"]
    prepared = prepared_on(image, FINE)
    flat = prepared.restore(Layer.intensity(np.zeros(prepared.brain.shape, np.float32))).read()
    inside = flat[(image.array > 0) & (flat != 0)]
    np.testing.assert_allclose(inside, prepared.scales[0].offset, rtol=1e-5)
    assert len(inside) > 0.99 * (image.array > 0).sum()


@pytest.mark.parametrize("name", ["thick", "fine", "oblique"])
def test_voxels_that_get_larger_are_averages_inside_the_brain_alone(name: str) -> None:
    """What scipy's general routines give over the whole volume, without a box or sparse matrices."""
    image = grids()[name]
    prepared = prepared_on(image, CardGrid(4.0, (48, 48, 48)))
    transform = prepared.transform
    sigmas = 0.5 * np.sqrt(np.maximum(np.array(transform.factor) ** 2 - 1, 0))

    def averaged(values: np.ndarray) -> np.ndarray:
        smooth = ndimage.gaussian_filter(transform.turn(values).astype(np.float64), sigmas)
        shape = prepared.brain.shape
        return ndimage.affine_transform(
            smooth, transform.factor, transform.offset, shape, order=1, mode="grid-constant"
        )

    share = averaged(image.array > 0)
    np.testing.assert_array_equal(prepared.brain, share >= 0.5)
    (scale,) = prepared.scales
    values = averaged(image.array)[prepared.brain] / share[prepared.brain]
    assert (scale.offset, scale.factor) == pytest.approx((values.mean(), values.std()), rel=1e-5)
    wanted = np.clip((values - scale.offset) / scale.factor, -3, 3)
    np.testing.assert_allclose(prepared.channels[0][prepared.brain], wanted, atol=1e-4)
    assert (prepared.channels[0][~prepared.brain] == -3).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_results_lie_in_memory_as_files_have_them(order: str) -> None:
    image = phantom_image()
    prepared = prepared_on(replace(image, array=np.asarray(image.array, order=order)), COARSE)
    values = prepared.channels[0]
    assert values.flags.c_contiguous
    for layer in (Layer.mask(prepared.brain), Layer.score(values), Layer.intensity(values)):
        assert prepared.restore(layer).read().flags.f_contiguous


def test_nothing_is_found_outside_the_brain() -> None:
    prepared = prepared_on(phantom_image(), COARSE)
    everywhere = np.ones(prepared.brain.shape, dtype=bool)
    outside = phantom_image().array == 0
    assert not mask_home(prepared, everywhere)[outside].any()
    assert not score_home(prepared, everywhere.astype(np.float32))[outside].any()


def test_thick_slices_are_told() -> None:
    assert any("5.9 mm" in warning for warning in prepared_on(grids()["thick"], FINE).warnings)


def test_a_brain_that_vanishes_or_is_constant_is_refused() -> None:
    image = phantom_image()
    speck = np.zeros(image.array.shape, np.uint8)
    speck[20, 24, 20] = 1
    flat = replace(image, array=np.where(image.array > 0, 7, 0))
    with pytest.raises(UserError, match="no brain is left at 16 mm; check the brain mask"):
        prepare(Case.of(image, Image(speck, image.affine, "speck")), card_of(CardGrid(16.0, (16, 16, 16))))
    with pytest.raises(UserError, match="phantom is constant inside the brain mask"):
        prepared_on(flat, COARSE)


# The same grid map where only two affines are known


@pytest.mark.parametrize("number", range(48))
@pytest.mark.parametrize("spacing", [4.0, 3.0])
def test_two_affines_tell_the_same_way_between_the_grids(spacing: float, number: int) -> None:
    image = turned(phantom_image((41, 48, 39)), ORIENTATIONS[number])
    image = replace(image, affine=rotation() @ image.affine)
    prepared = prepared_on(image, CardGrid(spacing, (48, 48, 48)))
    there, shape = prepared.transform, prepared.brain.shape
    again = GridTransform.between(prepared.affine, shape, image.affine, image.array.shape)
    assert (again.axes, again.flipped, again.input_shape, again.model_shape) == (
        there.axes,
        there.flipped,
        there.input_shape,
        there.model_shape,
    )
    np.testing.assert_allclose(again.factor, there.factor, rtol=1e-9)
    np.testing.assert_allclose(again.offset, there.offset, atol=1e-6)
    mask = prepared.brain & (np.random.default_rng(number).random(shape) > 0.5)
    np.testing.assert_array_equal(again.mask_to_input(mask), there.mask_to_input(mask))
    if spacing >= 4:
        np.testing.assert_array_equal(again.mask_to_model(again.mask_to_input(mask)), mask)


# Several channels


def two_channels(second: Image) -> Case:
    return Case("case", {"T1w": phantom_image(), "PD": second})


def test_a_second_image_on_the_same_grid_is_a_second_channel_in_the_order_of_the_card() -> None:
    first, second = phantom_image(), replace(phantom_image(name="flair"), array=1000 - phantom_image().array)
    prepared = prepare(two_channels(second), card_of(COARSE, "PD", "T1w"))
    alone = prepared_on(first, COARSE)
    assert prepared.channels.shape == (2, *alone.brain.shape) and prepared.warnings == alone.warnings
    np.testing.assert_array_equal(prepared.channels[1], alone.channels[0])
    np.testing.assert_allclose(prepared.channels[0][prepared.brain], -alone.channels[0][alone.brain], atol=1e-3)
    home = prepared.restore(Layer.intensity(prepared.channels[0]), channel=0).read()
    unclipped = (first.array > 0) & (first.array < 405)
    np.testing.assert_allclose(home[unclipped], second.array[unclipped], rtol=1e-3)


def test_a_second_image_on_another_grid_is_resampled_onto_the_first_and_that_is_told() -> None:
    fine = phantom_image((80, 96, 80), 2.0, "flair")
    prepared = prepare(two_channels(fine), card_of(COARSE, "T1w", "PD"))
    assert prepared.warnings[-1] == "flair was resampled onto the grid of phantom."
    first, second = prepared.channels[:, ndimage.binary_erosion(prepared.brain, iterations=2)]
    assert np.corrcoef(first, second)[0, 1] > 0.98


def test_the_background_of_a_second_image_does_not_bleed_into_its_rim_on_another_grid() -> None:
    first = phantom_image()
    second = replace(first, name="flair", affine=first.affine @ shift(0.4, -0.3, 0.5))
    second = replace(second, array=np.where(first.array > 0, first.array + 1000, 0))
    prepared = prepare(two_channels(second), card_of(COARSE, "T1w", "PD"))
    values = prepared.unscaled(prepared.channels[1], 1)[prepared.brain]
    scaled = prepared.channels[1][prepared.brain]
    inside = second.array[first.array > 0]
    # A voxel of the rim in which half were background would hold about 650.
    assert scaled.min() > -3 and inside.min() - 1 <= values.min() and values.max() <= inside.max() + 1


def shift(*voxels: float) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = voxels
    return matrix


def test_two_images_whose_brains_hardly_meet_are_told_of() -> None:
    first = phantom_image()
    moved = replace(first, name="flair", affine=first.affine @ shift(12, 0, 0))
    warnings = prepare(two_channels(moved), card_of(COARSE, "T1w", "PD")).warnings
    lacking = 1 - np.count_nonzero(first.array[12:] * first.array[:-12]) / np.count_nonzero(first.array)
    number = int(re.search(r"flair shows nothing in (\d+) % of the brain of phantom; are they", warnings[-1]).group(1))
    assert number == pytest.approx(100 * lacking, abs=2)


def test_an_image_that_the_model_does_not_take_is_refused() -> None:
    words = "case: model toy needs PD alone; leave out T1w"
    with pytest.raises(UserError, match=words):
        prepare(two_channels(phantom_image()), card_of(COARSE, "PD"))


def test_a_second_image_elsewhere_in_space_is_refused() -> None:
    elsewhere = phantom_image(name="flair")
    elsewhere = replace(elsewhere, affine=elsewhere.affine + np.array([[0, 0, 0, 500.0]] + [[0, 0, 0, 0.0]] * 3))
    with pytest.raises(UserError, match="flair and phantom do not lie in the same place"):
        prepare(two_channels(elsewhere), card_of(COARSE, "T1w", "PD"))


def test_a_channel_that_is_missing_is_named() -> None:
    case = Case("case", {"T1w": phantom_image()})
    words = r"case: model toy needs the input PD \(T1w was given\); add --input PD=FILE"
    with pytest.raises(UserError, match=words):
        prepare(case, card_of(COARSE, "T1w", "PD"))


def test_a_model_with_one_channel_takes_the_only_image_whatever_its_name() -> None:
    prepared = prepare(Case("case", {"anything": phantom_image()}), card_of(COARSE, "PD"))
    np.testing.assert_array_equal(prepared.channels, prepared_on(phantom_image(), COARSE).channels)


# Slices


def test_a_model_of_slices_gets_as_many_as_the_brain_has() -> None:
    image = phantom_image((80, 96, 60), 2.0)
    grid = CardGrid(4.0, (48, 48), slice_spacing=5.0)
    prepared = prepared_on(image, grid)
    assert prepared.spacing == pytest.approx((4.0, 4.0, 5.0))
    assert prepared.channels.shape[:3] == (1, 48, 48)
    box = ndimage.find_objects(prepared.brain.astype(int))[0]
    assert prepared.brain.shape[2] - 2 <= box[2].stop - box[2].start <= prepared.brain.shape[2]
    np.testing.assert_allclose(
        centroid(prepared.brain, prepared.affine), centroid(image.array > 0, image.affine), atol=1
    )
    assert dice(mask_home(prepared, prepared.brain), image.array > 0) > 0.93
