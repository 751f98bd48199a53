"""Synthetic scans: what is given and what is wanted, from tissue maps that lie where volumes lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from IterMask3DLib.core.card import CardGrid
from IterMask3DLib.core.image import Case
from IterMask3DLib.methods.itermask3d.settings import TrainingSettings
from IterMask3DLib.methods.itermask3d.training import ReconstructionTask, regional_loss
from IterMask3DLib.preprocessing.prepare import prepare
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.training.cache import prepared
from IterMask3DLib.training.cohort import Source
from IterMask3DLib.training.contrasts import (
    NODES,
    draw_curve,
    tissue_levels,
    without_smooth_bias,
)
from IterMask3DLib.training.options import CONTRASTS
from IterMask3DLib.training.scanners import Scanners
from IterMask3DLib.training.synthetic import SyntheticScans, painted
from IterMask3DLib.training.tissue_maps import WHOLE, CachedTissueMaps, tissue_maps
from Testing.training.tissues import ball, far_from, maps_of_tissues
from Testing.training.toys import flat_cohort, smallest_card


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
