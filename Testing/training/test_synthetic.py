"""Synthetic scans: each generator has the properties it states, and a training with all of them is repeatable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from IterMask3DLib import cli
from IterMask3DLib.core.card import CardGrid
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Case
from IterMask3DLib.methods.itermask3d.settings import TrainingSettings
from IterMask3DLib.methods.itermask3d.training import ReconstructionTask, regional_loss
from IterMask3DLib.preprocessing.prepare import prepare
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.training.anomalies import PAINTERS, AnomalyPlan, Site, draw_shape, with_anomalies
from IterMask3DLib.training.cache import AlikeCohorts, prepared
from IterMask3DLib.training.cohort import Source, find_cohort
from IterMask3DLib.training.contrasts import (
    NODES,
    PALETTES,
    draw_curve,
    node_maps,
    tissue_levels,
    without_smooth_bias,
)
from IterMask3DLib.training.loop import StageTrainer
from IterMask3DLib.training.options import CONTRASTS, contrast_shares
from IterMask3DLib.training.run import train
from IterMask3DLib.training.scanners import Scanner, Scanners, draw_scanner, scanned, with_noise
from IterMask3DLib.training.smooth_fields import polynomials, random_field
from IterMask3DLib.training.synthetic import SyntheticScans, painted
from IterMask3DLib.training.tissue_maps import WHOLE, CachedTissueMaps, TissueMaps, tissue_maps
from Testing.training.toys import flat_cohort, request, same, smallest_card, weights

SHAPE = (32, 40, 32)
QUIET = Scanner(0.0, None, (0.0,) * 20, 0.0, 0.0, False)
LEVELS = {"fluid": 40.0, "grey": 110.0, "white": 170.0}


def ball(radius: float = 14.0) -> np.ndarray[Any, Any]:
    centre = (np.array(SHAPE) - 1)[:, None, None, None] / 2
    return np.asarray(((np.indices(SHAPE) - centre) ** 2).sum(axis=0) <= radius**2)


def tissues() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A ball of grey matter around white matter around fluid, with a little noise: the volume and its brain."""
    brain, rng = ball(), np.random.default_rng(0)
    volume = np.select([ball(6), ball(11.5), brain], [LEVELS["fluid"], LEVELS["white"], LEVELS["grey"]], 0.0)
    noisy = np.where(brain, volume + rng.normal(0, 4, SHAPE), 0)
    return noisy.astype(np.float32), brain


def maps_of_tissues() -> TissueMaps:
    volume, brain = tissues()
    counted = tissue_levels(volume[brain]).counted(volume[brain])
    return TissueMaps(
        np.stack([np.rint(WHOLE * each).astype(np.uint8) for each in node_maps(counted)]), brain, (2.0,) * 3
    )


# Fields


@pytest.mark.parametrize(("order", "terms"), [(0, 1), (1, 4), (2, 10), (3, 20)])
def test_polynomials_are_all_products_of_powers(order: int, terms: int) -> None:
    found = polynomials(np.array([[0, 0, 0], [10, 4, 3]]), (11, 9, 5), order)
    assert found.shape == (2, terms)
    # The last corner of the first axis, the middle of the second, half way to the end of the third.
    x, y, z = 1.0, 0.0, 0.5
    wanted = [x**i * y**j * z**k for i in range(order + 1) for j in range(order + 1) for k in range(order + 1)
              if i + j + k <= order]  # fmt: skip
    np.testing.assert_allclose(sorted(found[1]), sorted(wanted))


def test_a_random_field_has_standard_deviation_1_and_changes_over_its_grain() -> None:
    field = random_field((60, 50, 40), 10.0, np.random.default_rng(1))
    assert field.shape == (60, 50, 40) and field.std() == pytest.approx(1, abs=1e-4)
    near, far = ((field[:-step] - field[step:]).std() for step in (1, 20))
    assert near < 0.25 and far > 1


# Contrasts


def test_a_curve_of_the_maps_is_the_curve_of_the_intensity() -> None:
    counted = np.random.default_rng(0).uniform(NODES[0], NODES[-1], (5, 6, 7)).astype(np.float32)
    maps = np.stack(list(node_maps(counted)))
    np.testing.assert_allclose(maps.sum(axis=0), 1, atol=1e-5)
    curve = np.random.default_rng(1).uniform(size=len(NODES))
    np.testing.assert_allclose(np.tensordot(curve, maps, 1), np.interp(counted, NODES, curve), atol=1e-5)


def test_the_levels_of_three_tissues_are_found_and_counted() -> None:
    volume, brain = tissues()
    levels = tissue_levels(volume[brain])
    assert (levels.grey, levels.white) == pytest.approx((110, 170), abs=3)
    assert levels.fluid == pytest.approx(40, abs=5)
    np.testing.assert_allclose(
        levels.counted(np.array([levels.fluid, levels.grey, levels.white])), [0, 1, 2], atol=1e-5
    )
    assert levels.counted(np.array([-1e4, 1e4])).tolist() == pytest.approx([NODES[0], NODES[-1]])


def test_a_smooth_bias_field_is_taken_out() -> None:
    volume, brain = tissues()
    bias = np.exp(0.3 * np.linspace(-1, 1, SHAPE[0]))[:, None, None]
    even = without_smooth_bias((volume * bias).astype(np.float32), brain)
    assert not even[~brain].any()
    ratio = np.log(even[brain] / volume[brain])
    assert ratio.std() < 0.15 * np.log(bias * np.ones(SHAPE))[brain].std()


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_the_tissues_of_a_contrast_are_in_its_order(contrast: str) -> None:
    assert tuple(PALETTES) == CONTRASTS
    order = {"T1w": [0, 1, 2], "T2w": [2, 1, 0], "FLAIR": [0, 2, 1]}[contrast]
    for seed in range(30):
        curve = draw_curve(contrast, np.random.default_rng(seed))
        levels = [float(np.interp(tissue, NODES, curve)) for tissue in (0, 1, 2)]
        assert curve.min() >= 0 and levels[order[0]] < levels[order[2]]
    means = np.mean([draw_curve(contrast, np.random.default_rng(seed)) for seed in range(200)], axis=0)
    assert np.argsort([np.interp(tissue, NODES, means) for tissue in (0, 1, 2)]).tolist() == order


def test_shares_of_contrasts_add_up_and_others_are_refused() -> None:
    assert contrast_shares(("T1w=1", "FLAIR=3")) == {"T1w": 0.25, "FLAIR": 0.75}
    assert contrast_shares(("T1w", "T2w")) == {"T1w": 0.5, "T2w": 0.5}
    for text in ("PD", "T1w=none", "T1w=0", "T1w=-1", "T1w=inf"):
        with pytest.raises(UserError, match=r"T1w=0\.5,FLAIR=0\.5"):
            contrast_shares((text,))


# Scanners


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


# Anomalies


def far_from(extent: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Voxels that no anomaly changes: a mass also moves what is around it, up to some voxels."""
    if not extent.any():
        return np.ones(SHAPE, dtype=bool)
    return np.asarray(ndimage.distance_transform_edt(extent == 0) > 11)


def test_a_shape_has_the_volume_that_was_drawn_and_stays_in_the_brain() -> None:
    brain = np.ones((64, 64, 64), dtype=bool)
    plan = AnomalyPlan(small_share=0.0, large_ml=(8.0, 8.0001), ruggedness=(0.0, 0.0), edge_mm=(0.8, 0.8))
    inside = []
    for seed in range(40):
        shape = draw_shape(brain, 2.0, plan, np.random.default_rng(seed))
        assert shape.alpha.min() >= 0 and shape.alpha.max() <= 1
        if all(12 < s.start + c < 52 for s, c in zip(shape.box, shape.centre, strict=True)):
            inside.append((shape.alpha > 0.5).sum() * 0.008)
    assert len(inside) > 5 and np.mean(inside) == pytest.approx(8, rel=0.05)
    small = ball()
    for seed in range(20):
        shape = draw_shape(small, 2.0, AnomalyPlan(), np.random.default_rng(seed))
        assert not shape.alpha[~small[shape.box]].any()


def test_nothing_but_the_anomalies_changes_and_their_extent_is_told() -> None:
    volume, brain = tissues()
    counts = []
    for seed in range(60):
        ill, extent = with_anomalies(volume, brain, 2.0, AnomalyPlan(), np.random.default_rng(seed))
        again, _ = with_anomalies(volume, brain, 2.0, AnomalyPlan(), np.random.default_rng(seed))
        np.testing.assert_array_equal(ill, again)
        assert (
            ill.dtype == np.float32
            and ill.min() >= 0
            and not extent[~brain].any()
            and 0 <= extent.min() <= extent.max() <= 1
        )
        far = far_from(extent)
        np.testing.assert_allclose(ill[far], volume[far], atol=1e-3)
        counts.append(bool(extent.any()))
    assert 0.7 < np.mean(counts) < 0.98
    none = AnomalyPlan(counts=(1.0,))
    np.testing.assert_array_equal(with_anomalies(volume, brain, 2.0, none, np.random.default_rng(0))[0], volume)


@pytest.mark.parametrize("kind", PAINTERS)
def test_each_kind_changes_the_brain_where_the_shape_is(kind: str) -> None:
    volume, brain = tissues()
    plan = AnomalyPlan(small_share=0.0, large_ml=(5.0, 20.0))
    changes = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shape = draw_shape(brain, 2.0, plan, rng)
        changed = PAINTERS[kind](Site(volume, brain, 2.0, shape), plan, rng)
        assert changed.shape == shape.alpha.shape and np.isfinite(changed).all()
        if kind != "mass":
            np.testing.assert_allclose(changed[shape.alpha == 0], volume[shape.box][shape.alpha == 0], atol=1e-4)
        changes.append(np.abs(changed - volume[shape.box])[shape.alpha > 0.9].mean() / volume[brain].std())
    assert np.mean(changes) > 0.2


# Scans


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_a_scan_is_given_on_its_own_scale_with_fluid_dark_and_is_healthy_elsewhere(
    contrast: str,
) -> None:
    quiet = replace(Scanners(), blur_share=0, slice_share=0, bias_share=0, noise=(0.0, 0.0), eroded_share=0)
    scans = SyntheticScans({contrast: 1.0}, flip=0.0, affine=0.0, scanners=quiet)
    for seed in range(6):
        healthy = scans(maps_of_tissues(), np.random.default_rng(seed))
        brain, given, target = healthy.brain, healthy.given[0], healthy.channels[0]
        assert given[brain].mean() == pytest.approx(0, abs=0.05) and given[brain].std() == pytest.approx(1, abs=0.2)
        assert (given[~brain] == -3).all() and (target[~brain] == -3).all() and np.abs(target).max() <= 3
        still = brain & far_from(healthy.anomalous)
        np.testing.assert_allclose(given[still], target[still], atol=1e-4)
        assert np.median(target[ball(5)]) < np.median(target[ball(14) & ~ball(12)])
        again = scans(maps_of_tissues(), np.random.default_rng(seed))
        np.testing.assert_array_equal(again.given, healthy.given)


def test_a_painted_brain_is_the_contrast_averaged_and_not_the_average_contrasted(tmp_path: Path) -> None:
    file = flat_cohort(tmp_path, 1) / "c0.nii.gz"
    card = smallest_card(spacing=8.0)
    maps = tissue_maps(Source((file,), None, "c0"), card, print)
    case = prepare(Case.of(read_image(file)), card)
    np.testing.assert_array_equal(maps.any(axis=0), case.brain)
    image = read_image(file).array.astype(np.float32)
    brain = image > 0
    counted = tissue_levels(without_smooth_bias(image, brain)[brain]).counted(without_smooth_bias(image, brain))
    curve = draw_curve("FLAIR", np.random.default_rng(0))
    # As the routine of every run averages: a volume with the contrast, prepared.
    contrasted = np.where(brain, np.interp(counted, NODES, curve), 0)
    wanted = prepare(
        Case("c0", {"": replace(read_image(file), array=contrasted)}, replace(read_image(file), array=brain)), card
    )
    kept = case.brain & (np.abs(wanted.channels[0]) < 3)
    found = np.tensordot(curve, maps, 1)[kept] / WHOLE
    np.testing.assert_allclose(found, wanted.unscaled(wanted.channels[0])[kept], atol=0.02)
    assert kept.sum() > 0.9 * case.brain.sum()


def test_cached_maps_lie_where_volumes_lie(tmp_path: Path) -> None:
    sources = [Source((file,), None, "") for file in sorted(flat_cohort(tmp_path / "data", 2).glob("*"))]
    files = prepared(sources, tmp_path / "cache", smallest_card(), print, tissue_maps)
    volumes = prepared(sources, tmp_path / "cache", smallest_card(), print)
    assert len({*files, *volumes}) == 4
    grid = CardGrid(4.0, (48, 48, 48))
    for number, file in enumerate(files):
        brain = CachedTissueMaps(files, grid)[number]
        assert brain.maps.shape == (len(NODES), brain.brain.sum()) and brain.spacing == (4.0, 4.0, 4.0)
        assert np.load(file).any(axis=0).sum() == brain.brain.sum()
        assert painted(brain, "T1w", np.random.default_rng(0))[brain.brain].min() > 0


def test_of_several_cohorts_as_many_are_learned_from() -> None:
    alike = AlikeCohorts(("abcde", "xy"))
    assert len(alike) == 10 and sorted(alike[i] for i in range(10)) == sorted("abcdexyxyx")


# Learning


def test_errors_in_anomalies_count_more_and_the_target_is_healthy() -> None:
    healthy = SyntheticScans({"T1w": 1.0})(maps_of_tissues(), np.random.default_rng(3))
    assert healthy.anomalous.max() > 0.5
    task = ReconstructionTask(smallest_card(), TrainingSettings(anomaly_weight=2.0))
    example = task.example("reconstruction", healthy, np.random.default_rng(0))
    np.testing.assert_array_equal(example["target"], healthy.channels)
    np.testing.assert_allclose(example["region"], 1 + 2 * healthy.anomalous[None])
    shown = example["given"][0] == healthy.given[0]
    assert 0 < (~shown).sum() <= healthy.brain.sum()
    output, target = torch.zeros(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)
    target[0, 0, 0] = 3
    weight = torch.ones_like(target)
    weight[0, 0, 0] = 3
    assert float(regional_loss(output, target, weight)) == pytest.approx((4 * 3 * 9 + 4) / 16)


SYNTHETIC: Mapping[str, Any] = {
    "augmentation": "synthetic",
    "contrasts": ("T1w=0.5", "FLAIR=0.3", "T2w=0.2"),
    "anomaly_weight": 2.0,
    "gradient_limit": 1.0,
    "batch_norm_momentum": 0.03,
    "batch_norm_steps": 3,
    "ema": 0.9,
    "weights": "last",
    "choose_gamma": False,
    "schedule": "constant",
}


def two_cohorts(folder: Path) -> tuple[Path, ...]:
    return flat_cohort(folder / "one", 3), flat_cohort(folder / "two", 2)


def test_the_command_trains_on_synthetic_scans_of_two_cohorts(tmp_path: Path) -> None:
    table = tmp_path / "split.tsv"
    table.write_text("participant_id\tsplit\nc0\ttrain\nc1\tval\nc2\ttest\n", encoding="utf-8")
    one, two = two_cohorts(tmp_path)
    line = f"train {one} {two} -o {tmp_path / 'run'} --split {table} --device cpu --workers 1 --spacing 4 --steps 4 "
    line += "--widths 2 2 4 4 4 --precision fp32 --augmentation synthetic --contrasts T1w=0.5,FLAIR=0.5 "
    line += "--anomaly-weight 2 --gradient-limit 1 --batch-norm-momentum 0.03 --batch-norm-steps 2 --no-choose-gamma"
    assert cli.main(line.split()) == 0
    card = json.loads((tmp_path / "run" / "model" / "card.json").read_text(encoding="utf-8"))
    training = card["training"]
    assert (training["volumes"], training["validation volumes"]) == (2, 2)
    assert training["command"].startswith("itermask3d train one two -o run --split split.tsv ")
    recipe = training["recipe"]
    assert recipe["augmentation"]["contrasts"] == {"T1w": 0.5, "FLAIR": 0.5}
    assert recipe["augmentation"]["anomalies"]["counts"] and recipe["augmentation"]["scanners"]["noise"] == [0.01, 0.12]
    assert (recipe["anomaly_weight"], recipe["batch_norm_steps"], recipe["gradient_limit"]) == (2.0, 2, 1.0)
    assert "gamma" not in card["settings"]


def test_an_interrupted_training_on_synthetic_scans_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = two_cohorts(tmp_path)

    def wanted(name: str) -> Any:
        return replace(request(data[0], tmp_path / name, **SYNTHETIC), data=data)

    train(wanted("whole"))
    real = StageTrainer._step

    def stopped(self: StageTrainer, step: int, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        if step == 6:
            raise KeyboardInterrupt
        return real(self, step, batch)

    monkeypatch.setattr(StageTrainer, "_step", stopped)
    with pytest.raises(UserError, match="interrupted"):
        train(wanted("parts"))
    monkeypatch.setattr(StageTrainer, "_step", real)
    train(wanted("parts"))
    assert same(tmp_path / "parts", tmp_path / "whole")
    # After three steps the statistics of batch norm stay as they are.
    train(replace(wanted("short"), options=replace(wanted("short").options, steps=3)))
    late, early = weights(tmp_path / "whole"), weights(tmp_path / "short")
    statistics = [name for name in late if name.endswith("running_mean") and not name.startswith("average")]
    assert statistics and all(torch.equal(late[name], early[name]) for name in statistics)
    assert all(int(late[name]) == 3 for name in late if name.endswith("num_batches_tracked"))


def test_a_gradient_is_scaled_down_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []

    def descend(self: ReconstructionTask, stage: str, networks: Mapping[str, torch.nn.Module], rate: float) -> Any:
        network = networks[stage]
        optimiser = torch.optim.SGD(network.parameters(), lr=rate)
        total = lambda *_: norms.append(float(torch.stack([p.grad.norm() for p in network.parameters()]).norm()))  # noqa: E731
        optimiser.register_step_pre_hook(total)
        return optimiser

    monkeypatch.setattr(ReconstructionTask, "optimiser", descend)
    data = flat_cohort(tmp_path / "data", 3)
    train(request(data, tmp_path / "free", steps=3))
    assert min(norms) > 1e-2
    norms.clear()
    train(request(data, tmp_path / "limited", steps=3, gradient_limit=1e-2))
    assert norms == pytest.approx([1e-2] * 3, rel=1e-3)


def test_what_synthetic_scans_cannot_be_made_from_is_refused(tmp_path: Path) -> None:
    data = flat_cohort(tmp_path / "data", 3)
    with pytest.raises(UserError, match="made from T1w"):
        request(data, tmp_path / "run", augmentation="synthetic", modality="FLAIR")
    with pytest.raises(UserError, match="validated with real volumes"):
        train(request(data, tmp_path / "run", augmentation="synthetic", validation_share=0.0))


def test_a_table_of_the_user_says_who_trains_before_that_of_the_cohort(tmp_path: Path) -> None:
    data, table = flat_cohort(tmp_path / "data", 4), tmp_path / "split.tsv"
    table.write_text("participant_id\tsplit\nc0\tval\nc2\ttrain\nother\ttrain\n", encoding="utf-8")
    split = find_cohort(data, ("T1w",), 0.5, 0, split=table)
    assert ([s.subject for s in split.training], [s.subject for s in split.validation]) == (["c2"], ["c0"])
    # A table that says nothing of a cohort leaves it as it is.
    table.write_text("participant_id\tsplit\nother\ttrain\n", encoding="utf-8")
    assert find_cohort(data, ("T1w",), 0.5, 0, split=table) == find_cohort(data, ("T1w",), 0.5, 0)
    table.write_text("who\twhat\n", encoding="utf-8")
    with pytest.raises(UserError, match="no columns participant_id and split"):
        find_cohort(data, ("T1w",), 0.5, 0, split=table)
    with pytest.raises(UserError, match="cannot be read"):
        find_cohort(data, ("T1w",), 0.5, 0, split=tmp_path / "none.tsv")
