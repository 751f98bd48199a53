"""Training in processes of its own: several that train as one, and one that is killed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from IterMask3DLib.training.checkpoint import load_checkpoint
from IterMask3DLib.training.run import train
from Testing.launcher import command_line, environment, launch
from Testing.training.toys import column, flat_cohort, request, same, weights

OPTIONS = ["--spacing", 4, "--widths", 2, 2, 4, 4, 4, "--learning-rate", 0.01, "--precision", "fp32", "--device", "cpu"]
EVERY = ["--validate-every", 4, "--checkpoint-every", 4, "--log-every", 1, "--workers", 1]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return flat_cohort(tmp_path / "data", 5)


def test_two_processes_train_as_one_with_twice_the_batch(data: Path, tmp_path: Path) -> None:
    more = ["--batch", 4, "--steps", 6, "--ema", 0.9, "--loss-region", "mask", "--cache", tmp_path / "cache"]
    done = launch("train", data, "-o", tmp_path / "two", *OPTIONS, *EVERY, *more, processes=2)
    assert done.returncode == 0, done.stderr
    train(request(data, tmp_path / "one", steps=6, batch=4, ema=0.9, loss_region="mask"))
    for table, names in (
        ("losses.csv", ("step", "loss")),
        ("validation.csv", ("step", "blob", "whole_brain", "scattered")),
    ):
        for name in names:
            assert column(tmp_path / "two" / table, name) == pytest.approx(
                column(tmp_path / "one" / table, name), rel=1e-4
            ), name
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        # Running statistics and averages too. A bias before a batch norm has no gradient but rounding, which Adam
        # scales up.
        if not name.endswith("conv.bias"):
            torch.testing.assert_close(two[name], one[name], rtol=2e-2, atol=2e-3, msg=name)
    assert done.stdout.count("model two, gamma") == 1
    assert (tmp_path / "two" / "model" / "model.safetensors").exists()


def test_a_batch_that_cannot_be_shared_is_refused_in_one_sentence(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MASTER_ADDR", "localhost"), ("WORLD_SIZE", "3"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match="A batch of 2 cannot be shared by 3 processes"):
        train(request(data, tmp_path / "run"))


def test_a_run_killed_at_any_moment_goes_on_to_the_same_weights(data: Path, tmp_path: Path) -> None:
    words = command_line(
        "train", data, "-o", tmp_path / "killed", *OPTIONS, *EVERY, "--steps", 24, "--cache", tmp_path / "cache"
    )
    with subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, encoding="utf-8") as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("step 6 of 24"):
                running.kill()
                break
    found = load_checkpoint(tmp_path / "killed" / "checkpoint.pt")
    assert found is not None and found.progress.step < 24
    every = {"steps": 24, "validate_every": 4, "checkpoint_every": 4}
    for name in ("killed", "whole"):
        train(request(data, tmp_path / name, **every))
    assert same(tmp_path / "killed", tmp_path / "whole")
