"""Masks, augmentation and the training loop at toy size."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from IterMask3DLib.training import train as loop
from IterMask3DLib.training.data import Augmentation, augmented, example
from IterMask3DLib.training.masks import blob, sample_mask
from IterMask3DLib.training.train import Settings, train


def ellipsoid(shape: tuple[int, int, int] = (80, 96, 80)) -> np.ndarray:
    i, j, k = (np.indices(shape) - (np.array(shape) - 1)[:, None, None, None] / 2) / (np.array([34, 43, 34]))[:, None, None, None]
    return i**2 + j**2 + k**2 <= 1


@pytest.mark.parametrize(("millimetres", "mean", "low", "high"), [(2, 0.0105, 0.001, 0.03), (4, 0.071, 0.01, 0.2), (8, 0.40, 0.05, 0.95)])
def test_blobs_cover_the_published_share_of_the_brain(millimetres: int, mean: float, low: float, high: float) -> None:
    brain = ellipsoid()
    shares = [blob(brain, millimetres // 2, np.random.default_rng(seed)).sum() / brain.sum() for seed in range(60)]
    assert np.mean(shares) == pytest.approx(mean, rel=0.25)
    assert low < min(shares) and max(shares) < high


def test_a_blob_near_one_end_of_the_grid_does_not_come_back_at_the_other() -> None:
    brain = np.zeros((40, 40, 40), dtype=bool)
    brain[0:3] = True
    brain[37:40] = True
    for seed in range(30):
        mask = blob(brain, 1, np.random.default_rng(seed))
        assert not (mask[:3].any() and mask[37:].any())


def test_masks_stay_in_the_brain_and_the_whole_brain_comes_as_often_as_asked() -> None:
    brain = ellipsoid((40, 48, 40))
    whole = 0
    for seed in range(100):
        mask = sample_mask(brain, 4.0, np.random.default_rng(seed), full_brain_share=0.3)
        assert not (mask & ~brain).any()
        whole += bool((mask == brain).all())
    assert 18 <= whole <= 42


def test_augmentation_keeps_the_background_zero_and_a_ball_a_ball() -> None:
    centre = (np.array([32, 48, 40]) - 1)[:, None, None, None] / 2
    raw = np.where(((np.indices((32, 48, 40)) - centre) ** 2).sum(axis=0) <= 100, 120, 0).astype(np.float32)
    plan = Augmentation(flip=1.0, affine=1.0, degrees=30, scale=0.15, gamma=0.3)
    for seed in range(10):
        out = augmented(raw, plan, np.random.default_rng(seed))
        inside = out > 0
        extents = [np.ptp(np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))) for axis in range(3)]
        assert max(extents) - min(extents) <= 1
        assert 4189 * np.exp(-3 * 0.16) < inside.sum() < 4189 * np.exp(3 * 0.16)
        assert out.max() <= 120.01 and (out[~inside] == 0).all()


def test_a_rotation_turns_by_the_same_angle_in_a_grid_that_is_no_cube() -> None:
    raw = np.ones((32, 64, 40), dtype=np.float32)
    raw[14:18, 12:52, 18:22] = 200
    plan = Augmentation(flip=0, affine=1.0, degrees=25, scale=0, gamma=0)
    for seed in range(5):
        points = np.argwhere(augmented(raw, plan, np.random.default_rng(seed)) > 100)
        along = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
        length = np.ptp((points - points.mean(axis=0)) @ along)
        assert length == pytest.approx(40, abs=3.5)


def test_an_example_hides_only_the_mask() -> None:
    raw = np.where(ellipsoid((48, 48, 48)), 100, 0) + np.random.default_rng(0).integers(1, 50, (48, 48, 48)) * ellipsoid((48, 48, 48))
    item = example(raw, 4.0, np.random.default_rng(1), full_brain_share=0.0, augmentation=None)
    given = loop.network_input(item, np.random.default_rng(2))
    np.testing.assert_array_equal(given[0][~item.mask], item.volume[~item.mask])
    assert (given[0][item.mask] != item.volume[item.mask]).mean() > 0.99
    np.testing.assert_array_equal(given[1], item.high_frequency)


@pytest.fixture
def cohort(tmp_path: Path) -> list[Path]:
    paths = []
    for seed in range(3):
        wave = np.sin(np.indices((32, 32, 32))[seed % 3] / (3 + seed))
        values = np.where(ellipsoid((32, 32, 32)) | True, 120 + 60 * wave, 0) * (
            np.square(np.indices((32, 32, 32)) - 15.5).sum(axis=0) < 190
        )
        paths.append(tmp_path / f"{seed}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(values.astype(np.uint8), np.diag([4, 4, 4, 1])), paths[-1])
    return paths


def settings(steps: int) -> Settings:
    return Settings(widths=(2, 2, 4, 4, 4), shape=(32, 32, 32), spacing=4.0, steps=steps, batch=2, learning_rate=1e-2, bfloat16=False)


def test_the_loss_falls(cohort: list[Path], tmp_path: Path) -> None:
    train(cohort[:2], cohort[2:], tmp_path / "run", settings(40), every=10)
    rows = (tmp_path / "run" / "log.csv").read_text(encoding="utf-8").splitlines()[1:]
    losses = [float(row.split(",")[1]) for row in rows]
    assert len(losses) == 4 and losses[-1] < 0.7 * losses[0] and losses == sorted(losses, reverse=True)


def test_a_killed_run_goes_on_to_the_same_weights_bit_for_bit(cohort: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(cohort[:2], cohort[2:], tmp_path / "whole", settings(8), every=4)
    real = loop.batch_of

    def killed(step: int, *rest: object) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 6:
            raise KeyboardInterrupt
        return real(step, *rest)

    monkeypatch.setattr(loop, "batch_of", killed)
    with pytest.raises(KeyboardInterrupt):
        train(cohort[:2], cohort[2:], tmp_path / "parts", settings(8), every=4)
    monkeypatch.setattr(loop, "batch_of", real)
    again = train(cohort[:2], cohort[2:], tmp_path / "parts", settings(8), every=4)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not list((tmp_path / "parts").glob("*.part"))


def test_a_loss_that_is_not_finite_stops_the_run(cohort: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = loop.batch_of
    monkeypatch.setattr(loop, "batch_of", lambda *a: (real(*a)[0] * float("nan"), real(*a)[1]))
    with pytest.raises(FloatingPointError, match="not finite"):
        train(cohort[:2], cohort[2:], tmp_path / "run", settings(4))
