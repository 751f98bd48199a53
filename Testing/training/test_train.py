"""Whole runs at toy size: what they learn, write, and do when they are stopped."""

from __future__ import annotations

import errno
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from IterMask3DLib import cli
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.locks import held
from IterMask3DLib.methods.itermask3d.training import ReconstructionTask
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.training.checkpoint import load_checkpoint
from IterMask3DLib.training.monitor import TrainingProgress
from IterMask3DLib.training.run import train
from IterMask3DLib.training.weights import moving_average
from Testing.training.toys import AFFINE, column, flat_cohort, interrupted, request, same, toy_brain, toy_mask, weights


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return flat_cohort(tmp_path / "data")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of 60 steps on three volumes, one kept for validation."""
    folder = tmp_path_factory.mktemp("finished")
    train(
        request(
            flat_cohort(folder / "data"), folder / "run", steps=60, validate_every=20, checkpoint_every=20, log_every=10
        )
    )
    return folder / "run"


def test_a_run_learns_and_says_so(finished: Path) -> None:
    losses = column(finished / "losses.csv", "loss")
    assert len(losses) == 6 and losses[-1] < 0.7 * losses[0]
    assert column(finished / "validation.csv", "step") == [20, 40, 60]
    assert all(0 <= share <= 1 for share in column(finished / "losses.csv", "data_wait_share"))
    assert sorted(path.name for path in (finished / "pictures").iterdir()) == [
        f"step-{step:07d}.png" for step in (20, 40, 60)
    ]
    assert list((finished / "tensorboard").glob("events.*"))
    assert not list(finished.rglob("*part*"))


def test_the_model_of_a_run_can_be_used(finished: Path, tmp_path: Path) -> None:
    card = load_model(finished / "model").card
    assert card.name == "run" and card.grid.shape == (32, 48, 32)
    volume = finished.parent / "data" / "c0.nii.gz"
    assert (
        cli.main(["segment", str(volume), "-o", str(tmp_path), "--model", str(finished / "model"), "--device", "cpu"])
        == 0
    )
    assert nibabel.load(tmp_path / "c0" / "c0_anomaly.nii.gz").shape == (36, 44, 36)


def test_gamma_is_the_smallest_that_leaves_two_percent_of_healthy_brains(finished: Path) -> None:
    card = load_model(finished / "model").card
    means = {
        float(figure.name.split()[-2].strip(",")): figure.value
        for figure in card.figures
        if figure.name.startswith("share of healthy validation brains left masked") and figure.name.endswith("mean")
    }
    fitting = [gamma for gamma, mean in means.items() if mean <= 0.02]
    assert len(means) == 11 and card.settings["gamma"] == (min(fitting) if fitting else max(means))


def test_the_card_records_every_option_that_goes_beyond_the_paper(data: Path, tmp_path: Path) -> None:
    options = {
        "full_brain_share": 0.25,
        "scattered_share": 0.5,
        "loss_region": "mask",
        "augmentation": "published",
        "ema": 0.9,
    }
    wanted = request(
        data, tmp_path / "run", about={"data": "ellipsoids", "licence": "CC0"}, weights="last", steps=2, **options
    )
    train(wanted)
    card = json.loads((tmp_path / "run" / "model" / "card.json").read_text(encoding="utf-8"))
    recorded = card["training"]["recipe"]
    assert recorded["augmentation"] == {"name": "published", "probability": 0.1}
    assert {key: recorded[key] for key in options if key != "augmentation"} == {
        k: v for k, v in options.items() if k != "augmentation"
    }
    assert recorded["weights"] == "last, step 2, moving average with decay 0.9" and recorded["precision"] == "fp32"
    facts = card["training"]
    assert (facts["data"], facts["licence"], facts["subjects"], facts["steps"]) == ("ellipsoids", "CC0", 3, 2)
    assert facts["command"].startswith("itermask3d train data -o run --spacing 4.0")
    assert facts["validation volumes"] == 1 and facts["volumes"] == 3
    assert any(figure["name"] == "validation error, whole brain" for figure in card["figures"])


def test_the_model_has_the_moving_average_where_there_is_one(data: Path, tmp_path: Path) -> None:
    for name, ema in (("plain", 0.0), ("averaged", 0.5)):
        train(request(data, tmp_path / name, ema=ema, weights="last", steps=4))
    plain, averaged = weights(tmp_path / "plain"), weights(tmp_path / "averaged")
    # Averaging watches: it does not change what is learnt.
    assert all(torch.equal(tensor, averaged[name]) for name, tensor in plain.items())
    written = load_model(tmp_path / "averaged" / "model").networks["reconstruction"].state_dict()
    for name, tensor in written.items():
        assert torch.equal(tensor, averaged[f"average of reconstruction.{name}"])
    assert any(not torch.equal(tensor, plain[f"reconstruction.{name}"]) for name, tensor in written.items())


def test_the_average_is_the_textbook_recursion() -> None:
    network = torch.nn.BatchNorm1d(1)
    average, resumed = moving_average(network, 0.5), None
    expected = 1.0
    for step, value in enumerate((2.0, 4.0, 8.0, 16.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)):
        for tensor in (network.weight.data, network.running_mean, network.num_batches_tracked):
            tensor.fill_(value)
        average.update_parameters(network)
        if resumed is not None:
            resumed.update_parameters(network)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        if step == 5:
            resumed = moving_average(average.module, 0.5, begun=6)
    for one in filter(None, (average, resumed)):
        assert float(one.module.weight) == pytest.approx(expected, rel=1e-6)
        # Buffers too, but for what counts.
        assert int(one.module.num_batches_tracked) == 6
    assert float(average.module.running_mean) < 6


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3, "ema": 0.9, "augmentation": "published"}])
def test_an_interrupted_run_goes_on_to_the_same_weights_bit_for_bit(
    data: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    train(request(data, tmp_path / "whole", **options))
    with interrupted(6), pytest.raises(UserError, match="interrupted; the same command goes on"):
        train(request(data, tmp_path / "parts", **options))
    assert not same(tmp_path / "parts", tmp_path / "whole")
    train(request(data, tmp_path / "parts", **options))
    assert same(tmp_path / "parts", tmp_path / "whole")
    # Each step stands in the tables once, with the same loss.
    for table, name in (("losses.csv", "loss"), ("validation.csv", "blob")):
        assert column(tmp_path / "parts" / table, "step") == column(tmp_path / "whole" / table, "step")
        assert column(tmp_path / "parts" / table, name) == column(tmp_path / "whole" / table, name)
    one, other = (load_model(tmp_path / name / "model").card for name in ("parts", "whole"))
    assert one.files == other.files and one.settings == other.settings


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ReconstructionTask.loss
    losses = []

    def poisoned(self: ReconstructionTask, stage: str, networks: object, batch: object) -> torch.Tensor:
        losses.append(real(self, stage, networks, batch))
        return losses[-1] * float("nan") if len(losses) == 6 else losses[-1]

    monkeypatch.setattr(ReconstructionTask, "loss", poisoned)
    with pytest.raises(UserError, match="the loss of step 6 is not finite") as stopped:
        train(request(data, tmp_path / "run", log_every=4))
    assert (
        "--learning-rate" in str(stopped.value)
        and "checkpoint.pt" in str(stopped.value)
        and "\n" not in str(stopped.value)
    )
    found = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert found is not None and found.progress.step == 4
    assert all(torch.isfinite(tensor).all() for tensor in found.networks["reconstruction"].values())


def test_training_ends_when_validation_has_long_not_got_better(data: Path, tmp_path: Path) -> None:
    # Without learning nothing gets better but by the running statistics of the batch norms.
    slow = {"steps": 200, "validate_every": 2, "patience": 2, "learning_rate": 1e-12, "final_learning_rate": 0.0}
    train(request(data, tmp_path / "run", **slow))
    found = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert found is not None and found.progress.step < 200 and found.progress.stale == 2
    errors = np.mean([column(tmp_path / "run" / "validation.csv", kind) for kind in ("blob", "whole_brain")], axis=0)
    assert int(np.argmin(errors)) == len(errors) - 3
    card = load_model(tmp_path / "run" / "model").card
    assert card.training["recipe"]["weights"] == f"best on validation, step {found.progress.best_step}"
    train(request(data, tmp_path / "run", **slow))
    again = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert again is not None and again.progress == found.progress


def test_a_finished_run_can_be_gone_on_with_for_more_steps_but_not_with_other_settings(
    data: Path, tmp_path: Path
) -> None:
    train(request(data, tmp_path / "run", steps=2))
    train(request(data, tmp_path / "run", steps=4))
    assert column(tmp_path / "run" / "losses.csv", "step") == [1, 2, 3, 4]
    with pytest.raises(UserError, match=r"was begun with learning_rate 0.01, not 0.02"):
        train(request(data, tmp_path / "run", learning_rate=0.02))
    write_nifti(toy_brain(8), AFFINE, data / "c1.nii.gz")
    with pytest.raises(UserError, match="other training volumes"):
        train(request(data, tmp_path / "run", steps=16))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_a_damaged_checkpoint_is_named_in_one_sentence(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"checkpoint\.pt is not a checkpoint"):
        train(request(data, tmp_path / "run"))


def test_a_checkpoint_that_would_run_code_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    torch.save({"format": 3, "networks": Path("code")}, tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(UserError, match="is not a checkpoint"):
        train(request(data, tmp_path / "run"))


def test_bids_folders_and_masks_beside_heads_are_trained_on(tmp_path: Path) -> None:
    for number in range(3):
        stem = tmp_path / "bids" / f"sub-{number}" / "anat" / f"sub-{number}"
        stem.parent.mkdir(parents=True)
        write_nifti(toy_brain(number, stripped=False), AFFINE, stem.with_name(f"{stem.name}_T1w.nii.gz"))
        write_nifti(toy_mask(), AFFINE, stem.with_name(f"{stem.name}_desc-brain_mask.nii.gz"))
    (tmp_path / "bids" / "participants.tsv").write_text(
        "participant_id\tsplit\nsub-0\ttrain\nsub-1\ttrain\nsub-2\tval\n", encoding="utf-8"
    )
    card = train(request(tmp_path / "bids", tmp_path / "run", steps=2))
    assert card.training["subjects"] == 2 and card.training["validation volumes"] == 1


def test_without_validation_volumes_the_last_weights_and_the_published_gamma_are_taken(
    data: Path, tmp_path: Path
) -> None:
    card = train(request(data, tmp_path / "run", steps=2, validation_share=0.0))
    assert card.settings["gamma"] == 0.05 and card.training["recipe"]["weights"] == "last, step 2"
    assert card.training["validation volumes"] == 0 and not card.figures
    assert (tmp_path / "run" / "pictures" / "step-0000002.png").exists()


def test_quarter_turns_of_a_grid_that_cannot_be_turned_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Quarter turns need a grid"):
        train(request(data, tmp_path / "run", augmentation="published", shape=(32, 48, 48)))


def test_one_bad_volume_among_many_is_one_error_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "c2.nii.gz").write_bytes(b"no volume")
    assert cli.main(["train", str(data), "-o", str(tmp_path / "run"), "--device", "cpu"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "c2.nii.gz" in errors[0]


def test_a_machine_without_tensorboard_still_trains(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(replace(request(data, tmp_path / "run", steps=2), cache=None))
    assert (tmp_path / "run" / "model" / "card.json").exists() and not (tmp_path / "run" / "tensorboard").exists()


def test_a_listener_hears_how_far_the_training_is(data: Path, tmp_path: Path) -> None:
    heard: list[str | TrainingProgress] = []
    train(request(data, tmp_path / "run", log_every=2), heard.append)
    progress = [event for event in heard if isinstance(event, TrainingProgress)]
    assert [each.step for each in progress] == [2, 4, 6, 8] and {each.total for each in progress} == {8}
    assert not progress[0].validation and set(progress[-1].validation) == {"blob", "whole_brain", "scattered"}
    assert progress[-1].seconds_left == 0 and all(each.steps_per_second > 0 for each in progress)
    sentences = [event for event in heard if isinstance(event, str)]
    assert sum(line.startswith("preparing c") for line in sentences) == 4
    assert "3 training and 1 validation volumes of 32 x 48 x 32 voxels, fp32, cpu" in sentences


def test_of_two_trainings_into_one_folder_the_second_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with held(tmp_path / "run") as first:
        assert first
        with pytest.raises(UserError, match="Another training is at work in"):
            train(request(data, tmp_path / "run", steps=2))
    assert not list((tmp_path / "run").iterdir())
    train(request(data, tmp_path / "run", steps=2))


@pytest.mark.parametrize("when", ["checkpoint.pt", "best.pt", "card.json", ".npy"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    train(request(data, tmp_path / "run", steps=4))
    before = weights(tmp_path / "run")
    real_replace, real_write = os.replace, Path.write_text

    def full(source: object, target: object) -> None:
        if str(target).endswith(when):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        real_replace(source, target)

    def full_text(path: Path, *arguments: object, **named: object) -> int:
        if path.name == when:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real_write(path, *arguments, **named)

    monkeypatch.setattr("IterMask3DLib.core.files.os.replace", full)
    monkeypatch.setattr(Path, "write_text", full_text)
    fresh = replace(
        request(data, tmp_path / "run", steps=8), cache=tmp_path / "other" if when == ".npy" else tmp_path / "cache"
    )
    with pytest.raises(UserError, match="No space left on device") as stopped:
        train(fresh)
    assert "\n" not in str(stopped.value)
    after = weights(tmp_path / "run")
    if when in ("checkpoint.pt", "best.pt", ".npy"):
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert load_model(tmp_path / "run" / "model") and not list(tmp_path.rglob(".itermask3d-part-*"))


def test_a_run_never_writes_over_what_it_is_given(data: Path, tmp_path: Path) -> None:
    for run in (data, data / "run"):
        with pytest.raises(UserError, match="where nothing may be overwritten"):
            train(request(data, run))
    masks = replace(request(data, tmp_path / "masks"), masks=tmp_path / "masks")
    with pytest.raises(UserError, match="where nothing may be overwritten"):
        train(masks)
    train(request(data, tmp_path / "run", steps=2))
    with pytest.raises(UserError, match="which the training replaces"):
        train(request(data, tmp_path / "run", steps=4, initial=str(tmp_path / "run" / "model")))
    (tmp_path / "run" / "checkpoint.pt").unlink()
    with pytest.raises(UserError, match="model exists already"):
        train(request(data, tmp_path / "run", steps=4))
    assert sorted(path.name for path in data.iterdir()) == [f"c{number}.nii.gz" for number in range(4)]


@pytest.mark.parametrize("content", [b"", b"\xff\x00\xfe", b"step,loss\n1,0.5\n2,0.4\n3", b"step\n\x00,\n"])
def test_damaged_tables_of_a_run_do_not_stop_it(data: Path, tmp_path: Path, content: bytes) -> None:
    train(request(data, tmp_path / "run", steps=2))
    (tmp_path / "run" / "losses.csv").write_bytes(content)
    (tmp_path / "run" / "validation.csv").write_bytes(content)
    train(request(data, tmp_path / "run", steps=4))
    assert (tmp_path / "run" / "losses.csv").read_text(encoding="utf-8").splitlines()[-1].startswith("4,")


def test_damaged_best_weights_are_named_in_one_sentence(data: Path, tmp_path: Path) -> None:
    train(request(data, tmp_path / "run", steps=4))
    (tmp_path / "run" / "best.pt").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(UserError, match=r"best\.pt is not a checkpoint"):
        train(request(data, tmp_path / "run", steps=4))


def test_a_method_may_choose_its_optimiser_and_a_rate_for_each_part_of_its_network(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: dict[str, torch.Tensor] = {}

    def parts(self: ReconstructionTask, stage: str, networks: dict[str, torch.nn.Module], rate: float) -> object:
        network = networks[stage]
        begun.update({name: tensor.detach().clone() for name, tensor in network.named_parameters()})
        still = [each for name, each in network.named_parameters() if name.startswith("up_")]
        others = [each for name, each in network.named_parameters() if not name.startswith("up_")]
        return torch.optim.AdamW([{"params": still, "scale": 0.0}, {"params": others}], lr=rate)

    monkeypatch.setattr(ReconstructionTask, "optimiser", parts)
    train(request(data, tmp_path / "run", steps=2))
    for name, tensor in weights(tmp_path / "run").items():
        name = name.removeprefix("reconstruction.")
        if name.startswith("up_") and name in begun:
            assert torch.equal(tensor, begun[name])
        elif name.endswith("unit0.conv.weight"):
            assert not torch.equal(tensor, begun[name])
