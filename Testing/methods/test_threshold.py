"""The threshold curve against brute force and known tangents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from IterMask3DLib.methods.itermask3d.settings import Settings
from IterMask3DLib.methods.itermask3d.threshold import (
    fit_curve,
    interpolated,
    percentile_threshold,
    smoothed_differences,
)


@pytest.mark.parametrize("t", [1, 13, 50, 99, 100])
def test_the_percentile_is_the_published_selection_over_the_whole_volume(t: int) -> None:
    rng = np.random.default_rng(t)
    errors = rng.exponential(size=777).astype(np.float32)
    voxels = 4000
    rank = max(1, int(voxels - len(errors) * (1 - 0.01 * t)))
    whole = np.sort(np.concatenate((np.zeros(voxels - len(errors), np.float32), errors)))
    assert percentile_threshold(torch.from_numpy(errors), t / 100, voxels) == whole[rank - 1]


def test_with_fewer_voxels_than_passes_the_first_threshold_is_the_background_s() -> None:
    errors = torch.tensor([3.0, 1.0, 2.0])
    assert percentile_threshold(errors, 0.01, 10) == 0.0
    assert percentile_threshold(errors, 1.0, 10) == 3.0
    assert percentile_threshold(errors, 0.01, 3) == 1.0


def test_a_tangent_is_found_again() -> None:
    t = np.arange(1, 101)
    curve, warnings = fit_curve(0.7 * np.tan(0.0145 * t), Settings(gamma=0.05))
    derivative = 0.7 * 0.0145 / np.cos(0.0145 * t) ** 2
    assert curve.used_fit and not warnings and curve.r_squared == pytest.approx(1)
    np.testing.assert_allclose(curve.derivative, derivative, rtol=1e-4)
    assert curve.chosen == np.flatnonzero(derivative > 0.05)[0]


def test_the_smoothed_differences_are_truncated_at_the_ends() -> None:
    values = np.array([2.0, 3.0, 5.0, 4.0, 8.0, 9.0, 15.0])
    for from_zero, first in ((True, 2.0), (False, 1.0)):
        differences = [first, 1.0, 2.0, -1.0, 4.0, 1.0, 6.0]
        wanted = [np.mean(differences[max(0, i - 2) : i + 3]) for i in range(7)]
        np.testing.assert_allclose(smoothed_differences(values, from_zero), wanted)


def test_without_a_steep_point_the_highest_threshold_is_taken_and_told() -> None:
    curve, warnings = fit_curve(np.linspace(0.1, 0.2, 100), Settings(gamma=5.0))
    assert curve.chosen == 99 and "highest threshold" in warnings[-1]


def test_a_curve_above_the_limit_from_the_start_falls_back_without_a_crash() -> None:
    curve, warnings = fit_curve(np.linspace(20, 60, 100), Settings(y_limit=10))
    assert not curve.used_fit and np.isnan(curve.fit).all() and "smoothed differences" in warnings[0]
    assert curve.chosen == 0 and curve.derivative[0] == pytest.approx(40 / 99)


def test_a_multiple_of_the_first_median_follows_the_scale_of_a_volumes_errors() -> None:
    thresholds = np.linspace(0.1, 3, 100) ** 2
    for scale in (1.0, 13.0):
        curve, warnings = fit_curve(scale * thresholds, Settings(median_multiple=2.5), scale * 0.7)
        assert curve.threshold == curve.fixed == pytest.approx(scale * 2.5 * 0.7)
        assert scale * thresholds[curve.chosen - 1] < curve.threshold <= scale * thresholds[curve.chosen]
        assert warnings == ()
    beyond, _ = fit_curve(thresholds, Settings(median_multiple=1000), 0.7)
    assert beyond.chosen == 99 and beyond.threshold == pytest.approx(700)


def test_points_without_a_pass_lie_on_a_rising_curve_through_the_others() -> None:
    t = np.arange(1, 101)
    truth = 0.7 * np.tan(0.0145 * t)
    visited = (1, 20, 50, 80, 95, 100)
    curve = interpolated(visited, [truth[v - 1] for v in visited], 100)
    np.testing.assert_allclose(curve[np.array(visited) - 1], truth[np.array(visited) - 1])
    assert (np.diff(curve) > 0).all() and np.abs(curve - truth).max() < 0.1 * truth.max()
    np.testing.assert_array_equal(interpolated((1,), [2.5], 1), [2.5])
