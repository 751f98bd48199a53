"""Changes of pose and contrast before a brain is learned from."""

from __future__ import annotations

import numpy as np
import pytest

from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.preprocessing.intensity import BACKGROUND, zscore_clip3
from IterMask3DLib.training.augmentation import Flip, LightChanges, QuarterTurns, Unchanged
from IterMask3DLib.training.synthetic import described
from Testing.training.toys import toy_options

SPACING = (2.0, 2.0, 2.0)


def ball(shape: tuple[int, ...] = (32, 48, 40), channels: int = 1) -> Healthy:
    """A ball, or a disc, with waves inside."""
    centre = (np.array(shape) - 1).reshape(-1, *[1] * len(shape)) / 2
    brain = ((np.indices(shape) - centre) ** 2).sum(axis=0) <= 100
    waves = [np.where(brain, 100 + 20 * np.sin(np.indices(shape)[1] / (2 + c)), 0) for c in range(channels)]
    return Healthy(np.stack([zscore_clip3(wave, brain)[0] for wave in waves]), brain, SPACING[: len(shape)])


def box(shape: tuple[int, ...], where: tuple[slice, ...]) -> Healthy:
    volume = np.zeros(shape, dtype=np.float32)
    volume[where] = 2
    return Healthy(volume[None], np.ones(shape, dtype=bool), SPACING[: len(shape)])


def test_light_changes_keep_the_background_and_a_ball_a_ball() -> None:
    change = LightChanges(flip=1.0, affine=1.0, degrees=30, scale=0.15, gamma=0.3)
    for seed in range(10):
        out = change(ball(channels=2), np.random.default_rng(seed))
        inside = out.brain
        axes = range(inside.ndim)
        extents = [np.ptp(np.flatnonzero(inside.any(axis=tuple(a for a in axes if a != axis)))) for axis in axes]
        assert max(extents) - min(extents) <= 2
        assert 4189 * np.exp(-3 * 0.16) < inside.sum() < 4189 * np.exp(3 * 0.16)
        for channel in out.channels:
            assert (channel[~inside] == BACKGROUND).all()
            assert channel[inside].mean() == pytest.approx(0, abs=0.02)
            assert channel[inside].std() == pytest.approx(1, abs=0.03)


def test_light_changes_of_a_slice_keep_it_on_the_scale_of_its_volume() -> None:
    change = LightChanges(flip=1.0, affine=1.0, degrees=30, scale=0.15, gamma=0.3)
    disc = ball((48, 40), channels=2)
    # A slice that is brighter than the mean of its volume.
    bright = Healthy(
        np.where(disc.brain, disc.channels / 2 + 1, BACKGROUND).astype(np.float32), disc.brain, disc.spacing
    )
    for seed in range(10):
        out = change(bright, np.random.default_rng(seed))
        assert out.channels.shape == (2, 48, 40) and 200 < out.brain.sum() < 480
        assert (out.channels[:, ~out.brain] == BACKGROUND).all()
        assert 0.5 < out.channels[:, out.brain].mean() < 1.5 and out.channels.max() <= 3


def test_a_turned_brain_has_no_dark_rim() -> None:
    brain = ball().brain
    # One value inside but for a voxel: interpolation with the background would darken the rim.
    volume = np.where(brain, np.float32(1), np.float32(BACKGROUND))
    volume[16, 24, 20] = 2
    change = LightChanges(flip=0, affine=1, degrees=20, scale=0, gamma=0)
    out = change(Healthy(volume[None], brain, SPACING), np.random.default_rng(3))
    values = out.channels[0][out.brain]
    assert values.min() == pytest.approx(np.median(values), abs=1e-3)


@pytest.mark.parametrize(
    "given",
    [
        box((32, 64, 40), (slice(14, 18), slice(12, 52), slice(18, 22))),
        box((32, 64), (slice(14, 18), slice(12, 52))),
    ],
)
def test_a_turn_is_by_the_same_angle_in_a_grid_that_is_no_cube(given: Healthy) -> None:
    change = LightChanges(flip=0, affine=1.0, degrees=25, scale=0, gamma=0)
    for seed in range(5):
        out = change(given, np.random.default_rng(seed)).channels[0]
        points = np.argwhere(out > (np.median(out) + out.max()) / 2)
        along = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
        assert np.ptp((points - points.mean(axis=0)) @ along) == pytest.approx(40, abs=3.5)


def test_published_turns_are_quarters_in_the_plane_of_the_first_and_last_axis_as_often_as_published() -> None:
    given = ball((40, 48, 40))
    given.channels[0, 5, 24, 20] = 2.5
    places = []
    for seed in range(400):
        out = QuarterTurns()(given, np.random.default_rng(seed))
        assert out.brain.sum() == given.brain.sum()
        places.append(tuple(int(i) for i in np.argwhere(out.channels[0] == 2.5)[0]))
    turned = [place for place in places if place != (5, 24, 20)]
    assert set(turned) == {(19, 24, 5), (34, 24, 19), (20, 24, 34)}
    assert 20 <= len(turned) <= 62


def test_a_flip_mirrors_image_and_brain_left_to_right_half_of_the_time() -> None:
    given = box((6, 4, 4), (slice(0, 1), slice(None), slice(None)))
    given.brain[5] = False
    flipped = 0
    for seed in range(100):
        out = Flip()(given, np.random.default_rng(seed))
        if not out.brain[0].any():
            flipped += 1
            assert (out.channels[0, 5] == 2).all()
        else:
            assert out is given
    assert 35 <= flipped <= 65


def test_the_high_frequency_image_of_a_turned_volume_is_the_turned_one() -> None:
    volume = ball((40, 48, 40)).channels[0]
    turned = high_frequency(np.ascontiguousarray(np.rot90(volume, 1, (0, 2))), SPACING)
    # Turned about the middle of a voxel grid of even size, so the spectrum's phase is, too.
    np.testing.assert_allclose(turned, np.rot90(high_frequency(volume, SPACING), 1, (0, 2)), atol=0.2)


def test_without_augmentation_a_brain_stays_itself_and_the_card_has_the_numbers() -> None:
    given = ball()
    assert Unchanged()(given, np.random.default_rng(0)) is given
    assert described(toy_options(augmentation="none")) == {"name": "none"}
    assert described(toy_options(augmentation="published")) == {"name": "published", "probability": 0.1}
    assert described(toy_options(augmentation="light"))["degrees"] == 8.0
