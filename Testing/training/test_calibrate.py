"""A model gets the numbers that fit what it leaves in healthy brains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib import cli
from IterMask3DLib.models.store import load_model
from IterMask3DLib.training.healthy import smallest_within
from IterMask3DLib.training.run import train
from Testing.training.toys import flat_cohort, order


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(order(flat_cohort(folder / "data"), folder / "run", steps=20))
    return folder


@pytest.fixture(scope="module")
def calibrated(trained: Path) -> Path:
    words = ["calibrate", str(trained / "run" / "model"), str(trained / "data"), "-o", str(trained / "better")]
    assert cli.main([*words, "--cache", str(trained / "cache"), "--smoothing-mm", "4", "--limit", "0.01", "--device", "cpu"]) == 0
    return trained / "better"


def test_the_card_says_what_was_chosen_and_from_what(calibrated: Path) -> None:
    card = load_model(calibrated).card
    figures = card.figures["calibration"]
    shares = figures["share of healthy validation brains taken for anomalous"]
    thresholds = {float(key.split()[2]): value["mean"] for key, value in shares.items() if key.startswith("times median")}
    fitting = [threshold for threshold, mean in thresholds.items() if mean <= 0.01]
    assert card.scoring.times_median == (min(fitting) if fitting else max(thresholds))
    assert card.scoring.smoothing_mm == 4 and card.scoring.healthy_error and card.scoring.regrow == 1.5
    assert figures["training volumes"] == 3 and figures["validation volumes"] == 1
    assert figures["command"].startswith("itermask3d calibrate model data -o better --smoothing-mm 4")


def test_the_network_stays_as_it_was_and_the_model_is_another(calibrated: Path, trained: Path) -> None:
    before, after = load_model(trained / "run" / "model"), load_model(calibrated)
    for name, tensor in before.network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), after.network.state_dict()[name].numpy())
    assert before.card.sha256 != after.card.sha256 and after.healthy_error.shape == (20, 20, 20)
    # Scaled by themselves, healthy errors are around 1.
    assert 0.2 < after.healthy_error.mean() / np.median(after.healthy_error) < 5


def test_a_run_uses_the_models_threshold_a_gamma_overrules_it_and_published_leaves_it_out(
    calibrated: Path, trained: Path, tmp_path: Path
) -> None:
    card = load_model(calibrated).card
    volume = str(trained / "data" / "c0.nii.gz")
    records = {}
    for name, words in {"usual": [], "gamma": ["--gamma", "0.7"], "published": ["--quality", "published"]}.items():
        command = ["segment", volume, "-o", str(tmp_path / name), "--model", str(calibrated), "--device", "cpu"]
        assert cli.main([*command, *words]) == 0
        records[name] = json.loads((tmp_path / name / "c0" / "c0_run.json").read_text(encoding="utf-8"))
    usual = records["usual"]["results"]
    assert usual["threshold"] == pytest.approx(card.scoring.times_median * usual["first_median"], rel=1e-9)
    assert records["usual"]["settings"]["regrow"] == 1.5 and records["usual"]["settings"]["smoothing"] == 4
    assert records["gamma"]["settings"]["curve"]["times_median"] is None and records["gamma"]["settings"]["curve"]["gamma"] == 0.7
    published = records["published"]["settings"]
    assert published["smoothing"] == 0 and published["regrow"] is None and published["visited"] is None
    assert published["curve"]["gamma"] == 0.05 and published["curve"]["times_median"] is None


def test_no_model_is_overwritten(calibrated: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["calibrate", str(calibrated), str(trained / "data"), "-o", str(calibrated)]) != 0
    assert "exists" in capsys.readouterr().err


def test_the_smallest_value_within_the_limit_is_taken() -> None:
    shares = {3.0: [0.2, 0.4], 5.0: [0.0, 0.02], 8.0: [0.0, 0.0]}
    assert smallest_within(shares, 0.01) == 5.0
    assert smallest_within(shares, 0.5) == 3.0
    assert smallest_within({3.0: [0.2], 5.0: [0.1]}, 0.01) == 5.0


def test_training_can_begin_with_a_models_weights(trained: Path, tmp_path: Path) -> None:
    data, model = trained / "data", trained / "run" / "model"
    card = train(order(data, tmp_path / "again", initial=str(model), steps=1, learning_rate=1e-9))
    before, after = load_model(model).network.state_dict(), load_model(tmp_path / "again" / "model").network.state_dict()
    for name, tensor in before.items():
        if name.endswith(("weight", "bias")):
            np.testing.assert_allclose(after[name].numpy(), tensor.numpy(), atol=1e-6)
    assert "--initial model" in card.training["command"] and card.training["initial weights"].startswith("run, sha256")


def test_weights_of_another_size_are_refused_in_one_sentence(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(trained / "data"), "-o", str(tmp_path / "run"), "--initial", str(trained / "run" / "model"), "--spacing", "4"]
    assert cli.main([*words, "--cache", str(trained / "cache"), "--steps", "1", "--device", "cpu"]) != 0
    assert "give --widths to match" in capsys.readouterr().err
