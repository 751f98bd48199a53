"""The whole-brain inference: every part against numbers made by other means, and the whole on toy brains."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage, optimize

from IterMask3DLib.core.artifacts import SensitivityTable, artifact_from
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Case, Image, PackedMask
from IterMask3DLib.core.request import ByGamma, BySettings, FromMask, Request
from IterMask3DLib.core.result import ANOMALY, ERROR_MAP, HEATMAP, MASK, CaseResult, Step
from IterMask3DLib.evaluation.mean_brain import mean_brain
from IterMask3DLib.methods.itermask3d.hysteresis import SMALL_VOXELS, hysteresis, tightened
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.itermask3d.normative_score import (
    CELLS,
    NORMATIVE_MEAN,
    NORMATIVE_SD,
    NormativeScore,
    standardising,
)
from IterMask3DLib.methods.itermask3d.residual_fit import BrainAverage, RobustFit, in_spreads
from IterMask3DLib.methods.itermask3d.settings import Settings
from IterMask3DLib.methods.itermask3d.symmetry import OtherSide, one_sided
from IterMask3DLib.methods.itermask3d.whole_brain import (
    MEAN_BRAIN_MM,
    Brain,
    WholeBrainPasses,
    WholeBrainScore,
    expected_at,
    normative_count,
    outline,
    shares_of,
)
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.store import save_model
from IterMask3DLib.preprocessing.mean_brain import MeanBrain, mean_brain_shape, mean_of, sums_over
from IterMask3DLib.run import CaseRun, finish, run_case
from IterMask3DLib.runtime.noise import seeded_noise
from Testing.brains import phantom_image, toy_card

SHAPE = (28, 36, 30)


def ellipsoid(shape: tuple[int, int, int] = SHAPE, rim: int = 3) -> np.ndarray:
    places = [(axis - (n - 1) / 2) / (n / 2 - rim) for axis, n in zip(np.indices(shape), shape, strict=True)]
    return sum(place**2 for place in places) <= 1


def box_places(brain: np.ndarray) -> np.ndarray:
    """Each voxel of the brain in its box, -1 to 1 along each axis: [n, 3]."""
    hits = np.argwhere(brain)
    return 2 * (hits - hits.min(0)) / (hits.max(0) - hits.min(0)) - 1


def test_the_fit_is_the_least_squares_fit_of_scipy_where_nothing_stands_out() -> None:
    rng, brain = np.random.default_rng(0), ellipsoid()
    r = np.where(brain, rng.normal(size=SHAPE), 0).astype(np.float32)
    volume = np.where(brain, 0.5 + 0.8 * r + 0.1 * rng.normal(size=SHAPE), 0).astype(np.float32)
    places, values = box_places(brain)[::4], r[brain][::4].astype(np.float64)
    powers = [p for p in itertools.product(range(3), repeat=3) if sum(p) <= 2]
    columns = [np.prod(places**p, axis=1) for p in powers]
    columns += [np.prod(places**p, axis=1) * values for p in powers if sum(p) <= 1]
    terms = np.stack([*columns, values**2], axis=1)
    wanted = optimize.lsq_linear(terms, volume[brain][::4].astype(np.float64)).fun
    found = RobustFit(brain, 1, 2, tukey=1e3).residual(volume, r)
    # The residual of SciPy is fit less values.
    np.testing.assert_allclose(found[brain][::4], -wanted, atol=2e-5)
    assert (found[~brain] == 0).all()


def test_a_bias_field_and_another_contrast_leave_no_residual_and_a_lesion_does() -> None:
    rng, brain = np.random.default_rng(1), ellipsoid()
    r = np.where(brain, ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5) * 5, 0).astype(np.float32)
    x, y, z = (axis / n - 0.5 for axis, n in zip(np.indices(SHAPE), SHAPE, strict=True))
    clean = 2 + 0.3 * y + 0.5 * x * z + (1.5 + 0.4 * x) * r - 0.2 * r**2
    lesion = (np.square(np.indices(SHAPE) - np.array([9, 12, 15])[:, None, None, None]).sum(0) <= 16) & brain
    volume = np.where(brain, clean + 0.02 * rng.normal(size=SHAPE) - 1.0 * lesion, 0).astype(np.float32)
    residual = RobustFit(brain).residual(volume, r)
    np.testing.assert_allclose(residual[lesion].mean(), -1.0, atol=0.03)
    assert np.abs(residual[brain & ~lesion]).mean() < 0.03


def test_spreads_and_averages_are_those_of_numpy_and_of_a_sum_over_the_brain() -> None:
    rng, brain = np.random.default_rng(2), ellipsoid((12, 14, 10), 1)
    values = np.where(brain, rng.normal(3, 2, brain.shape), 0).astype(np.float32)
    inside = values[brain]
    wanted = (inside - np.median(inside)) / (1.4826 * np.median(np.abs(inside - np.median(inside))))
    np.testing.assert_allclose(in_spreads(values, brain)[brain], wanted, rtol=1e-5)
    spacing, sigma = (2.0, 1.5, 2.5), 3.0
    hits = np.argwhere(brain)
    apart = (hits[:, None] - hits[None]) * np.array(spacing)
    radius = [int(4 * sigma / side + 0.5) for side in spacing]
    near = (np.abs(hits[:, None] - hits[None]) <= radius).all(-1)
    weights = np.exp(-0.5 * (apart**2).sum(-1) / sigma**2) * near
    wanted = weights @ inside / weights.sum(1)
    np.testing.assert_allclose(BrainAverage(brain, spacing, sigma)(values)[brain], wanted, rtol=2e-4)


def test_hysteresis_is_the_flood_of_a_brute_force_search() -> None:
    rng = np.random.default_rng(3)
    score = ndimage.gaussian_filter(rng.normal(size=(9, 10, 8)), 1) * 5
    high, low, smallest = 1.5, 0.7, 4
    seen, kept = np.zeros(score.shape, bool), np.zeros(score.shape, bool)
    for start in zip(*np.nonzero(score > low), strict=True):
        if seen[start]:
            continue
        region, waiting = [], [start]
        seen[start] = True
        while waiting:
            place = waiting.pop()
            region.append(place)
            for axis, step in itertools.product(range(3), (-1, 1)):
                other = tuple(n + step * (a == axis) for a, n in enumerate(place))
                inside = all(0 <= n < size for n, size in zip(other, score.shape, strict=True))
                if inside and score[other] > low and not seen[other]:
                    seen[other] = True
                    waiting.append(other)
        if len(region) >= smallest and max(score[place] for place in region) > high:
            kept[tuple(np.transpose(region))] = True
    found = hysteresis(score, high, low, smallest)
    assert kept.any()
    np.testing.assert_array_equal(found, kept)
    assert not hysteresis(score, 1e3, low).any()


def test_normative_scores_are_the_mean_and_sd_of_each_place() -> None:
    rng, brain = np.random.default_rng(4), ellipsoid((34, 66, 58), 1)
    places = (box_places(brain) + 1) / 2
    mean, sd = 1 + places[:, 1], 0.5 + places[:, 2]
    healthy = []
    for _ in range(30):
        score = np.zeros(brain.shape, np.float32)
        score[brain] = mean + sd * rng.normal(size=len(mean))
        healthy.append((score, brain))
    tables = NormativeScore.of(healthy)
    assert tables.mean.shape == tables.sd.shape == CELLS
    score = np.zeros(brain.shape, np.float32)
    score[brain] = mean + 2 * sd
    (standardised,) = standardising([tables], brain)
    found = standardised(score)
    assert abs(np.median(found[brain]) - 2) < 0.1 and np.abs(found[brain] - 2).mean() < 0.25
    assert (found[~brain] == 0).all()


def test_the_other_side_is_found_in_a_turned_head() -> None:
    spacing, shape = (2.0, 2.0, 2.0), (60, 72, 56)
    brain = ellipsoid(shape, 6)
    x, y, z = (axis - (n - 1) / 2 for axis, n in zip(np.indices(shape), shape, strict=True))
    volume = np.where(brain, np.cos(x / 5) + np.sin(y / 6) + np.cos(z / 4 + y / 9), 0)
    spot = np.exp(-((x - 12) ** 2 + (y - 4) ** 2 + (z + 3) ** 2) / 18)
    mirrored = np.exp(-((x + 12) ** 2 + (y - 4) ** 2 + (z + 3) ** 2) / 18)

    def turned(array: np.ndarray) -> np.ndarray:
        moved = ndimage.rotate(array.astype(np.float32), 7, axes=(0, 1), reshape=False, order=1)
        return np.asarray(ndimage.shift(moved, (1.6, 0, 0), order=1), dtype=np.float32)

    tilted = turned(brain.astype(float)) > 0.5
    other = OtherSide(turned(volume), tilted, spacing)(np.where(tilted, turned(spot), 0).astype(np.float32))
    hits, wanted = (np.array(np.unravel_index(each.argmax(), shape)) for each in (other, turned(mirrored)))
    assert np.linalg.norm(hits - wanted) <= 1.8 and other.max() > 0.5
    assert (other[~tilted] == 0).all()


def test_what_is_alike_on_both_sides_is_subtracted_and_never_added() -> None:
    score, other = np.array([3.0, 3.0, -1.0, 2.0]), np.array([3.0, 0.0, -4.0, -1.0])
    np.testing.assert_array_equal(one_sided(score, other), [0, 3, -1, 2])
    np.testing.assert_array_equal(one_sided(score, other, 1.0), np.maximum(one_sided(score, other), score - 1))


def test_noises_come_in_opposite_pairs_and_every_second_pass_is_of_the_mirror_image() -> None:
    brain = ellipsoid()
    volume = np.where(brain, 4 * np.random.default_rng(5).normal(size=SHAPE), -3).astype(np.float32)
    given: list[np.ndarray] = []

    def network(x: np.ndarray) -> np.ndarray:
        """Returns its masked channel: what it was shown comes back."""
        given.append(x[0].copy())
        return x[:, :1].copy()

    passes = WholeBrainPasses(Brain(volume, brain, (2.0,) * 3), Settings(noises=3), network, seeded_noise(7))
    found = [passes(number) for number in range(1, passes.count + 1)]
    assert passes.count == 6
    first, second = (
        np.random.default_rng([7, draw]).standard_normal(int(brain.sum()), dtype=np.float32) for draw in (1, 2)
    )
    for number, noise in enumerate((first, first, -first, -first, second, second)):
        output = found[number]
        np.testing.assert_array_equal(output[brain], noise)
        assert (output[~brain] == -3).all()
        # The high-frequency image is of the volume cut at three standard deviations.
        assert np.abs(given[number][1]).max() < 6.5
    np.testing.assert_array_equal(given[1], given[0][:, ::-1])
    # It is looked at after the first pass and after each pair of noises.
    assert passes.stops == (1, 4, 6)
    plain = Settings(noises=5, flips=False)
    assert WholeBrainPasses(Brain(volume, brain, (2.0,) * 3), plain, network, seeded_noise(0)).stops == (1, 2, 4, 5)


def test_the_score_is_put_together_as_described() -> None:
    rng, brain, spacing = np.random.default_rng(6), ellipsoid(), (2.0, 2.0, 2.0)
    r = np.where(brain, ndimage.gaussian_filter(rng.normal(size=SHAPE), 1) * 3, 0).astype(np.float32)
    volume = np.where(brain, r + 0.3 * rng.normal(size=SHAPE), 0).astype(np.float32)
    settings = Settings(other_side=False, scales_mm=(2.0, 4.0), side="dark")
    residual = RobustFit(brain, 1, 2, 2.5).residual(volume, r)
    scales = [-in_spreads(BrainAverage(brain, spacing, mm)(residual), brain) for mm in (2.0, 4.0)]
    given = Brain(volume, brain, spacing)
    np.testing.assert_allclose(WholeBrainScore(given, settings, None)(r), np.mean(scales, axis=0), atol=1e-6)
    table = NormativeScore(np.full(CELLS, 0.5, np.float32), np.full(CELLS, 2, np.float32))
    found = WholeBrainScore(given, settings, [table, table])(r)
    np.testing.assert_allclose(found[brain], (np.mean(scales, axis=0)[brain] - 0.5) / 2, atol=1e-5)
    bright = WholeBrainScore(given, replace(settings, side="bright"), None)(r)
    np.testing.assert_allclose(bright, -np.mean(scales, axis=0), atol=1e-6)


def test_the_mean_brain_is_a_second_reconstruction() -> None:
    rng, brain, spacing = np.random.default_rng(7), ellipsoid(), (2.0, 2.0, 2.0)
    r = np.where(brain, ndimage.gaussian_filter(rng.normal(size=SHAPE), 1) * 3, 0).astype(np.float32)
    volume = np.where(brain, r + 0.3 * rng.normal(size=SHAPE), 0).astype(np.float32)
    settings = Settings(other_side=False, scales_mm=(2.0, 4.0), side="dark", mean_brain_weight=0.25)
    given = Brain(volume, brain, spacing)
    shape = mean_brain_shape(MEAN_BRAIN_MM)
    healthy = MeanBrain(
        ndimage.gaussian_filter(rng.normal(size=shape), 2).astype(np.float32), rng.uniform(0.5, 2, shape).astype("f4")
    )
    found = WholeBrainScore(given, settings, None, healthy)
    assert len(found.by_scale(r)) == normative_count(settings) == 4
    mean, spread = expected_at(given, healthy)
    from_mean = RobustFit(brain, 1, 2, 2.5).residual(volume, mean) / spread
    plain = replace(settings, mean_brain_weight=0.0)
    scales = [-in_spreads(BrainAverage(brain, spacing, mm)(from_mean), brain) for mm in (2.0, 4.0)]
    wanted = 0.75 * WholeBrainScore(given, plain, None)(r) + 0.25 * np.mean(scales, axis=0)
    np.testing.assert_allclose(found(r), wanted, atol=1e-5)


def test_the_intensity_counts_in_units_of_the_volumes_own_spread_whatever_healthy_brains_have() -> None:
    rng, brain, spacing = np.random.default_rng(8), ellipsoid(), (2.0, 2.0, 2.0)
    r = np.where(brain, ndimage.gaussian_filter(rng.normal(size=SHAPE), 1) * 3, 0).astype(np.float32)
    volume = np.where(brain, r + 0.3 * rng.normal(size=SHAPE) + 5, 0).astype(np.float32)
    settings = Settings(other_side=False, scales_mm=(2.0, 4.0), side="bright", intensity_weight=0.4)
    given, plain = Brain(volume, brain, spacing), replace(settings, intensity_weight=0.0)
    table = NormativeScore(np.full(CELLS, 0.5, np.float32), np.full(CELLS, 2, np.float32))
    bright = [in_spreads(BrainAverage(brain, spacing, mm)(volume), brain) for mm in (2.0, 4.0)]
    for tables in (None, [table] * normative_count(settings)):
        wanted = 0.6 * WholeBrainScore(given, plain, tables)(r) + 0.4 * np.mean(bright, axis=0)
        np.testing.assert_allclose(WholeBrainScore(given, settings, tables)(r), wanted, atol=1e-5)


def test_the_mean_of_brains_is_found_again_on_another_grid() -> None:
    image = phantom_image()
    brain = image.array > 0
    healthy = mean_of(sums_over([(image, brain)] * 3, 4.0), 3)
    turned = Image(image.array[::-1, ::-1], image.affine @ flip(image.array.shape), image.name)
    mean, spread = healthy.at(turned, turned.array > 0)
    inside = turned.array > 0
    assert np.corrcoef(mean[inside], turned.array[inside])[0, 1] > 0.97
    # Three times the same brain spread as little as may be.
    np.testing.assert_allclose(spread[inside].min(), 0.1, atol=1e-6)
    with pytest.raises(UserError, match="at least two"):
        mean_brain([], Path("mean.npz"))


def flip(shape: tuple[int, ...]) -> np.ndarray:
    """Voxels of a volume that is flipped along its first two axes to those it had."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:2, 3] = shape[0] - 1, shape[1] - 1
    return affine


def test_small_regions_keep_what_is_near_their_peak_and_large_ones_everything() -> None:
    score = np.zeros((40, 40, 40), np.float32)
    score[2:6, 2:6, 2:6] = 3.0
    score[3:5, 3:5, 3:5] = 20.0
    score[10:30, 10:30, 10:30] = 3.0
    score[20, 20, 20] = 20.0
    mask = hysteresis(score, 5.0, 2.0)
    found = tightened(score, mask, 5.0, 0.3)
    assert found[2:6, 2:6, 2:6].sum() == 8 and found[10:30, 10:30, 10:30].all() and SMALL_VOXELS < 8000
    # What is above the threshold stays, however high the peak; what is below it and no longer joined to it does not.
    score[2, 2, 2] = 5.5
    assert tightened(score, hysteresis(score, 5.0, 2.0), 5.0, 0.9)[2, 2, 2]
    score[5, 5, 5] = 4.5
    assert not tightened(score, hysteresis(score, 5.0, 2.0), 4.8, 0.2)[5, 5, 5]
    assert outline(score, 5.0, Settings(hysteresis=0.4, peak_share=0.3)).sum() == 8 + 8000 + 1
    assert outline(score, 5.0, Settings(hysteresis=0.4)).sum() == mask.sum() == 64 + 8000


WHOLE_BRAIN = {
    "high_frequency_cutoff": 0.03,
    "inference": "whole_brain",
    "side": "bright",
    "normative_score": True,
    "thresholds": [9.0, 7.0, 5.0, 4.0, 3.0],
    "healthy_shares": [0.0, 0.001, 0.002, 0.005, 0.01],
    "known_errors": [0.001, 1000.0],
}


def scored_model(folder: Path, **changes: object) -> Path:
    """A tiny untrained model of this inference, whose normative score changes nothing."""
    torch.manual_seed(0)
    card = replace(toy_card(folder.name), settings={**WHOLE_BRAIN, **changes}, intensity="zscore_clip5")
    tables = {NORMATIVE_MEAN: np.zeros((3, *CELLS), np.float32), NORMATIVE_SD: np.ones((3, *CELLS), np.float32)}
    save_model(folder, card, {"reconstruction": UNet3D((2,) * 5).eval().state_dict()}, tables)
    return folder


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored_model(tmp_path_factory.mktemp("models") / "scored")


def ran(folder: Path, steps: list[Step] | None = None, **settings: object) -> CaseResult:
    heard = [] if steps is None else steps

    def on_event(event: object) -> None:
        if isinstance(event, Step):
            assert event.layers[ERROR_MAP].read().min() == 0
            heard.append(event)

    request = Request(settings=settings, device="cpu", backend="pytorch")
    return finish(run_case(Case.of(phantom_image()), load_model(folder), request), on_event)


def test_a_run_outlines_the_bright_spot_after_a_pair_of_noises(model_folder: Path) -> None:
    steps: list[Step] = []
    result = ran(model_folder, steps)
    assert [step.number for step in steps] == [1, 2] and {step.expected_total for step in steps} == {2}
    anomaly, heatmap = result.array(ANOMALY), result.array(HEATMAP)
    centre = np.argwhere(anomaly).mean(0) * 4 + phantom_image().affine[:3, 3]
    assert np.linalg.norm(centre - [30, 20, 0]) < 6
    assert result.layers[HEATMAP].unit == "healthy SD" and heatmap[anomaly].min() > 2 and heatmap.min() == 0
    # The last step is what the result is made of.
    np.testing.assert_array_equal(steps[-1].layers[MASK].read().sum(), result.scalars["mask_size"])
    table = result.artifact(SensitivityTable)
    assert list(table.volumes_ml) == sorted(table.volumes_ml) and table.chosen == 0 and table.threshold == 5.0
    assert artifact_from(table.kind, table.to_record()) == table
    assert not any("unlike" in warning for warning in result.warnings)


def test_another_sensitivity_costs_no_pass_and_gives_what_a_run_with_it_gives(model_folder: Path) -> None:
    request = Request(device="cpu", backend="pytorch")
    run = CaseRun.of(Case.of(phantom_image()), load_model(model_folder), request)
    state = finish(run.infer()).state
    steps: list[object] = []
    again = finish(run.resume(state, BySettings(), {"sensitivity": 2}), lambda event: steps.append(event))
    assert not any(isinstance(step, Step) for step in steps)
    wanted = ran(model_folder, sensitivity=2)
    np.testing.assert_array_equal(again.array(ANOMALY), wanted.array(ANOMALY))
    assert again.provenance["settings"]["sensitivity"] == 2 and again.artifact(SensitivityTable).chosen == 2
    assert again.array(ANOMALY).sum() >= finish(run.resume(state, BySettings())).array(ANOMALY).sum()
    for edit in (ByGamma(0.1), FromMask(PackedMask.of(run.prepared.brain), ByGamma(), 0)):
        with pytest.raises(UserError, match="no threshold curve; choose another sensitivity"):
            finish(run.resume(state, edit))


def test_a_volume_unlike_the_cohort_is_told(tmp_path: Path) -> None:
    warning = ran(scored_model(tmp_path / "narrow", known_errors=[100.0, 200.0])).warnings[-1]
    assert warning.startswith("The volume is unlike the scans this model learned from") and "smaller" in warning


def test_what_has_no_effect_or_no_threshold_is_refused(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gamma has no effect with inference whole_brain"):
        ran(model_folder, gamma=0.1)
    with pytest.raises(UserError, match="normative scores of 3 scales, not of 1; leave scales_mm"):
        ran(model_folder, scales_mm=[2.0])
    with pytest.raises(UserError, match="has no mean brain; leave mean_brain_weight at 0"):
        ran(model_folder, mean_brain_weight=0.5)
    with pytest.raises(UserError, match="are more than 1 together"):
        shares_of(Settings(mean_brain_weight=0.6, intensity_weight=0.6))
    with pytest.raises(UserError, match="no thresholds"):
        ran(scored_model(tmp_path / "raw", thresholds=None))


def test_the_paper_is_left_as_it_is_by_a_model_of_this_inference(model_folder: Path) -> None:
    request = Request(quality="published", settings={"sweep_passes": 5, "max_shrink": 2}, device="cpu")
    result = finish(run_case(Case.of(phantom_image()), load_model(model_folder), request))
    assert result.provenance["settings"]["inference"] == "iterative"
    assert [artifact.kind for artifact in result.artifacts] == ["curve", "shrink"]


def test_a_run_that_is_stopped_keeps_what_its_passes_found(model_folder: Path) -> None:
    request = Request(device="cpu", backend="pytorch")
    events = run_case(Case.of(phantom_image()), load_model(model_folder), request)
    result = finish(events, lambda event: isinstance(event, Step))
    assert any("cancelled before its last pass" in warning for warning in result.warnings)
    assert result.array(ANOMALY) is not None
