"""The loop against the published numbers, and what its callers rely on."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from IterMask3DLib.core.artifacts import MaskHistory, ThresholdCurve
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.core.request import ByGamma, ByPoint, Request
from IterMask3DLib.core.result import ANOMALY, ERROR_MAP, HEATMAP, MASK, RECONSTRUCTION, Result, Step
from IterMask3DLib.methods.itermask3d.loop import Sweep, choose, first_shrink_draw, grown, shrink, sweep
from IterMask3DLib.methods.itermask3d.masked_reconstruction import MaskedReconstruction, NetworkInput
from IterMask3DLib.methods.itermask3d.settings import Settings, fast_points
from IterMask3DLib.methods.itermask3d.threshold import fit_curve
from IterMask3DLib.runtime.noise import Noise, seeded_noise
from IterMask3DLib.runtime.runner import Network
from Testing.methods.published import NUMBERS, mean_filter, no_noise, published_volume

GIVEN = published_volume()
PUBLISHED = {
    "loop_gamma0.05_lim10_brain": Settings(),
    "loop_gamma0.2_lim10_brain": Settings(gamma=0.2),
    "loop_gamma0.05_lim10_best": Settings(start="best"),
    "loop_gamma0.01_lim10_brain": Settings(gamma=0.01),
    "loop_gamma0.05_lim3_brain": Settings(y_limit=3),
}


def returned(steps: Generator[Step, None, Any], seen: list[Step] | None = None) -> Any:
    """What a generator of steps returns at its end."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        if seen is not None:
            seen.append(step)


def swept(settings: Settings, given: NetworkInput = GIVEN, network: Network = mean_filter) -> Sweep:
    return returned(sweep(MaskedReconstruction(given, network, no_noise, settings.smoothing_mm), settings))


@cache
def run(
    settings: Settings, network: Network = mean_filter, noise: Noise = no_noise, from_zero: bool = False
) -> tuple[Result, list[Step]]:
    """Both phases, as the method runs them. `from_zero`: with the public code's fall-back of the curve."""
    passes, steps = MaskedReconstruction(GIVEN, network, noise, settings.smoothing_mm), []
    found = returned(sweep(passes, settings), steps)
    curve, warnings = choose(found, settings)
    if from_zero:
        curve, warnings = fit_curve(found.thresholds, settings, found.median, from_zero=True)
    start = GIVEN.brain if settings.start == "brain" else found.mask_at(curve.chosen)
    result = returned(shrink(passes, curve, settings, start, first_shrink_draw(settings), warnings, found), steps)
    return result, steps


def shrunk(settings: Settings, curve: ThresholdCurve, start: BoolVolume, draw: int = 101) -> Result:
    return returned(shrink(MaskedReconstruction(GIVEN, mean_filter, no_noise), curve, settings, start, draw))


def curve_of(result: Result) -> ThresholdCurve:
    return next(artifact for artifact in result.artifacts if isinstance(artifact, ThresholdCurve))


def history_of(result: Result) -> MaskHistory:
    return next(artifact for artifact in result.artifacts if isinstance(artifact, MaskHistory))


def layer(result: Result, name: str) -> np.ndarray:
    return result.layers[name].read()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_loop_has_the_published_numbers(name: str) -> None:
    wanted = NUMBERS[name]
    result, steps = run(PUBLISHED[name], from_zero="lim3" in name)
    curve = curve_of(result)
    assert list(curve.thresholds[:5]) == pytest.approx(wanted["thres_all_first5"], abs=1e-4)
    at = [24, 49, 74, 89, 97, 98, 99]
    assert list(curve.thresholds[at]) == pytest.approx(wanted["thres_all_[24,49,74,89,97,98,99]"], abs=1e-4)
    a, b = wanted["fit"]["a"], wanted["fit"]["b"]
    np.testing.assert_allclose(curve.fit, a * np.tan(b * np.arange(1, 101)), atol=1e-4, rtol=1e-4)
    assert curve.r_squared == pytest.approx(wanted["r_squared"], abs=1e-4)
    assert list(curve.derivative[[0, 25, 50, 75]]) == pytest.approx(wanted["df[0,25,50,75]"], abs=1e-4)
    assert curve.chosen == wanted["stop_k"] and curve.threshold == pytest.approx(wanted["thres_final"], abs=1e-4)
    assert result.scalars["mask_size"] == layer(result, ANOMALY).sum() == wanted["final_mask_voxels"]
    assert layer(result, RECONSTRUCTION).mean() == pytest.approx(wanted["recon_mean"], abs=1e-4)
    # The published code draws noise once more than it makes passes.
    assert len(steps) == wanted["noise_draws"] - 1


def test_the_mended_fallback_does_not_take_the_lowest_threshold_by_accident() -> None:
    assert curve_of(run(Settings(y_limit=3))[0]).chosen > 0


def test_mask_heatmap_and_reconstruction_belong_together() -> None:
    result, steps = run(Settings())
    heatmap = layer(result, HEATMAP)
    np.testing.assert_array_equal(layer(result, ANOMALY), heatmap > np.float32(curve_of(result).threshold))
    wanted = np.square(layer(result, RECONSTRUCTION) - GIVEN.volume) * GIVEN.brain
    np.testing.assert_allclose(heatmap, wanted, rtol=1e-6)
    np.testing.assert_array_equal(steps[-1].layers[MASK].read(), layer(result, ANOMALY))
    assert result.case_score == result.scalars["mean_error"] == pytest.approx(heatmap[GIVEN.brain].mean(), rel=1e-5)


def test_every_step_says_what_it_did() -> None:
    result, steps = run(Settings())
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert [step.phase for step in steps] == ["sweep"] * 100 + ["shrink"] * (len(steps) - 100)
    for step in (steps[0], steps[57], steps[-1]):
        assert step.scalars["masked_fraction"] == pytest.approx(step.layers[MASK].read().sum() / GIVEN.brain.sum())
        assert ("unmasked_fraction" in step.scalars) == (step.phase == "shrink")
    # Pass t unmasks t percent of the brain.
    assert steps[29].scalars["masked_fraction"] == pytest.approx(0.70, abs=1e-3)
    history = history_of(result)
    assert history.ratios == tuple(step.scalars["unmasked_fraction"] for step in steps[100:])
    assert history.sizes == tuple(int(step.layers[MASK].read().sum()) for step in steps[100:])


def test_the_expected_total_comes_true_at_the_end() -> None:
    steps = run(Settings())[1]
    assert 100 < steps[0].expected_total == steps[99].expected_total < 110
    assert all(step.expected_total >= step.number for step in steps)


def test_a_closed_run_makes_no_more_passes_and_keeps_what_it_yielded() -> None:
    passes_made = []

    def counted(channels: torch.Tensor) -> torch.Tensor:
        passes_made.append(1)
        return mean_filter(channels)

    steps = sweep(MaskedReconstruction(GIVEN, counted, no_noise), Settings())
    first, second = next(steps), next(steps)
    steps.close()
    assert len(passes_made) == 2
    assert first.layers[MASK].read().sum() > second.layers[MASK].read().sum() > 0
    assert second.layers[ERROR_MAP].read().shape == GIVEN.volume.shape


def test_a_kept_step_keeps_its_mask_but_no_volumes() -> None:
    steps = sweep(MaskedReconstruction(GIVEN, mean_filter, no_noise), Settings())
    first = next(steps)
    wanted = np.square(first.layers[RECONSTRUCTION].read() - GIVEN.volume) * GIVEN.brain
    np.testing.assert_allclose(first.layers[ERROR_MAP].read(), wanted, rtol=1e-6)
    next(steps)
    with pytest.raises(RuntimeError, match="step 1 are gone"):
        first.layers[ERROR_MAP].read()
    assert first.layers[MASK].read().any()


def test_a_seed_repeats_a_run_bit_for_bit_and_another_one_does_not() -> None:
    settings = Settings(sweep_passes=10)
    first, second, other = (layer(run(settings, noise=seeded_noise(seed))[0], HEATMAP) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0


def test_the_shrink_phase_can_be_run_again_from_a_sweep_that_was_kept() -> None:
    settings = Settings(gamma=0.1)
    whole, _ = run(settings, noise=seeded_noise(2))
    curve, _ = choose(whole.state, settings)
    passes = MaskedReconstruction(GIVEN, mean_filter, seeded_noise(2))
    again = returned(shrink(passes, curve, settings, GIVEN.brain, first_shrink_draw(settings)))
    np.testing.assert_array_equal(layer(again, HEATMAP), layer(whole, HEATMAP))
    assert history_of(again) == history_of(whole)


def test_the_noise_of_the_shrink_phase_does_not_depend_on_how_many_passes_the_sweep_took() -> None:
    full, fast = Settings(), Settings(visited=fast_points(100))
    assert first_shrink_draw(full) == first_shrink_draw(fast) == 101
    assert first_shrink_draw(full, passes_before=3) == 104


def test_each_volume_gets_its_own_thresholds() -> None:
    darker = replace(GIVEN, volume=GIVEN.volume * np.float32(0.5))
    settings = Settings(sweep_passes=20)
    first, second, third = (swept(settings, given).thresholds for given in (GIVEN, darker, GIVEN))
    np.testing.assert_allclose(second, first / 4, rtol=1e-4)
    np.testing.assert_array_equal(third, first)


def test_a_perfect_reconstruction_leaves_no_mask() -> None:
    truth = torch.from_numpy(GIVEN.volume)[None, None]
    result, _ = run(Settings(sweep_passes=5), network=lambda channels: truth)
    assert result.scalars["mask_size"] == 0 and len(history_of(result).sizes) == 1


def test_the_shrink_phase_ends_at_its_bound_and_says_so() -> None:
    result, steps = run(Settings(max_shrink=2))
    assert len(steps) == 102 and "still shrinking after 2 passes" in result.warnings[-1]


def test_a_run_that_is_stopped_in_the_shrink_phase_has_the_result_of_its_last_pass() -> None:
    settings = Settings(region_growing=1.5)
    passes = MaskedReconstruction(GIVEN, mean_filter, no_noise)
    found = returned(sweep(passes, settings))
    curve, _ = choose(found, settings)
    steps = shrink(passes, curve, settings, GIVEN.brain, 101, state=found)
    step = next(steps)
    assert step.stop is not None
    stopped = step.stop()
    steps.close()
    np.testing.assert_array_equal(layer(stopped, ANOMALY), step.layers[MASK].read())
    assert "cancelled" in stopped.warnings[-1] and stopped.state is found
    assert next(sweep(MaskedReconstruction(GIVEN, mean_filter, no_noise), settings)).stop is None


def test_a_sweep_of_all_points_is_the_published_one() -> None:
    every, published = (swept(Settings(visited=v)) for v in (tuple(range(1, 101)), None))
    np.testing.assert_array_equal(every.thresholds, published.thresholds)
    for one, other in zip(every.masks, published.masks, strict=True):
        np.testing.assert_array_equal(one.bits, other.bits)


def test_a_fast_sweep_takes_a_fifth_of_the_passes_and_finds_the_same_anomaly() -> None:
    full, _ = run(Settings())
    fast, steps = run(Settings(visited=fast_points(100)))
    assert len([step for step in steps if step.phase == "sweep"]) == len(fast_points(100)) <= 20
    curve = curve_of(fast)
    assert len(curve.thresholds) == 100 and (np.diff(curve.thresholds) >= 0).all()
    one, other = layer(full, ANOMALY), layer(fast, ANOMALY)
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) >= 0.98


def test_a_fast_sweep_visits_the_first_and_the_last_point_whatever_their_number() -> None:
    for passes, decides in itertools.product((1, 2, 7, 40, 100, 250), (True, False)):
        points = fast_points(passes, decides)
        assert points[0] == 1 and points[-1] == passes and list(points) == sorted(set(points))


def test_every_point_of_a_fast_sweep_has_a_mask_to_start_from() -> None:
    found = swept(Settings(visited=fast_points(100)))
    sizes = [found.mask_at(point).sum() for point in range(100)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]


def test_a_point_can_be_chosen_by_hand_or_by_another_gamma() -> None:
    found, settings = swept(Settings()), Settings(median_multiple=3.0)
    by_hand, _ = choose(found, settings, ByPoint(41))
    assert by_hand.by_hand and by_hand.fixed is None and by_hand.threshold == found.thresholds[41]
    by_gamma, _ = choose(found, settings, ByGamma(0.2))
    assert by_gamma.chosen == NUMBERS["loop_gamma0.2_lim10_brain"]["stop_k"] and by_gamma.fixed is None
    assert choose(found, settings, ByGamma())[0].fixed == pytest.approx(3 * found.median)
    for impossible in (ByPoint(100), ByPoint(-1), ByGamma(float("nan")), ByGamma(-1.0)):
        with pytest.raises(UserError):
            choose(found, settings, impossible)


def test_only_regions_with_something_left_are_grown() -> None:
    seeds, extent = np.zeros((8, 8, 8), dtype=bool), np.zeros((8, 8, 8), dtype=bool)
    seeds[1, 1, 1] = seeds[7, 7, 7] = True
    extent[1:4, 1, 1] = extent[4, 2, 2] = True  # touches the seed, then itself by a corner
    extent[6, 1:3, 6] = True  # touches nothing
    wanted = np.zeros((8, 8, 8), dtype=bool)
    wanted[1:4, 1, 1] = wanted[4, 2, 2] = wanted[7, 7, 7] = True
    np.testing.assert_array_equal(grown(seeds, extent), wanted)
    assert not grown(np.zeros_like(seeds), extent).any()


def test_a_grown_anomaly_holds_the_last_mask_and_what_the_first_pass_found_around_it() -> None:
    bare, _ = run(Settings())
    settings = Settings(region_growing=1.5)
    whole, _ = run(settings)
    threshold = curve_of(whole).threshold
    passes = MaskedReconstruction(GIVEN, mean_filter, no_noise)
    first = next(shrink(passes, curve_of(whole), settings, GIVEN.brain, 101))
    found = first.layers[ERROR_MAP].read() > 1.5 * threshold
    small, large = layer(bare, ANOMALY), layer(whole, ANOMALY)
    assert not (small & ~large).any() and large.sum() > small.sum()
    assert not (large & ~(small | found)).any()
    np.testing.assert_array_equal(layer(whole, HEATMAP), layer(bare, HEATMAP))


def test_nothing_is_grown_beyond_the_mask_that_the_shrink_began_with() -> None:
    curve = curve_of(run(Settings())[0])
    start = GIVEN.brain & (np.arange(32) < 16)[:, None, None]
    large = layer(shrunk(Settings(region_growing=0.1), curve, start), ANOMALY)
    outside = layer(shrunk(Settings(), curve, start), ANOMALY) & ~start
    assert not (large & ~start & ~outside).any()


@pytest.mark.parametrize(
    ("quality", "given", "median_multiple", "visited"),
    [
        ("auto", {}, 12.0, True),
        ("full", {}, 12.0, False),
        ("fast", {}, 12.0, True),
        ("auto", {"gamma": 0.1}, None, False),
        ("fast", {"gamma": 0.1}, None, True),
        ("auto", {"gamma": 0.1, "median_multiple": 5.0}, 5.0, True),
    ],
)
def test_passes_are_left_out_unasked_only_where_they_cannot_change_the_result(
    quality: str, given: dict[str, float], median_multiple: float | None, visited: bool
) -> None:
    settings = replace(Settings(median_multiple=12.0), **given)
    settings = settings.resolved(Request(quality=quality, settings=given))
    assert settings.median_multiple == median_multiple
    assert settings.visited == (fast_points(100, decides=median_multiple is None) if visited else None)
