"""Scanners: blur, thick slices, bias fields, noise and erosion are what they state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from IterMask3DLib.training.scanners import Scanner, Scanners, draw_scanner, scanned, with_noise
from Testing.training.tissues import ball, tissues

QUIET = Scanner(0.0, None, (0.0,) * 20, 0.0, 0.0, False)


def test_a_quiet_scanner_changes_nothing() -> None:
    volume, brain = tissues()
    seen, left = scanned(volume, brain, 2.0, QUIET)
    np.testing.assert_allclose(seen, volume, atol=1e-4)
    np.testing.assert_array_equal(left, brain)
    np.testing.assert_allclose(with_noise(volume, brain, QUIET, np.random.default_rng(0)), volume, atol=1e-4)


def test_blur_is_a_gaussian_average_inside_the_brain() -> None:
    volume, brain = tissues()
    seen, _ = scanned(volume, brain, 2.0, replace(QUIET, blur_mm=1.2))
    above, below = (ndimage.gaussian_filter(each.astype(np.float64), 0.6) for each in (volume * brain, brain))
    np.testing.assert_allclose(seen[brain], above[brain] / below[brain], rtol=1e-4)
    assert not seen[~brain].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_thick_slices_are_averages_with_straight_lines_between(axis: int) -> None:
    ramp = 10 + np.moveaxis(np.broadcast_to(np.arange(32.0), (32, 32, 32)), 2, axis).astype(np.float32)
    seen, _ = scanned(ramp, np.ones(ramp.shape, dtype=bool), 1.0, replace(QUIET, slices=(axis, 4.0)))
    line = np.moveaxis(seen, axis, 2)[3, 5]
    # A ramp stays a ramp between the middles of the first and the last slice; 4 voxels make 11.5, 15.5, …
    np.testing.assert_allclose(line[2:30], 10 + np.arange(2, 30), atol=1e-4)
    np.testing.assert_allclose(line[:2], 11.5, atol=1e-4)
    row = np.ones(16, dtype=np.float32)
    row[5] = 8
    volume = np.ascontiguousarray(np.moveaxis(np.broadcast_to(row, (16, 16, 16)), 2, axis))
    seen, _ = scanned(volume, np.ones(volume.shape, dtype=bool), 1.0, replace(QUIET, slices=(axis, 4.0)))
    # The bright voxel makes its slice (1 + 1 + 1 + 8) / 4; an eighth of the way to the next is the nearest voxel.
    assert np.moveaxis(seen, axis, 2)[0, 0].max() == pytest.approx(1 + 7 / 4 * 0.875)


def test_the_bias_field_has_the_spread_that_was_drawn_and_noise_its_own() -> None:
    brain = ball()
    volume = np.where(brain, 100, 0).astype(np.float32)
    weights_ = tuple(np.random.default_rng(0).standard_normal(20))
    seen, _ = scanned(volume, brain, 2.0, replace(QUIET, bias=weights_, bias_spread=0.15))
    assert np.log(seen[brain] / 100).std() == pytest.approx(0.15, rel=1e-3)
    assert np.log(seen[brain] / 100).mean() == pytest.approx(0, abs=1e-3)
    two = np.where(ball(9), 200, volume).astype(np.float32)
    noisy = with_noise(two, brain, replace(QUIET, noise=0.1), np.random.default_rng(0))
    assert (noisy - two)[brain].std() == pytest.approx(0.1 * two[brain].std(), rel=0.03) and not noisy[~brain].any()
    # Rician: where there is no signal it is Rayleigh noise, whose mean is sqrt(pi / 2) standard deviations.
    dark = np.where(ball(9), 200, 0).astype(np.float32)
    noisy = with_noise(dark, brain, replace(QUIET, noise=0.1), np.random.default_rng(0))
    spread = 0.1 * dark[brain].std()
    assert noisy[brain & ~ball(9)].mean() == pytest.approx(np.sqrt(np.pi / 2) * spread, rel=0.03)


def test_scanners_are_drawn_within_their_ranges_as_often_as_said_and_erode_by_a_voxel() -> None:
    drawn = [draw_scanner(Scanners(), np.random.default_rng(seed)) for seed in range(600)]
    assert all(s.blur_mm == 0 or 0.5 <= s.blur_mm <= 1.4 for s in drawn)
    assert all(s.slices is None or 3 <= s.slices[1] <= 6 for s in drawn)
    assert all(s.bias_spread == 0 or 0.02 <= s.bias_spread <= 0.18 for s in drawn)
    shares = np.mean([(s.blur_mm > 0, s.slices is not None, s.eroded) for s in drawn], axis=0)
    assert shares.tolist() == pytest.approx([0.7, 0.4, 0.25], abs=0.06)
    volume, brain = tissues()
    _, left = scanned(volume, brain, 2.0, replace(QUIET, eroded=True))
    np.testing.assert_array_equal(left, ndimage.binary_erosion(brain))
