"""Methods in packages of their own are listed and trained without a changed line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method, method_specs
from IterMask3DLib.training.checkpoint import load_checkpoint
from IterMask3DLib.training.options import training_options
from IterMask3DLib.training.run import TrainingRequest, train
from Testing.launcher import launch, python
from Testing.training.toys import column, flat_cohort, interrupted, paired_cohort, same

QUICK = (
    "--spacing",
    4,
    "--validate-every",
    2,
    "--checkpoint-every",
    2,
    "--log-every",
    1,
    "--workers",
    1,
    "--device",
    "cpu",
)
SCORE = {"spacing": 4.0, "validate_every": 2, "checkpoint_every": 2, "log_every": 1, "precision": "fp32"}


@pytest.fixture
def pairs(toy_methods: Path, tmp_path: Path) -> Path:
    return paired_cohort(tmp_path / "pairs")


def score_request(data: Path, run: Path, **changes: object) -> TrainingRequest:
    options = training_options("toy_case_score", {**SCORE, **changes}, "test")
    return TrainingRequest((data,), run, options, cache=run.parent / "cache", device="cpu", workers=1)


def test_installed_methods_are_listed_without_torch(toy_methods: Path) -> None:
    assert {"itermask3d", "autoencoder", "toy_reconstruction", "toy_case_score"} <= set(method_specs())
    script = "import sys; from IterMask3DLib.methods import registry; print(*registry.method_specs())"
    script += "; print('torch' in sys.modules)"
    names, torch_was_needed = python(script).stdout.splitlines()
    assert {"toy_reconstruction", "toy_case_score"} <= set(names.split()) and torch_was_needed == "False"


def test_a_method_of_volumes_is_trained_with_its_own_options(toy_methods: Path, tmp_path: Path) -> None:
    data = flat_cohort(tmp_path / "data")
    done = launch(
        "train", data, "-o", tmp_path / "run", "--method", "toy_reconstruction", "--hidden-share", 0.25, *QUICK
    )
    assert done.returncode == 0, done.stderr
    model = load_model(tmp_path / "run" / "model")
    assert model.card.method == "toy_reconstruction" and set(model.networks) == {"filler"}
    # Sides are multiples of what the method needs.
    assert model.card.grid.shape == (32, 36, 32) and model.card.grid.multiple == 4
    assert model.card.training["recipe"]["hidden_share"] == 0.25
    assert "--method toy_reconstruction" in model.card.training["command"]
    assert column(tmp_path / "run" / "losses.csv", "step") == [1, 2, 3, 4]
    # A method that shows nothing draws nothing.
    assert not (tmp_path / "run" / "pictures").exists()


def test_a_method_of_slices_with_two_channels_and_two_stages_is_trained(pairs: Path, tmp_path: Path) -> None:
    done = launch("train", pairs, "-o", tmp_path / "run", "--method", "toy_case_score", "--scale-steps", 3, *QUICK)
    assert done.returncode == 0, done.stderr
    model = load_model(tmp_path / "run" / "model")
    assert model.card.inputs == ("T1w", "T2w") and set(model.networks) == {"translator", "scale"}
    assert model.card.grid.is_2d and model.card.grid.shape == (40, 40)
    assert model.card.training["steps"].keys() == {"translator", "scale"}
    assert column(tmp_path / "run" / "translator" / "losses.csv", "step") == [1, 2, 3, 4]
    assert column(tmp_path / "run" / "scale" / "losses.csv", "step") == [1, 2, 3]
    assert "slices) of 40 x 40 voxels" in done.stderr


def test_the_help_of_a_method_has_its_options_alone(toy_methods: Path) -> None:
    text = launch("train", "--method", "toy_case_score", "--help").stdout
    assert "--scale-steps" in text and "--slice-spacing" in text and "--full-brain-share" not in text


def test_what_a_method_cannot_learn_from_is_refused_before_anything_is_prepared(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Two modalities are needed, not T1w"):
        train(score_request(pairs, tmp_path / "run", modality="T1w"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=r"shape is \[48, 48, 48\]; it must be 2 sides that are multiples of 8"):
        training_options("toy_case_score", {"shape": [48, 48, 48]}, "test")


@pytest.mark.parametrize("stage", ["translator", "scale"])
def test_stages_that_were_interrupted_go_on_to_the_same_weights_bit_for_bit(
    stage: str, pairs: Path, tmp_path: Path
) -> None:
    train(score_request(pairs, tmp_path / "whole", ema=0.9))
    with interrupted(1, stage), pytest.raises(UserError, match="interrupted"):
        train(score_request(pairs, tmp_path / "parts", ema=0.9))
    train(score_request(pairs, tmp_path / "parts", ema=0.9))
    for name in ("translator", "scale"):
        assert same(tmp_path / "parts" / name, tmp_path / "whole" / name)
    one, other = (load_model(tmp_path / run / "model").card for run in ("parts", "whole"))
    assert one.files == other.files


def test_a_stage_learns_on_what_the_stage_before_has_learned_and_not_on_other_weights(
    pairs: Path, tmp_path: Path
) -> None:
    train(score_request(pairs, tmp_path / "run", weights="last"))
    model = load_model(tmp_path / "run" / "model")
    first = load_checkpoint(tmp_path / "run" / "translator" / "checkpoint.pt")
    second = load_checkpoint(tmp_path / "run" / "scale" / "checkpoint.pt")
    assert first is not None and second is not None and first.earlier == "" and second.networks.keys() == {"scale"}
    # The second stage left the network of the first one as it was.
    for name, tensor in model.networks["translator"].state_dict().items():
        assert torch.equal(tensor, first.networks["translator"][name])
    with pytest.raises(UserError, match=r"scale was begun with other weights of the stage before"):
        train(score_request(pairs, tmp_path / "run", weights="last", steps=6))


def test_a_method_that_cannot_be_trained_or_is_not_known_is_refused_in_one_sentence(
    toy_methods: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        UserError, match=r"The method nobody is not known here; known are autoencoder, itermask2, .*toy_"
    ):
        training_options("nobody", {}, "test")
    fixed = replace(find_method("toy_reconstruction"), TrainingSettings=None)
    monkeypatch.setattr("IterMask3DLib.training.options.find_method", lambda name: fixed)
    with pytest.raises(UserError, match="cannot be trained here"):
        training_options("toy_reconstruction", {}, "test")
