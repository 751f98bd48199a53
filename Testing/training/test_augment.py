"""Changes of pose and contrast before a volume is masked."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.preprocessing.intensity import BACKGROUND, zscore_clip3
from IterMask3DLib.training.augment import Light, QuarterTurns, described, unchanged


def ball(shape: tuple[int, int, int] = (32, 48, 40)) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    centre = (np.array(shape) - 1)[:, None, None, None] / 2
    brain = ((np.indices(shape) - centre) ** 2).sum(axis=0) <= 100
    return zscore_clip3(np.where(brain, 100 + 20 * np.sin(np.indices(shape)[1] / 2), 0), brain).array, brain


def test_light_changes_keep_the_background_and_a_ball_a_ball() -> None:
    volume, brain = ball()
    change = Light(flip=1.0, affine=1.0, degrees=30, scale=0.15, gamma=0.3)
    for seed in range(10):
        out, inside = change(volume, brain, np.random.default_rng(seed))
        extents = [np.ptp(np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))) for axis in range(3)]
        assert max(extents) - min(extents) <= 2
        assert 4189 * np.exp(-3 * 0.16) < inside.sum() < 4189 * np.exp(3 * 0.16)
        assert (out[~inside] == BACKGROUND).all()
        assert out[inside].mean() == pytest.approx(0, abs=0.02) and out[inside].std() == pytest.approx(1, abs=0.03)


def test_a_turned_brain_has_no_dark_rim() -> None:
    brain = ball()[1]
    # One value inside but for a corner voxel: interpolation with the background would darken the rim.
    volume = np.where(brain, np.float32(1), np.float32(BACKGROUND))
    volume[16, 24, 20] = 2
    out, inside = Light(flip=0, affine=1, degrees=20, scale=0, gamma=0)(volume, brain, np.random.default_rng(3))
    values = out[inside]
    assert values.min() == pytest.approx(np.median(values), abs=1e-3)


def test_a_turn_is_by_the_same_angle_in_a_grid_that_is_no_cube() -> None:
    volume, brain = np.zeros((32, 64, 40), dtype=np.float32), np.ones((32, 64, 40), dtype=bool)
    volume[14:18, 12:52, 18:22] = 2
    change = Light(flip=0, affine=1.0, degrees=25, scale=0, gamma=0)
    for seed in range(5):
        out = change(volume, brain, np.random.default_rng(seed))[0]
        points = np.argwhere(out > (out.min() + out.max()) / 2)
        along = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
        assert np.ptp((points - points.mean(axis=0)) @ along) == pytest.approx(40, abs=3.5)


def test_published_turns_are_quarters_in_the_plane_of_axes_0_and_2_as_often_as_published() -> None:
    volume, brain = ball((40, 48, 40))
    volume[5, 24, 20] = 2.5
    places = []
    for seed in range(400):
        out, inside = QuarterTurns()(volume, brain, np.random.default_rng(seed))
        assert inside.sum() == brain.sum()
        places.append(tuple(int(i) for i in np.argwhere(out == 2.5)[0]))
    turned = [place for place in places if place != (5, 24, 20)]
    assert set(turned) == {(19, 24, 5), (34, 24, 19), (20, 24, 34)}
    assert 20 <= len(turned) <= 62


def test_the_high_frequency_image_of_a_turned_volume_is_the_turned_one() -> None:
    volume, _ = ball((40, 48, 40))
    turned = high_frequency(np.ascontiguousarray(np.rot90(volume, 1, (0, 2))), (2, 2, 2))
    # Turned about the middle of a voxel grid of even size, so the spectrum's phase is, too.
    np.testing.assert_allclose(turned, np.rot90(high_frequency(volume, (2, 2, 2)), 1, (0, 2)), atol=0.2)


def test_without_augmentation_a_volume_stays_itself_and_the_card_is_told_the_numbers() -> None:
    volume, brain = ball()
    assert unchanged(volume, brain, np.random.default_rng(0))[0] is volume
    assert described("none") == {"name": "none"}
    assert described("published") == {"name": "published", "probability": 0.1}
    assert described("light")["degrees"] == 8.0
