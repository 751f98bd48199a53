"""IterMask2 from a training to a run: stages, resume, several processes, threshold, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from IterMask3DLib.cli import main
from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import CaseResult, Step
from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.methods.itermask2.network import FIRST, MASKED
from IterMask3DLib.methods.itermask2.settings import IterMask2CalibrationSettings, IterMask2TrainingSettings
from IterMask3DLib.methods.itermask2.training import IterMask2Task
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runtime
from Testing.launcher import launch
from Testing.training.toys import column, flat_cohort, same

TRAINING = (
    *("--method", "itermask2", "--spacing", 8, "--width", 2, "--dropout", 0, "--steps", 4, "--batch", 4),
    *("--precision", "fp32", "--schedule", "constant", "--validate-every", 4, "--checkpoint-every", 2),
    *("--log-every", 1, "--device", "cpu", "--workers", 1),
)


def train(folder: Path, out: Path, *more: object) -> None:
    """A training as the command line does it, with what was prepared for others; a network is run by PyTorch."""
    words = ("train", folder / "data", "-o", out, *TRAINING, *more, "--cache", folder / "cache")
    with patch("IterMask3DLib.runtime.openvino.available", return_value=False):
        assert main([str(word) for word in words]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with healthy volumes and the run of a training on them."""
    folder = tmp_path_factory.mktemp("itermask2")
    flat_cohort(folder / "data", 3)
    train(folder, folder / "run")
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(folder / "run" / "model")


def run(model: Model, image: Image, **settings: Any) -> tuple[CaseResult, list[Step]]:
    steps: list[Step] = []
    request = Request(device="cpu", backend="pytorch", settings=settings)

    def keep(event: object) -> None:
        if isinstance(event, Step):
            steps.append(event)

    return finish(run_case(Case.of(image), model, request), keep), steps


def toy(folder: Path) -> Image:
    return read_image(folder / "data" / "c0.nii.gz")


def test_both_networks_learn_and_the_card_says_how(folder: Path, model: Model) -> None:
    for stage in (FIRST, MASKED):
        assert column(folder / "run" / stage / "losses.csv", "step") == [1, 2, 3, 4]
        assert (folder / "run" / stage / "pictures" / "step-0000004.png").exists()
    card = model.card
    assert card.grid.is_2d and card.intensity == "p90" and set(card.networks) == {FIRST, MASKED}
    assert card.training["steps"].keys() == {FIRST, MASKED}
    figures = {figure.name: figure.value for figure in card.figures}
    assert card.settings["threshold"] == pytest.approx(figures["calibration: threshold"], abs=1e-5)
    assert 0 <= figures["calibration: share of healthy validation brains found anomalous, mean"] < 1


def test_stages_that_were_interrupted_go_on_to_the_same_weights(folder: Path, tmp_path: Path, capsys: Any) -> None:
    train(folder, tmp_path / "run", "--steps", 2)
    train(folder, tmp_path / "run")
    assert "first_iteration: going on from step 2" in capsys.readouterr().err
    assert all(same(tmp_path / "run" / stage, folder / "run" / stage) for stage in (FIRST, MASKED))


def test_two_processes_train_as_one_and_without_validation_there_is_no_threshold(folder: Path, tmp_path: Path) -> None:
    more = ("--validation-share", 0, "--steps", 2)
    done = launch("train", folder / "data", "-o", tmp_path / "two", *TRAINING, *more, processes=2)
    assert done.returncode == 0, done.stderr
    train(folder, tmp_path / "one", *more)
    for stage in (FIRST, MASKED):
        losses = [column(tmp_path / name / stage / "losses.csv", "loss") for name in ("two", "one")]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert "the model has no threshold until itermask3d calibrate is run" in done.stderr
    assert load_model(tmp_path / "two" / "model").card.settings == {}


def test_a_run_has_a_step_a_pass_and_its_volumes_lie_on_the_grid_of_the_input(folder: Path, model: Model) -> None:
    result, steps = run(model, toy(folder))
    assert [step.number for step in steps] == list(range(1, len(steps) + 1)) and len(steps) > 2
    assert set(result.layers) == {"anomaly", "heatmap", "reconstruction"}
    image = toy(folder)
    for name in result.layers:
        values = result.array(name)
        assert values is not None and values.shape == image.array.shape and not values[~result.brain].any()
    heatmap = result.array("heatmap")
    assert heatmap is not None and result.case_score == pytest.approx(float(heatmap[result.brain].mean()), rel=0.2)
    again, _ = run(model, toy(folder))
    np.testing.assert_array_equal(again.layers["anomaly"].read(), result.layers["anomaly"].read())


def test_a_higher_threshold_leaves_less(folder: Path, model: Model) -> None:
    low, high = (run(model, toy(folder), threshold=value)[0].scalars["mask_size"] for value in (0.5, 5.0))
    assert high < low


def test_without_a_threshold_there_is_no_run(folder: Path, model: Model) -> None:
    bare = replace(model, card=replace(model.card, settings={}))
    with pytest.raises(UserError, match="has no threshold yet; run itermask3d calibrate"):
        run(bare, toy(folder))


def test_a_calibration_chooses_the_error_that_a_share_of_the_masked_pixels_exceeds(model: Model) -> None:
    i, j, k = np.indices((32, 32, 6))
    brain = (i - 15.5) ** 2 + (j - 15.5) ** 2 <= 144
    volume = np.where(brain, np.sin(i / 3) * np.cos(j / 4 + k), -3).astype(np.float32)
    healthy = [Healthy(volume[None], brain, (6.0, 6.0, 6.0))]
    method, runtime, said = find_method("itermask2").load(), Runtime(Device("cpu"), "pytorch"), []
    thresholds = []
    for share in (0.5, 0.2, 0.02):
        found = method.calibrate(model, [], healthy, IterMask2CalibrationSettings(share), runtime, said.append)
        thresholds.append(found.settings["threshold"])
    assert thresholds == sorted(thresholds) and thresholds[0] < thresholds[-1]
    with pytest.raises(UserError, match="needs healthy volumes"):
        method.calibrate(model, healthy, [], IterMask2CalibrationSettings(), runtime, said.append)


def test_a_volume_with_few_slices_and_several_channels_are_refused(folder: Path, model: Model) -> None:
    image = toy(folder)
    thin = Image(np.ascontiguousarray(image.array[:, :, 16:21]), image.affine, "thin")
    with pytest.raises(UserError, match=r"thin: the brain has \d slices of 8 mm and needs at least 5"):
        run(model, thin)
    card = ModelCard("toy", "", "itermask2", ("T1w", "T2w"), CardGrid(4.0, (16, 16)), {})
    with pytest.raises(UserError, match="learns from one modality, not from T1w, T2w"):
        IterMask2Task(card, IterMask2TrainingSettings())
