"""What holds for every method of slices: its training, what it refuses, and its published checkpoints."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
import torch

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method
from Testing.launcher import launch
from Testing.methods.slice_methods import ITERMASK2, MAE, SliceMethod, first_volume, run, thin
from Testing.training.toys import column, interrupted, same


@pytest.fixture(params=[ITERMASK2, MAE], ids=lambda each: str(each.name))
def method(request: pytest.FixtureRequest) -> SliceMethod:
    found: SliceMethod = request.param
    return found


@pytest.fixture
def folder(method: SliceMethod, request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(method.name)
    return found


def test_both_stages_learn(method: SliceMethod, folder: Path) -> None:
    for stage in method.stages:
        assert column(folder / "run" / stage / "losses.csv", "step") == [1, 2, 3, 4]
        assert (folder / "run" / stage / "pictures" / "step-0000004.png").exists()


def test_stages_that_were_interrupted_go_on_to_the_same_weights(
    method: SliceMethod, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = method.stages[1]
    with interrupted(2, second):
        assert method.train(folder, tmp_path / "run") == 1
    assert method.train(folder, tmp_path / "run") == 0
    assert f"{second}: going on from step 2" in capsys.readouterr().err
    assert all(same(tmp_path / "run" / stage, folder / "run" / stage) for stage in method.stages)


def test_two_processes_train_as_one(method: SliceMethod, folder: Path, tmp_path: Path) -> None:
    words = map(str, (*method.training, "--steps", 2))
    done = launch("train", folder / "data", "-o", tmp_path / "two", *words, processes=2)
    assert done.returncode == 0, done.stderr
    for stage in method.stages:
        losses, whole = (column(run / stage / "losses.csv", "loss") for run in (tmp_path / "two", folder / "run"))
        assert losses == pytest.approx(whole[: len(losses)], rel=1e-3)


def test_a_volume_with_few_slices_is_refused(method: SliceMethod, folder: Path) -> None:
    with pytest.raises(UserError, match=r"thin: the brain has \d slices of 8 mm and needs at least 5"):
        run(load_model(folder / "run" / "model"), thin(first_volume(folder)))


def test_several_channels_are_refused(method: SliceMethod) -> None:
    spec = find_method(method.name)
    card = ModelCard("toy", "", method.name, ("T1w", "T2w"), CardGrid(4.0, (48, 48)), {})
    with pytest.raises(UserError, match="learns from one modality, not from T1w, T2w"):
        spec.load().training_task(card, spec.TrainingSettings())


@pytest.mark.parametrize("order", [0, 1])
def test_published_checkpoints_load_unchanged_in_any_order(method: SliceMethod, order: int, tmp_path: Path) -> None:
    checkpoints = method.checkpoints(tmp_path)
    paths = list(permutations(checkpoints.values()))[order]
    card = find_method(method.name).load().convert(paths, tmp_path / "model", {"inputs": ("T2w",)})
    model = load_model(tmp_path / "model")
    assert model.card == card and card.inputs == ("T2w",)
    for name, built in model.networks.items():
        loaded = torch.load(checkpoints[name], weights_only=True)
        state = loaded.get("model", loaded)
        assert list(built.state_dict()) == list(state)
        assert all(torch.equal(tensor, state[key]) for key, tensor in built.state_dict().items())
