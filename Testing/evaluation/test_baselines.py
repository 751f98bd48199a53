"""What the method is compared with does what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from IterMask3DLib.core.card import Scoring
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import Model, load_model, save_model
from IterMask3DLib.core.image import Image
from IterMask3DLib.preprocessing.read import write_nifti
from IterMask3DLib.evaluation import autoencoder
from IterMask3DLib.evaluation.baselines import MEISSEN_SMALLEST, AutoEncoderError, Intensity, ZScore, with_threshold
from IterMask3DLib.evaluation.finders import IterMask3D, one_passes
from IterMask3DLib.evaluation.mean_brain import MeanBrain, mean_brain
from IterMask3DLib.run import Request, segment
from Testing.brains import toy_model
from Testing.evaluation.cohorts import varied

SMALL = autoencoder.Settings(widths=(2, 2, 2, 2), spacing=4.0, shape=(48, 48, 48), steps=4)


def case(number: int = 0) -> tuple[Image, np.ndarray]:
    array, affine = varied(number)
    return Image(array, affine, f"case{number}"), array > 0


def files(folder: Path, count: int) -> list[Path]:
    made = []
    for number in range(count):
        made.append(folder / f"brain{number}.nii.gz")
        write_nifti(*varied(number), made[-1])
    return made


def squared_error(volume: Image, brain: np.ndarray, reconstruction: np.ndarray) -> np.ndarray:
    """Of the brain's voxels, in standard deviations, which the scale of the networks cuts at 3."""
    values = volume.array[brain].astype(float)
    mean, deviation = values.mean(), values.std()
    return (np.clip((values - mean) / deviation, -3, 3) - (reconstruction[brain] - mean) / deviation) ** 2


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> MeanBrain:
    folder = tmp_path_factory.mktemp("healthy")
    return mean_brain(files(folder, 3), folder / "mean.npz")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A toy model whose card smooths its error and divides it by that of healthy brains."""
    folder = tmp_path_factory.mktemp("models")
    plain = load_model(toy_model(folder / "plain"))
    card = replace(plain.card, name="scored", scoring=Scoring(smoothing_mm=4.0, healthy_error=True))
    save_model(folder / "scored", plain.network, card, np.full((20, 20, 20), 4.0, np.float32))
    return load_model(folder / "scored")


def test_intensity_is_the_rank_within_the_brain() -> None:
    array = np.zeros((2, 2, 3), np.int16)
    array.reshape(-1)[:5] = [10, 20, 20, 30, 40]
    volume, brain = Image(array, np.eye(4), "ranks"), array > 0
    bright, _ = Intensity("bright").score(volume, brain)
    dark, _ = Intensity("dark").score(volume, brain)
    np.testing.assert_allclose(bright[brain], [0.1, 0.4, 0.4, 0.7, 0.9])
    np.testing.assert_allclose(dark[brain], 1 - bright[brain], atol=1e-7)
    assert not bright[~brain].any()
    assert with_threshold(Intensity("dark"), 0.5).smallest_voxels == MEISSEN_SMALLEST


def test_a_z_score_is_high_where_a_brain_differs_from_the_mean(healthy: MeanBrain) -> None:
    volume, brain = case(1)
    spot = np.zeros_like(brain)
    spot[12:16, 30:34, 18:22] = True
    darker = Image(np.where(spot, 60, volume.array), volume.affine, "darker")
    before, after = (ZScore(healthy).score(v, brain)[0] for v in (volume, darker))
    assert after[spot].mean() > before[spot].mean() + 3
    assert np.median(after[brain]) < 1.5 and not after[~brain].any()


def test_a_mean_brain_is_made_once_and_again_for_other_volumes(tmp_path: Path) -> None:
    volumes, seen = files(tmp_path, 3), []
    first = mean_brain(volumes[:2], tmp_path / "mean.npz", lambda done, count: seen.append(done))
    again = mean_brain(volumes[:2], tmp_path / "mean.npz", lambda done, count: seen.append(done))
    assert seen == [1, 2] and again.digest == first.digest
    assert mean_brain(volumes, tmp_path / "mean.npz").digest != first.digest
    with pytest.raises(UserError, match="at least two"):
        mean_brain(volumes[:1], tmp_path / "mean.npz")


def test_an_auto_encoder_goes_on_to_the_weights_of_an_uninterrupted_training(tmp_path: Path) -> None:
    volumes = files(tmp_path, 2)

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        autoencoder.train(volumes, tmp_path / "stopped", SMALL, every=2, on_step=stop)
    assert not autoencoder.trained(tmp_path / "stopped")
    resumed, whole = (autoencoder.train(volumes, tmp_path / name, SMALL, every=2) for name in ("stopped", "whole"))
    first, second = (autoencoder.load(folder)[0].state_dict() for folder in (resumed, whole))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(UserError, match="other settings"):
        autoencoder.train(volumes, tmp_path / "whole", replace(SMALL, seed=1))
    with pytest.raises(UserError, match="itermask3d evaluate autoencoder"):
        autoencoder.load(tmp_path / "nowhere")


def test_an_auto_encoder_learns_and_its_error_is_squared(tmp_path: Path) -> None:
    losses: list[float] = []
    settings = replace(SMALL, steps=40, widths=(4, 4, 4, 4))
    autoencoder.train(files(tmp_path, 1), tmp_path / "ae", settings, on_step=lambda step, steps, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    volume, brain = case()
    score, reconstruction = AutoEncoderError.read(tmp_path / "ae").score(volume, brain)
    np.testing.assert_allclose(score[brain], squared_error(volume, brain, reconstruction), rtol=1e-2, atol=1e-3)


def test_the_method_is_what_segment_gives(scored: Model) -> None:
    volume, brain = case()
    finding = IterMask3D(scored, Request()).find(volume, brain)
    outcome = segment(volume, scored, Request(), Image(brain, volume.affine, "brain"))
    np.testing.assert_array_equal(finding.mask, outcome.anomaly)
    np.testing.assert_array_equal(finding.score, outcome.heatmap)
    (alike, _) = one_passes(scored, Request())
    assert finding.first_error == pytest.approx(alike.score(volume, brain)[0][brain].mean(), rel=1e-3)


def test_one_pass_comes_with_the_plain_error_and_with_the_scoring_of_the_model(scored: Model, tmp_path: Path) -> None:
    alike, plain = one_passes(scored, Request())
    assert (alike.name, plain.name) == ("one_pass_scored", "one_pass") and alike.identity() != plain.identity()
    volume, brain = case()
    score, reconstruction = plain.score(volume, brain)
    np.testing.assert_allclose(score[brain], squared_error(volume, brain, reconstruction), rtol=1e-2, atol=1e-2)
    alike.score(*case(1))
    smooth, _ = alike.score(volume, brain)
    # Smoothing never adds to the total error, and the table divides it by 4.
    assert 0 < smooth[brain].mean() < score[brain].mean() / 4
    assert [finder.scored for finder in one_passes(scored, Request(quality="published"))] == [False]
    assert [finder.scored for finder in one_passes(load_model(toy_model(tmp_path / "toy")), Request())] == [False]


def test_what_decides_a_result_is_in_the_identity(scored: Model) -> None:
    usual = IterMask3D(scored, Request()).identity()
    assert IterMask3D(scored, Request(gamma=0.3)).identity() != usual
    assert IterMask3D(scored, Request(seed=2)).identity() != usual
    assert one_passes(scored, Request(gamma=0.3))[0].identity() == one_passes(scored, Request())[0].identity()
    retitled = replace(scored, card=replace(scored.card, title="Another", figures={"dice": 1.0}))
    assert IterMask3D(retitled, Request()).identity() == usual
