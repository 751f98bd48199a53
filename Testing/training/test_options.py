"""What a YAML file and the command line may say, and how wrong values are refused."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from IterMask3DLib import cli
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import about
from IterMask3DLib.methods.base import Stage
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.training import run
from IterMask3DLib.training.options import TrainingOptions, command_of, options_of_stage, training_options
from IterMask3DLib.training.run import TrainingRequest
from Testing.training.toys import flat_cohort


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[TrainingRequest]:
    """Trainings that the command line would have carried out."""
    requests: list[TrainingRequest] = []

    def note(request: TrainingRequest, on_event: object) -> Any:
        requests.append(request)
        return argparse.Namespace(name="noted", settings={"gamma": 0.1}, sha256="")

    monkeypatch.setattr(run, "train", note)
    return requests


def test_a_yaml_file_sets_options_and_the_line_wins(requested: list[TrainingRequest], tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "steps: 500\nwidths: [4, 8, 8, 16, 16]\nlearning_rate: 1e-3\nabout:\n  licence: CC0\n", encoding="utf-8"
    )
    assert cli.main(["train", "data", "-o", "run", "--config", str(file), "--steps", "9", "--ema", "0.99"]) == 0
    options = requested[0].options
    assert (options.steps, options.learning_rate, options.ema) == (9, 0.001, 0.99)
    assert options.settings.widths == (4, 8, 8, 16, 16)
    assert options.about == {"licence": "CC0"} and options.seed == 0


def test_epochs_on_the_line_replace_the_steps_of_the_file(requested: list[TrainingRequest], tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("steps: 500\nbatch: 3\n", encoding="utf-8")
    assert cli.main(["train", "data", "-o", "run", "--config", str(file), "--epochs", "4"]) == 0
    # Four visits of ten volumes by threes.
    assert requested[0].options.total_steps(10) == 14


def test_a_yaml_file_may_name_the_method_and_former_names_keep_working(
    requested: list[TrainingRequest], tmp_path: Path
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("method: autoencoder\nmodality: T2w\npacked: best\n", encoding="utf-8")
    assert cli.main(["train", "data", "-o", "run", "--config", str(file), "--widths", "2", "2", "4", "4"]) == 0
    assert cli.main(["train", "data", "-o", "run", "--packed", "last", "--full-brain-share", "0.3"]) == 0
    first, second = (request.options for request in requested)
    assert (first.method, first.modality, first.weights, first.settings.widths) == (
        "autoencoder",
        ("T2w",),
        "best",
        (2, 2, 4, 4),
    )
    assert (second.method, second.weights, second.settings.full_brain_share) == ("itermask3d", "last", 0.3)


def test_no_option_takes_the_folder_that_comes_after_it(requested: list[TrainingRequest]) -> None:
    assert cli.main(["train", "--modality", "T1w,T2w", "--shape", "80", "96", "80", "data", "-o", "run"]) == 0
    assert requested[0].data == (Path("data"),)
    assert (requested[0].options.modality, requested[0].options.shape) == (("T1w", "T2w"), (80, 96, 80))


def test_the_auto_encoder_has_its_own_usual_values(requested: list[TrainingRequest]) -> None:
    assert cli.main(["train", "data", "-o", "run", "--method", "autoencoder", "--batch", "3"]) == 0
    options = requested[0].options
    assert (options.steps, options.learning_rate, options.final_learning_rate) == (2400, 2e-3, 0.0)
    assert (options.augmentation, options.batch, options.settings.widths) == ("flip", 3, (12, 24, 48, 64))


def test_an_option_of_another_method_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        cli.main(["train", "data", "-o", "run", "--method", "autoencoder", "--full-brain-share", "0.5"])
    assert refused.value.code == 2 and "--full-brain-share" in capsys.readouterr().err
    with pytest.raises(UserError, match="full_brain_share is not an option"):
        training_options("autoencoder", {"full_brain_share": 0.5}, "test")


def test_the_published_preset_is_the_paper() -> None:
    options = training_options("itermask3d", {"preset": "published"}, "test")
    settings = options.settings
    assert (options.spacing, options.shape, settings.widths) == (1.0, (192, 192, 192), (16, 32, 64, 128, 256))
    assert (options.batch, options.epochs, options.steps, settings.dropout) == (2, 500, None, 0.2)
    assert (options.learning_rate, options.final_learning_rate, options.schedule) == (1e-3, 1e-4, "published")
    assert (settings.full_brain_share, settings.scattered_share, options.ema) == (0, 0, 0)
    assert (settings.loss_region, options.augmentation, options.weights) == ("volume", "published", "last")


def test_a_stage_has_the_options_of_the_run_but_for_its_own() -> None:
    options = training_options("itermask3d", {"epochs": 3, "batch": 4}, "test")
    stage = options_of_stage(options, Stage("second", options={"steps": 7, "learning_rate": 1e-5}))
    assert (stage.steps, stage.epochs, stage.batch, stage.learning_rate) == (7, None, 4, 1e-5)
    assert stage.settings == options.settings


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stepz": 3}, "stepz is not an option"),
        ({"steps": "many"}, "steps is 'many'; it must be a whole number"),
        ({"steps": 0}, "at least 1"),
        ({"steps": True}, "must be a whole number"),
        ({"steps": 3, "epochs": 2}, "steps or epochs, not both"),
        ({"steps": None}, "give steps or epochs"),
        ({"shape": [80, 96, 81]}, "multiples of 16"),
        ({"widths": [8, 4, 8, 8, 8]}, "never get smaller"),
        ({"widths": 8}, "5 positive whole numbers"),
        ({"full_brain_share": 1.5}, "at least 0 and at most 1"),
        ({"full_brain_share": 0.7, "scattered_share": 0.7}, "more than 1"),
        ({"ema": 1.0}, "ema is 1.0; it must be at least 0 and at most 0.99"),
        ({"augmentation": "heavy"}, "use one of none, flip, published, light"),
        ({"modality": []}, "one or more different names"),
        ({"modality": ["T1w", "T1w"]}, "one or more different names"),
        ({"slice_spacing": 3.0}, "leave it out"),
        ({"shape": [80, 96]}, "3 sides"),
        ({"preset": "mine"}, "use one of default, published"),
        ({"about": "IXI"}, "texts by name"),
        ({"name": 3}, "must be a text"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ],
)
def test_a_wrong_value_is_refused_in_one_sentence_that_names_it(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as refused:
        training_options("itermask3d", given, "recipe.yaml")
    assert str(refused.value).startswith("recipe.yaml: ") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("steps: [", "cannot be read as YAML"), ("- steps", "options by name"), ("3: 4", "options by name")],
)
def test_a_file_that_holds_no_options_is_one_error_line(
    text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    assert cli.main(["train", str(tmp_path), "-o", str(tmp_path / "run"), "--config", str(file)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and sentence in error and "recipe.yaml" in error


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("itermask3d", {"preset": "published", "epochs": 3, "shape": [64, 64, 64], "scattered_share": 0.25}),
        ("itermask3d", {"preset": "published", "steps": 30, "modality": ["T2w", "FLAIR"]}),
        ("itermask3d", {"epochs": 3, "ema": 0.9}),
        ("autoencoder", {"widths": [2, 4, 4, 4], "schedule": "constant"}),
    ],
)
def test_the_command_on_the_card_gives_the_same_options_again(
    method: str, given: dict[str, Any], requested: list[TrainingRequest], tmp_path: Path
) -> None:
    options = training_options(method, {**given, "name": "two words"}, "test")
    words = shlex.split(
        command_of(options, given.get("preset", "default"), (tmp_path / "data",), tmp_path / "run", None, None)
    )
    assert words[:5] == ["itermask3d", "train", "data", "-o", "run"]
    assert cli.main(words[1:]) == 0
    assert requested[0].options == replace(options, about={})


@pytest.mark.parametrize("method", ["itermask3d", "autoencoder"])
def test_every_option_is_on_the_command_line_with_a_text(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--method", method, "--help"])
    text = capsys.readouterr().out
    options = about(TrainingOptions) | about(find_method(method).TrainingSettings)
    for name, (_, one) in options.items():
        assert name == "slice_spacing" or (f"--{name.replace('_', '-')}" in text and one.help), name
    # What does nothing for volumes is no option for them.
    assert "--slice-spacing" not in text


def test_a_missing_lightning_is_one_sentence_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    assert (
        cli.main(["train", str(flat_cohort(tmp_path / "data", 2)), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 1
    )
    assert capsys.readouterr().err == "error: Training needs Lightning: pip install itermask3d[train].\n"
