"""Checkpoints of MMCCD's published code become a model folder; anything else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from IterMask3DLib.cli import main
from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.mmccd.network import BACKWARD, DIFFUSION, FORWARD
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.methods.slice_unet import SliceUNet
from Testing.methods.published import fill_published, published_slices


def convert(folder: Path, *checkpoints: Path, **options: Any) -> ModelCard:
    return find_method("mmccd").load().convert(checkpoints, folder, {"inputs": ("FLAIR", "T2w"), **options})


def saved(path: Path, channels: int, width: int = 4, **more: Any) -> Path:
    """A checkpoint as the published code leaves it: a bare state dict."""
    torch.save(fill_published(SliceUNet(channels, width, **more)).state_dict(), path)
    return path


def test_checkpoints_as_published_give_the_same_outputs(tmp_path: Path) -> None:
    there, back = saved(tmp_path / "model100000.pt", 2, 32), saved(tmp_path / "back.pt", 1, 32)
    words = ["--method", "mmccd", "--modality", "FLAIR", "T2w"]
    assert main(["convert", str(there), str(back), "-o", str(tmp_path / "model"), *words]) == 0
    model = load_model(tmp_path / "model")
    assert set(model.networks) == {DIFFUSION, BACKWARD}
    card, settings = model.card, find_method("mmccd").settings(model.card)
    assert card.inputs == ("FLAIR",) and card.training["translated to"] == "T2w" and card.intensity == "p90"
    assert card.grid.shape == (128, 128) and card.grid.spacings == (1.875, 1.875, 1.0)
    assert (settings.denoising_steps, settings.translation, settings.sampler) == (100, "diffusion", "ddim")
    given, time = published_slices(32, 2, batch=1), torch.tensor([10.0])
    with torch.inference_mode():
        wanted = fill_published(SliceUNet(2))(given, time)
        assert torch.equal(model.networks[DIFFUSION](given, time), wanted)


def test_which_part_a_checkpoint_is_follows_from_its_channels_and_its_place(tmp_path: Path) -> None:
    diffusion, unet, back = (saved(tmp_path / name, n) for name, n in (("d", 2), ("u", 1), ("b", 1)))
    card = convert(tmp_path / "plain", unet, back)
    assert set(card.networks) == {FORWARD, BACKWARD} and card.networks[FORWARD].config["width"] == 4
    # A model without diffusion is used without.
    assert find_method("mmccd").settings(card).translation == "unet"
    card = convert(tmp_path / "all", unet, diffusion, back, inputs=("FLAIR",), shape=(64, 96), spacing=2.0)
    assert set(card.networks) == {FORWARD, BACKWARD, DIFFUSION} and card.grid.shape == (64, 96)
    assert card.training["translated to"] == "unknown"
    load_model(tmp_path / "all")


def test_other_checkpoints_and_orders_are_refused_in_a_sentence(tmp_path: Path) -> None:
    diffusion, back = saved(tmp_path / "d", 2), saved(tmp_path / "b", 1)
    cases: list[tuple[list[Path], dict[str, Any], str]] = [
        ([diffusion], {}, "way there, and then that of the way back; 1 was given"),
        ([back, diffusion], {}, "d has 2 input channels, where the back_translator is expected; give the way there"),
        ([back, back, back], {}, "b has 1 input channels, where the translator is expected"),
        ([diffusion, saved(tmp_path / "i", 1, norm="batch")], {}, "i is no checkpoint of MMCCD: it has batch norm"),
        ([diffusion, saved(tmp_path / "l", 1, multipliers=(1, 2))], {}, "l: tensor input_blocks"),
        ([diffusion, back], {"shape": (64, 90)}, "two sides that are multiples of 16"),
        ([diffusion, back], {"inputs": ("FLAIR", "T2w", "T1w")}, "MMCCD has two modalities"),
    ]
    torch.save({"conv_1.conv.unit0.conv.weight": torch.zeros(2, 2, 3, 3, 3)}, tmp_path / "o")
    cases.append(([diffusion, tmp_path / "o"], {}, "o is no checkpoint of MMCCD: input_blocks.0.0.weight is missing"))
    for checkpoints, options, words in cases:
        with pytest.raises(UserError, match=words):
            convert(tmp_path / "model", *checkpoints, **options)
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_of_mmccd_is_refused_by_other_methods(tmp_path: Path) -> None:
    path = saved(tmp_path / "b", 1)
    with pytest.raises(UserError, match="no checkpoint of the published network"):
        find_method("itermask3d").load().convert([path], tmp_path / "model", {"inputs": ("T1w",)})
