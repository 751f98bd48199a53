"""The loop against the published numbers, and what its callers rely on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from IterMask3DLib.core.image import Result, Step
from IterMask3DLib.methods.itermask3d.threshold import CurveSettings, fit_curve
from IterMask3DLib.methods.itermask3d.loop import Settings, fast_points, refine, regrown, result_of, shrink, sweep
from Testing.engine.published import NUMBERS, mean_filter, no_noise, published_case

CASE = published_case()
PUBLISHED = {
    "loop_gamma0.05_lim10_brain": Settings(),
    "loop_gamma0.2_lim10_brain": Settings(CurveSettings(gamma=0.2)),
    "loop_gamma0.05_lim10_best": Settings(start="best"),
    "loop_gamma0.01_lim10_brain": Settings(CurveSettings(gamma=0.01)),
    "loop_gamma0.05_lim3_brain": Settings(CurveSettings(y_limit=3, published_fallback=True)),
}


def run(settings: Settings) -> tuple[Result, list[Step]]:
    steps: list[Step] = []
    return result_of(refine(CASE, mean_filter, settings, no_noise), steps.append), steps


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_loop_has_the_published_numbers(name: str) -> None:
    wanted = NUMBERS[name]
    result, steps = run(PUBLISHED[name])
    curve = result.curve
    assert list(curve.thresholds[:5]) == pytest.approx(wanted["thres_all_first5"], abs=1e-4)
    at = [24, 49, 74, 89, 97, 98, 99]
    assert list(curve.thresholds[at]) == pytest.approx(wanted["thres_all_[24,49,74,89,97,98,99]"], abs=1e-4)
    a, b = wanted["fit"]["a"], wanted["fit"]["b"]
    np.testing.assert_allclose(curve.fit, a * np.tan(b * np.arange(1, 101)), atol=1e-4, rtol=1e-4)
    assert curve.r_squared == pytest.approx(wanted["r_squared"], abs=1e-4)
    assert list(curve.derivative[[0, 25, 50, 75]]) == pytest.approx(wanted["df[0,25,50,75]"], abs=1e-4)
    assert curve.chosen == wanted["stop_k"] and curve.threshold == pytest.approx(wanted["thres_final"], abs=1e-4)
    assert result.mask_size == result.mask.sum() == wanted["final_mask_voxels"]
    assert result.reconstruction.mean() == pytest.approx(wanted["recon_mean"], abs=1e-4)
    # The published code draws noise once more than it looks.
    assert len(steps) == wanted["noise_draws"] - 1


def test_the_mended_fallback_does_not_take_the_lowest_threshold_by_accident() -> None:
    assert run(Settings(CurveSettings(y_limit=3)))[0].curve.chosen > 0


def test_mask_heatmap_and_reconstruction_belong_together() -> None:
    result, steps = run(Settings())
    np.testing.assert_array_equal(result.mask, result.heatmap > np.float32(result.curve.threshold))
    np.testing.assert_allclose(result.heatmap, np.square(result.reconstruction - CASE.volume) * CASE.brain, rtol=1e-6)
    np.testing.assert_array_equal(steps[-1].mask.unpack(), result.mask)
    assert result.mean_error == pytest.approx(result.heatmap[CASE.brain].mean(), rel=1e-5)


def test_every_step_says_what_it_did() -> None:
    _, steps = run(Settings())
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert [step.phase for step in steps] == ["sweep"] * 100 + ["shrink"] * (len(steps) - 100)
    for step in (steps[0], steps[57], steps[-1]):
        assert step.masked_fraction == pytest.approx(step.mask.unpack().sum() / CASE.brain.sum())
    # Pass t lifts the mask from t percent of the brain.
    assert steps[29].masked_fraction == pytest.approx(0.70, abs=1e-3)


def test_a_closed_run_looks_no_more_and_keeps_what_it_yielded() -> None:
    looks = []

    def counted(channels: torch.Tensor) -> torch.Tensor:
        looks.append(1)
        return mean_filter(channels)

    steps = refine(CASE, counted, Settings(), no_noise)
    first, second = next(steps), next(steps)
    steps.close()
    assert len(looks) == 2
    assert first.mask.unpack().sum() > second.mask.unpack().sum() > 0
    assert second.error_map().shape == CASE.volume.shape


def test_a_kept_step_keeps_its_mask_but_no_volumes() -> None:
    steps = refine(CASE, mean_filter, Settings(), no_noise)
    first = next(steps)
    expected = np.square(first.reconstruction() - CASE.volume) * CASE.brain
    np.testing.assert_allclose(first.error_map(), expected, rtol=1e-6)
    next(steps)
    with pytest.raises(RuntimeError, match="step 1 are gone"):
        first.error_map()
    assert first.mask.unpack().any()


def test_a_seed_repeats_a_run_bit_for_bit_and_another_one_does_not() -> None:
    settings = Settings(passes=10)
    first, second, other = (result_of(refine(CASE, mean_filter, replace(settings, seed=seed))) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.heatmap, second.heatmap)
    assert np.abs(first.heatmap - other.heatmap).max() > 0


def test_the_shrink_phase_can_be_run_again_from_a_sweep() -> None:
    settings = Settings(CurveSettings(gamma=0.1), seed=2)
    whole = result_of(refine(CASE, mean_filter, settings))
    swept = result_of(sweep(CASE, mean_filter, settings))
    curve, _ = fit_curve(swept.thresholds, settings.curve)
    again = result_of(shrink(CASE, mean_filter, curve, settings, CASE.brain, first=101))
    np.testing.assert_array_equal(again.heatmap, whole.heatmap)
    assert again.shrink == whole.shrink


def test_each_volume_gets_its_own_thresholds() -> None:
    darker = replace(CASE, volume=CASE.volume * np.float32(0.5))
    results = [result_of(refine(case, mean_filter, Settings(), no_noise)) for case in (CASE, darker, CASE)]
    np.testing.assert_allclose(results[1].curve.thresholds, results[0].curve.thresholds / 4, rtol=1e-4)
    np.testing.assert_array_equal(results[2].curve.thresholds, results[0].curve.thresholds)


def test_a_perfect_reconstruction_leaves_no_mask() -> None:
    truth = torch.from_numpy(CASE.volume)
    result, steps = result_of(refine(CASE, lambda channels: truth, Settings(passes=5))), 5
    assert result.mask_size == 0 and len(result.shrink) == 1 and steps == 5


def test_the_shrink_phase_ends_at_its_bound_and_says_so() -> None:
    settings = Settings(max_shrink=2)
    result, steps = run(settings)
    assert len(steps) == 102 and "still shrinking after 2 passes" in result.warnings[-1]


def test_a_sweep_of_all_points_is_the_published_one() -> None:
    every, published = (result_of(sweep(CASE, mean_filter, Settings(visited=v))) for v in (tuple(range(1, 101)), None))
    np.testing.assert_array_equal(every.thresholds, published.thresholds)
    for one, other in zip(every.masks, published.masks, strict=True):
        np.testing.assert_array_equal(one.bits, other.bits)


def test_a_fast_sweep_takes_a_fifth_of_the_passes_and_finds_the_same_anomaly() -> None:
    full, _ = run(Settings())
    fast, steps = run(Settings(visited=fast_points(100)))
    assert len([step for step in steps if step.phase == "sweep"]) == len(fast_points(100)) <= 20
    assert len(fast.curve.thresholds) == 100 and (np.diff(fast.curve.thresholds) >= 0).all()
    overlap = 2 * (full.mask & fast.mask).sum() / (full.mask_size + fast.mask_size)
    assert overlap >= 0.98


def test_a_fast_sweep_visits_the_first_and_the_last_point_whatever_their_number() -> None:
    for passes in (1, 2, 7, 40, 100, 250):
        points = fast_points(passes)
        assert points[0] == 1 and points[-1] == passes and list(points) == sorted(set(points))


def test_every_point_of_a_fast_sweep_has_a_mask_to_start_from() -> None:
    swept = result_of(sweep(CASE, mean_filter, Settings(visited=fast_points(100))))
    sizes = [mask.unpack().sum() for mask in swept.masks]
    assert len(sizes) == 100 and sizes == sorted(sizes, reverse=True)


def test_only_regions_with_something_left_are_regrown() -> None:
    seeds, extent = np.zeros((8, 8, 8), dtype=bool), np.zeros((8, 8, 8), dtype=bool)
    seeds[1, 1, 1] = seeds[7, 7, 7] = True
    extent[1:4, 1, 1] = extent[4, 2, 2] = True  # touches the seed, then itself by a corner
    extent[6, 1:3, 6] = True  # touches nothing
    wanted = np.zeros((8, 8, 8), dtype=bool)
    wanted[1:4, 1, 1] = wanted[4, 2, 2] = wanted[7, 7, 7] = True
    np.testing.assert_array_equal(regrown(seeds, extent), wanted)
    assert not regrown(np.zeros_like(seeds), extent).any()


def test_a_regrown_anomaly_holds_the_last_mask_and_what_the_first_look_found_around_it() -> None:
    bare, steps = run(Settings())
    settings = Settings(regrow=1.5)
    grown, _ = run(settings)
    first = steps[100]
    assert first.phase == "shrink"
    swept = result_of(sweep(CASE, mean_filter, settings, no_noise))
    curve, _ = fit_curve(swept.thresholds, settings.curve)
    found = next(shrink(CASE, mean_filter, curve, settings, CASE.brain, no_noise)).error_map() > 1.5 * curve.threshold
    assert not (bare.mask & ~grown.mask).any() and grown.mask_size > bare.mask_size
    assert not (grown.mask & ~(bare.mask | found)).any()
    np.testing.assert_array_equal(grown.heatmap, bare.heatmap)


def test_nothing_is_regrown_beyond_the_mask_that_the_shrink_began_with() -> None:
    curve = run(Settings())[0].curve
    start = CASE.brain & (np.arange(32) < 16)[:, None, None]
    result = result_of(shrink(CASE, mean_filter, curve, Settings(regrow=0.1), start, no_noise))
    outside = result_of(shrink(CASE, mean_filter, curve, Settings(), start, no_noise)).mask & ~start
    assert not (result.mask & ~start & ~outside).any()
