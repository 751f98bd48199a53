"""The auto-encoder: what it learns, and what a run of it gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.methods.autoencoder.network import AutoEncoder, networks_of
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import prepare
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case
from IterMask3DLib.training.options import training_options
from IterMask3DLib.training.run import TrainingRequest, train
from Testing.methods.slice_methods import run
from Testing.training.toys import column, flat_cohort

TOY = {"spacing": 4.0, "widths": [4, 4, 8, 8], "steps": 30, "validate_every": 10, "log_every": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with healthy volumes and the run of an auto-encoder that was trained on them."""
    folder = tmp_path_factory.mktemp("autoencoder")
    options = training_options("autoencoder", TOY, "test")
    train(TrainingRequest((flat_cohort(folder / "data"),), folder / "run", options, device="cpu", workers=1))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder / "run" / "model")


def case(folder: Path) -> Case:
    return Case.of(read_image(folder / "data" / "c0.nii.gz"))


def test_it_learns_and_the_model_says_how(folder: Path, model: Model) -> None:
    losses = column(folder / "run" / "losses.csv", "loss")
    assert losses[-1] < 0.8 * losses[0]
    recipe = model.card.training["recipe"]
    assert recipe["augmentation"] == {"name": "flip", "probability": 0.5} and recipe["weights"] == "last, step 30"
    assert model.card.networks["autoencoder"].config["widths"] == [4, 4, 8, 8]
    assert sorted(path.name for path in (folder / "run" / "pictures").iterdir())[-1] == "step-0000030.png"
    rates = column(folder / "run" / "losses.csv", "learning_rate")
    # Half a cosine from 0.002 to 0, without a warm-up.
    wanted = [0.001 * (1 + np.cos(np.pi * step / 30)) for step in (4, 9, 14, 19, 24, 29)]
    assert rates == pytest.approx(wanted, rel=1e-3)


def test_the_code_is_the_only_way_through() -> None:
    torch.manual_seed(0)
    network = AutoEncoder((2, 4, 4, 8)).eval()
    volume = torch.rand(1, 1, 32, 48, 32)
    code = network.encode(volume)
    assert code.shape == (1, 8, 2, 3, 2) and network(volume).shape == volume.shape
    assert torch.equal(network(volume), network.decode(code))


def test_a_run_is_one_pass_whose_heatmap_is_the_squared_error_and_has_no_mask(folder: Path, model: Model) -> None:
    result, steps = run(model, case(folder))
    assert set(result.layers) == {"heatmap", "reconstruction"} and len(steps) == 1
    prepared = prepare(case(folder), model.card)
    with torch.inference_mode():
        output = model.networks["autoencoder"](torch.from_numpy(prepared.channels)[None])[0, 0].numpy()
    errors = np.where(prepared.brain, (output - prepared.channels[0]) ** 2, 0)
    np.testing.assert_allclose(steps[0].layers["error_map"].read(), errors, rtol=1e-3, atol=1e-4)
    assert result.case_score == result.scalars["mean_error"] == pytest.approx(errors[prepared.brain].mean(), rel=1e-4)
    heatmap = result.array("heatmap")
    assert heatmap is not None and (heatmap[~result.brain] == 0).all() and heatmap.shape == (36, 44, 36)


def test_with_a_threshold_the_anomaly_is_what_lies_above_it(folder: Path, model: Model) -> None:
    result, steps = run(model, case(folder), threshold=0.5)
    errors, anomaly = steps[0].layers["error_map"].read(), steps[0].layers["mask"].read()
    np.testing.assert_array_equal(anomaly, errors > 0.5)
    assert 0 < anomaly.sum() == result.scalars["mask_size"] and result.array("anomaly") is not None
    stopped = steps[0].stop
    assert stopped is not None and stopped().case_score == result.case_score


def test_a_threshold_may_stand_on_the_card(folder: Path, model: Model) -> None:
    thresholded = replace(model, card=replace(model.card, settings={"threshold": 0.5}))
    assert "anomaly" in run(thresholded, case(folder))[0].layers
    with pytest.raises(UserError, match="threshold is 'high'"):
        run(model, case(folder), threshold="high")


def test_several_channels_are_refused(folder: Path, tmp_path: Path) -> None:
    options = training_options("autoencoder", {**TOY, "modality": ["T1w", "T2w"]}, "test")
    with pytest.raises(UserError, match="learns from one modality"):
        train(TrainingRequest((folder / "data",), tmp_path / "run", options, device="cpu"))


def test_a_damaged_configuration_makes_no_network(model: Model) -> None:
    entry = replace(model.card.networks["autoencoder"], config={"widths": [4, 4]})
    with pytest.raises(UserError, match="widths is"):
        networks_of(replace(model.card, networks={"autoencoder": entry}))
    with pytest.raises(UserError, match="networks must hold autoencoder and nothing else"):
        networks_of(replace(model.card, networks={}))


def test_an_image_of_another_size_is_fitted(folder: Path, model: Model) -> None:
    image = read_image(folder / "data" / "c0.nii.gz")
    larger = Image(np.pad(image.array, 10), image.affine, "padded")
    result = finish(run_case(Case.of(larger), model, Request(device="cpu", backend="pytorch")))
    assert result.layers["heatmap"].read().shape == (56, 64, 56)
