"""Figures of a case: by hand on cubes, and beside scikit-learn, MONAI and SimpleITK."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from IterMask3DLib.core.image import Image
from IterMask3DLib.evaluation.metrics import (
    FIGURES,
    LesionMatch,
    dice_curve,
    froc_points,
    measure,
    psnr,
    slice_scores,
    surface_distances,
)

SHAPE = (30, 30, 30)
BRAIN = np.zeros(SHAPE, bool)
BRAIN[2:28, 2:28, 2:28] = True
MM = (1.0, 1.0, 1.0)


def cube(start: int, side: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[start : start + side, start : start + side, start : start + side] = True
    return mask


def figures_of(mask: np.ndarray, truth: np.ndarray, spacing: float = 1.0) -> SimpleNamespace:
    """All figures of a mask whose score is the mask itself."""
    image = Image(np.zeros(SHAPE), np.diag([spacing] * 3 + [1.0]), "cubes")
    return SimpleNamespace(**measure(image, BRAIN, truth, mask, mask.astype(np.float32)))


def test_overlap_of_two_cubes_by_hand() -> None:
    truth, mask = cube(5, 10), cube(7, 10)
    figures = figures_of(mask, truth, spacing=2.0)
    assert figures.dice == pytest.approx(2 * 512 / 2000)
    assert figures.iou == pytest.approx(512 / 1488)
    assert figures.sensitivity == figures.precision == pytest.approx(0.512)
    assert figures.volume_error_ml == 0 and figures.truth_ml == figures.predicted_ml == pytest.approx(8.0)
    assert figures.psnr_healthy_db is None


def test_only_brain_voxels_count() -> None:
    truth = cube(10, 6)
    mask = truth | ~BRAIN
    figures = figures_of(mask, truth)
    assert figures.dice == 1.0 and figures.auroc == 1.0 and figures.assd_mm == 0.0


def test_surface_distances_of_shifted_planes_know_the_spacing() -> None:
    first, second = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    first[10, 5:25, 5:25] = True
    second[13, 5:25, 5:25] = True
    assert surface_distances(first, second, BRAIN, (2.0, 1.0, 1.0)) == pytest.approx((6.0, 6.0))
    assert surface_distances(first, second, BRAIN, (0.5, 1.0, 1.0)) == pytest.approx((1.5, 1.5))


def test_average_surface_distance_by_brute_force_and_not_itks() -> None:
    truth, mask = cube(5, 10), cube(7, 12)

    def surface(inside: np.ndarray) -> np.ndarray:
        points = {tuple(p) for p in np.argwhere(inside)}
        steps = np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
        return np.array([p for p in points if any(tuple(np.array(p) + s) not in points for s in steps)], dtype=float)

    one, other = surface(truth), surface(mask)
    distances = np.linalg.norm(one[:, None] - other[None], axis=-1)
    expected = np.concatenate([distances.min(axis=1), distances.min(axis=0)]).mean()
    assd, hd95 = surface_distances(mask, truth, BRAIN, MM)
    assert assd == pytest.approx(expected)
    assert hd95 == pytest.approx(
        max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))
    )
    itk = sitk.HausdorffDistanceImageFilter()
    itk.Execute(*(sitk.GetImageFromArray(inside.astype(np.uint8)) for inside in (mask, truth)))
    assert itk.GetAverageHausdorffDistance() < 0.75 * assd


def test_surface_distances_agree_with_monai() -> None:
    monai = pytest.importorskip("monai.metrics")
    import torch

    rng = np.random.default_rng(0)
    truth, mask = cube(6, 9) | (rng.random(SHAPE) > 0.999), cube(8, 8)
    pair = [torch.from_numpy(inside[None, None].astype(np.float32)) for inside in (mask, truth)]
    spacing = (1.0, 2.0, 0.8)
    assd, hd95 = surface_distances(mask, truth, BRAIN, spacing)
    assert assd == pytest.approx(
        float(monai.compute_average_surface_distance(*pair, True, symmetric=True, spacing=spacing)), rel=1e-4
    )
    assert hd95 == pytest.approx(
        float(monai.compute_hausdorff_distance(*pair, True, percentile=95, spacing=spacing)), rel=1e-4
    )


def shares(mask: np.ndarray, truth: np.ndarray) -> tuple[float | None, float]:
    match = LesionMatch.of(mask, truth)
    return match.found_share, match.right_share


def test_froc_points_are_those_of_each_threshold_by_itself() -> None:
    rng = np.random.default_rng(2)
    truth = cube(4, 4) | cube(14, 3)
    score = (rng.random(SHAPE) ** 8 + 0.6 * truth * rng.random(SHAPE)).astype(np.float32)
    thresholds = np.linspace(0.3, 1.7, 81)
    points = froc_points(score, truth, BRAIN, thresholds)
    assert len(points) == 11
    for threshold, point in zip(thresholds[::8], points, strict=True):
        mask = (score > threshold) & BRAIN
        if mask.sum() > 0.1 * BRAIN.sum():
            assert point == (-1, -1)
            continue
        # By brute force: flood each component of the mask and of the truth.
        hits = [c for c in components(truth & BRAIN) if sum(mask[v] for v in c) >= 0.1 * len(c)]
        false = [c for c in components(mask) if sum(truth[v] for v in c) < 0.1 * len(c)]
        assert point == (len(hits), len(false))
    assert points[0] == (-1, -1) and points[-1] == (0, 0) and any(found for found, _ in points[1:-1])


def components(mask: np.ndarray) -> list[list[tuple[int, ...]]]:
    """Voxels of each component, neighbours by a face, an edge or a corner."""
    left, found = {tuple(v) for v in np.argwhere(mask)}, []
    while left:
        waiting, own = [left.pop()], []
        while waiting:
            voxel = waiting.pop()
            own.append(voxel)
            near = {tuple(np.add(voxel, step)) for step in itertools.product((-1, 0, 1), repeat=3)} & left
            left -= near
            waiting += near
        found.append(own)
    return found


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    nothing = np.zeros(SHAPE, bool)
    figures = figures_of(nothing, nothing)
    assert (figures.dice, figures.iou, figures.precision, figures.lesion_f1, figures.assd_mm, figures.hd95_mm) == (
        1,
        1,
        1,
        1,
        0,
        0,
    )
    assert figures.sensitivity is None and figures.auroc is None and figures.average_precision is None


@pytest.mark.parametrize("empty", ["truth", "mask"])
def test_an_empty_side_gives_the_worst_values_and_no_nan(empty: str) -> None:
    nothing, something = np.zeros(SHAPE, bool), cube(8, 5)
    truth, mask = (nothing, something) if empty == "truth" else (something, nothing)
    figures = figures_of(mask, truth)
    assert (figures.dice, figures.iou, figures.precision, figures.lesion_f1) == (0, 0, 0, 0)
    assert figures.assd_mm == figures.hd95_mm == pytest.approx(26 * math.sqrt(3))
    assert figures.sensitivity == (None if empty == "truth" else 0)
    assert all(value is None or math.isfinite(value) for value in vars(figures).values())


def test_what_a_detector_does_not_have_is_not_measured() -> None:
    image, truth = Image(np.zeros(SHAPE), np.eye(4), "cubes"), cube(8, 5)
    without_mask = measure(image, BRAIN, truth, None, truth.astype(np.float32))
    assert without_mask["dice"] is None and without_mask["auroc"] == 1.0 and without_mask["truth_ml"] == 0.125
    with_nothing = measure(image, BRAIN, truth, None, None)
    assert tuple(with_nothing) == FIGURES and {name for name in FIGURES if with_nothing[name] is not None} == {
        "truth_ml"
    }


def test_a_lesion_is_found_when_a_tenth_of_it_is() -> None:
    truth = cube(3, 5) | cube(15, 10)
    mask = np.zeros(SHAPE, bool)
    mask[15:25, 15:25, 15] = True  # 100 of 1000 voxels of the large lesion
    mask[3, 3, 3:5] = True  # 2 of 125 voxels of the small one
    mask[27, 2, 2] = True  # nothing there
    assert shares(mask, truth) == (0.5, pytest.approx(2 / 3))
    mask[15, 15, 15] = False
    assert shares(mask, truth)[0] == 0.0


def test_corner_neighbours_are_one_component() -> None:
    truth = np.zeros(SHAPE, bool)
    truth[5, 5, 5] = truth[6, 6, 6] = True
    mask = np.zeros(SHAPE, bool)
    mask[5, 5, 5] = True
    assert shares(mask, truth) == (1.0, 1.0)


def test_the_dice_curve_is_dice_at_every_threshold() -> None:
    rng = np.random.default_rng(1)
    truth = cube(10, 8)
    score = np.round(rng.random(SHAPE) + 0.4 * truth, 1).astype(np.float32)
    thresholds = np.array([-1.0, 0.3, 0.5, 0.7, 1.1, 3.0], dtype=np.float32).astype(np.float64)
    curve = dice_curve(score, truth, BRAIN, thresholds)
    for threshold, value in zip(thresholds, curve, strict=True):
        assert value == pytest.approx(figures_of(score > threshold, truth).dice), threshold
    assert dice_curve(score, np.zeros(SHAPE, bool), BRAIN, thresholds)[-1] == 1.0


def test_psnr_by_its_formula_over_healthy_tissue_alone() -> None:
    volume = np.full(SHAPE, 200, np.uint8)
    reconstruction = np.full(SHAPE, 190, np.float32)
    lesion = cube(10, 5)
    reconstruction[lesion] = 0
    assert psnr(volume, reconstruction, BRAIN & ~lesion) == pytest.approx(20 * math.log10(20))
    assert psnr(volume, volume.astype(np.float32), BRAIN) == 100.0
    assert psnr(volume, reconstruction, np.zeros(SHAPE, bool)) is None


@pytest.mark.parametrize("axis", range(3))
def test_a_slice_across_the_long_axis_has_the_mean_score_of_its_brain(axis: int) -> None:
    rng = np.random.default_rng(axis)
    brain = np.zeros((6, 7, 8), dtype=bool)
    brain[:, 2:5, 1:7] = True
    score, truth = rng.random(brain.shape, dtype=np.float32), np.zeros_like(brain)
    truth[2, 3, 4] = truth[0, 0, 0] = True  # The second lies outside the brain.
    affine = np.eye(4)
    affine[:3, :3] = np.roll(np.eye(3), (2 - axis) % 3, axis=0)
    found = slice_scores(score, truth, brain, affine)
    numbers = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))
    wanted = [score.take(n, axis)[brain.take(n, axis)].mean() for n in numbers]
    np.testing.assert_allclose([value for value, _ in found], wanted, rtol=1e-5)
    assert [number for number, (_, sick) in zip(numbers, found, strict=True) if sick] == [(2, 3, 4)[axis]]
