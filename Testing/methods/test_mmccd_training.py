"""MMCCD learns in two stages, goes on where it stopped, and learns in two processes what one learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from IterMask3DLib.cli import main
from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.mmccd.diffusion import Schedule, noised
from IterMask3DLib.methods.mmccd.settings import MMCCDTrainingSettings
from IterMask3DLib.methods.mmccd.training import TranslationTask
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.methods.slice_unet import SliceUNet
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runtime
from Testing.launcher import launch
from Testing.methods.published import GOLDEN, fill_published, published_slices
from Testing.training.toys import column, interrupted, paired_cohort, same, weights

NUMBERS: dict[str, Any] = json.loads((GOLDEN / "mmccd.json").read_text(encoding="utf-8"))
OPTIONS = ["--method", "mmccd", "--modality", "T2w,T1w", "--spacing", 8, "--width", 4, "--dropout", 0]
MORE = ["--learning-rate", 0.01, "--warm-up", 0, "--precision", "fp32", "--batch", 4, "--device", "cpu"]
EVERY = ["--validate-every", 2, "--checkpoint-every", 2, "--log-every", 1, "--workers", 1]


def task(**settings: Any) -> TranslationTask:
    card = ModelCard("toy", "", "mmccd", ("T2w", "T1w"), CardGrid(2.0, (16, 16)), {}, "p90")
    return TranslationTask(card, MMCCDTrainingSettings(**settings))


def healthy() -> Healthy:
    rng = np.random.default_rng(3)
    return Healthy(rng.normal(size=(2, 64, 48)).astype(np.float32), np.ones((64, 48), dtype=bool), (2.0, 2.0))


# What is learned


def test_the_losses_have_the_published_numbers() -> None:
    noise = torch.from_numpy(_recipe_noise())
    given, target = published_slices(128, 2).split(1, dim=1)
    condition, times = given.clone(), (100, 700)
    condition[..., 60:76] = noise[..., 60:76]
    kept = Schedule.of(1000).kept
    networks = {"diffusion": fill_published(SliceUNet(2)), "translator": fill_published(SliceUNet(1))}
    for number, time in enumerate(times):
        one = slice(number, number + 1)
        batch = {"given": given[one], "target": target[one], "condition": condition[one]}
        batch |= {"noisy": noised(target[one], noise[one], float(kept[time])), "time": torch.tensor([float(time)])}
        with torch.inference_mode():
            diffusion = task().loss("diffusion", networks, batch)
            # Without an error on the way back, the loss is that of the way there.
            cycle = task().loss("cycle", {**networks, "back_translator": lambda _, x=given[one]: x}, batch)
        assert float(diffusion) == pytest.approx(NUMBERS["train_loss_diffusion"]["loss"][number], abs=1e-5)
        assert float(cycle) == pytest.approx(NUMBERS["train_loss_unet"][number], abs=1e-5)


def _recipe_noise() -> np.ndarray:
    b, _, i, j = np.indices((2, 1, 128, 128))
    return (1.2 * np.sin(12.9898 * i + 78.233 * j + 3.7 * b)).astype(np.float32)


def test_an_example_of_the_diffusion_hides_one_band_of_the_condition_behind_noise() -> None:
    axes, places = set(), []
    for seed in range(60):
        made = task().example("diffusion", healthy(), np.random.default_rng(seed))
        hidden = made["condition"][0] != made["given"][0]
        rows, columns = (np.flatnonzero(hidden.any(axis=axis)) for axis in (1, 0))
        axis = 0 if len(columns) == 48 and len(rows) < 64 else 1
        side, along = (64, rows) if axis == 0 else (48, columns)
        # 30 mm on 2 mm pixels; cut at the border, where a band begins at a multiple of 4 mm.
        assert len(along) == min(15, side - along[0]) and along[0] % 2 == 0
        assert hidden.sum() == len(along) * (48 if axis == 0 else 64)
        axes.add(axis)
        places.append(int(along[0]))
    assert axes == {0, 1} and len(set(places)) > 15


def test_an_example_of_the_diffusion_has_the_noise_of_its_time() -> None:
    for seed in range(5):
        made = task().example("diffusion", healthy(), np.random.default_rng(seed))
        kept = Schedule.of(1000).kept[int(made["time"])]
        noise = (made["noisy"] - np.sqrt(kept) * made["target"]) / np.sqrt(1 - kept)
        assert noise.mean() == pytest.approx(0, abs=0.06) and noise.std() == pytest.approx(1, abs=0.06)


def test_two_modalities_are_needed_and_an_even_width() -> None:
    spec = find_method("mmccd")
    card = ModelCard("toy", "", "mmccd", ("T1w",), CardGrid(2.0, (16, 16)), {})
    with pytest.raises(UserError, match=r"MMCCD learns from two modalities, .* not from T1w; change --modality"):
        spec.load().training_task(card, MMCCDTrainingSettings())
    with pytest.raises(UserError, match="width is 5; it must be even"):
        MMCCDTrainingSettings(width=5).check("test")
    assert task().inputs(("T2w", "T1w")) == ("T2w",)
    assert task(both_channels=True).inputs(("T2w", "T1w")) == ("T2w", "T1w")


def test_a_model_knows_the_width_of_the_bands_it_learned_with() -> None:
    runtime = Runtime(Device("cpu"), "pytorch")
    for width, wanted in ((30.0, {}), (20.0, {"band_mm": 20.0})):
        model = Model(Path(), ModelCard("toy", "", "mmccd", ("T2w",), CardGrid(2.0, (16, 16)), {}), {}, {})
        assert task(band_mm=width).finish(model, (), runtime, print).settings == wanted


# Whole trainings


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paired_cohort(tmp_path_factory.mktemp("pairs") / "data", 3)


@pytest.fixture(scope="module")
def whole(pairs: Path, one_thread: None) -> Path:
    """The run of a whole training."""
    assert main(_train(pairs, "whole")) == 0
    return pairs.parent / "whole"


def _train(pairs: Path, run: str) -> list[str]:
    """The words of a training."""
    folders = ["train", pairs, "-o", pairs.parent / run, "--cache", pairs.parent / "cache"]
    return [*map(str, [*folders, "--steps", 4, *OPTIONS, *MORE, *EVERY])]


def test_both_stages_are_trained_and_make_a_model_of_one_channel_that_segments(
    whole: Path, pairs: Path, tmp_path: Path
) -> None:
    model = load_model(whole / "model")
    assert set(model.networks) == {"translator", "back_translator", "diffusion"}
    assert model.card.inputs == ("T2w",) and model.card.grid.is_2d and model.card.intensity == "p90"
    assert model.card.training["steps"].keys() == {"cycle", "diffusion"}
    assert "--modality T2w,T1w" in model.card.training["command"]
    for stage in ("cycle", "diffusion"):
        losses = column(whole / stage / "losses.csv", "loss")
        assert len(losses) == 4 and losses[-1] < losses[0]
        assert list((whole / stage / "pictures").glob("*.png"))
    _check_optimised(whole / "cycle")
    volume = next(pairs.glob("sub-0/anat/*_T2w.nii.gz"))
    quick = ["--denoising-steps=2", "--band-step-mm=32", "--threshold=0.5", "--device=cpu", "--batch=64"]
    assert main(["segment", f"--input=T2w={volume}", f"-o={tmp_path}", f"--model={whole / 'model'}", *quick]) == 0
    names = {path.name.removeprefix("sub-0_T2w_") for path in (tmp_path / "sub-0_T2w").iterdir()}
    assert {"anomaly.nii.gz", "heatmap.nii.gz", "reconstruction.nii.gz", "report.html", "run.json"} <= names


def _check_optimised(stage: Path) -> None:
    """What encodes a time, which the translators know nothing of, is not trained in their stage."""
    state = torch.load(stage / "checkpoint.pt", weights_only=True)
    names = [name for network in state["networks"].values() for name in network]
    trained = [name for name in names if not name.startswith("time_embed") and "emb_layers" not in name]
    assert len(state["optimiser"]["state"]) == len(trained) < len(names) == 2 * 492


def test_a_run_that_stopped_in_the_second_stage_goes_on_to_the_same_weights(whole: Path, pairs: Path) -> None:
    with interrupted(3, "diffusion"):
        assert main(_train(pairs, "parts")) == 1
    assert main(_train(pairs, "parts")) == 0
    for stage in ("cycle", "diffusion"):
        assert same(pairs.parent / "parts" / stage, whole / stage)


def test_two_processes_learn_what_one_learns(whole: Path, pairs: Path) -> None:
    two = pairs.parent / "two"
    done = launch(*_train(pairs, "two"), processes=2)
    assert done.returncode == 0, done.stderr
    for stage in ("cycle", "diffusion"):
        one, other = (column(run / stage / "losses.csv", "loss") for run in (whole, two))
        assert other == pytest.approx(one, rel=1e-4)
        ours, theirs = weights(whole / stage), weights(two / stage)
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            # A bias that a norm takes out again has no gradient but rounding, which Adam scales up.
            if not name.endswith("bias"):
                torch.testing.assert_close(theirs[name], tensor, rtol=2e-2, atol=2e-3, msg=name)
