"""A checkpoint of the published code becomes a model folder; anything else is refused unexecuted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method
from Testing.methods.published import fill_published


def convert(checkpoint: Path, folder: Path, **options: Any) -> ModelCard:
    """As the command line does it."""
    return find_method("itermask3d").load().convert([checkpoint], folder, {"inputs": ("T1w",), **options})


@pytest.fixture(scope="module")
def published() -> UNet3D:
    return fill_published(UNet3D())


@pytest.mark.parametrize("wrapped", ["bare", "state_dict", "parallel"])
def test_a_published_checkpoint_loads_unchanged(wrapped: str, published: UNet3D, tmp_path: Path) -> None:
    state = dict(published.state_dict())
    contents = {
        "bare": state,
        "state_dict": {"state_dict": state, "epoch": 20},
        "parallel": {f"module.{k}": v for k, v in state.items()},
    }
    torch.save(contents[wrapped], tmp_path / "check.pth")
    card = convert(tmp_path / "check.pth", tmp_path / "model", inputs=("FLAIR",))
    model = load_model(tmp_path / "model")
    assert card == model.card and card.inputs == ("FLAIR",)
    assert card.grid.shape == (192, 192, 192) and card.grid.spacing == 1.0
    assert model.networks[NETWORK].widths == (16, 32, 64, 128, 256)
    settings = find_method("itermask3d").settings(card)
    assert (settings.gamma, settings.high_frequency_cutoff, settings.normative_error) == (0.05, 15 / 192, False)
    loaded = model.networks[NETWORK].state_dict()
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Hostile()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="tensors alone"):
        convert(tmp_path / "evil.pth", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


def test_other_files_and_networks_are_refused(published: UNet3D, tmp_path: Path) -> None:
    state = dict(published.state_dict())
    short = {k: v for k, v in state.items() if k != "up_stage_2.1.conv.bias"}
    cases = {"text": None, "other": {"weight": torch.zeros(3)}, "short": short, "list": [1, 2]}
    words = {
        "text": "tensors alone",
        "other": "no checkpoint of the published network",
        "short": "up_stage_2.1.conv.bias is missing",
        "list": "no state dict",
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_text("text") if content is None else torch.save(content, path)
        with pytest.raises(UserError, match=words[name]):
            convert(path, tmp_path / "model")
    with pytest.raises(UserError, match="cannot be read"):
        convert(tmp_path / "missing", tmp_path / "model")
    assert not (tmp_path / "model").exists()


SMALL = (2, 3, 4, 4, 6)


def small_state() -> dict[str, torch.Tensor]:
    return dict(fill_published(UNet3D(SMALL)).state_dict())


def test_widths_come_from_the_tensors_and_their_order_does_not_matter(tmp_path: Path) -> None:
    state = small_state()
    torch.save(dict(reversed(list(state.items()))), tmp_path / "check.pth")
    convert(tmp_path / "check.pth", tmp_path / "model")
    network = load_model(tmp_path / "model").networks[NETWORK]
    assert network.widths == SMALL
    loaded = network.state_dict()
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


BIAS = "up_stage_3.1.conv.bias"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": torch.zeros(1)}, "more does not belong"),
        ({BIAS: torch.zeros(2)}, f"{BIAS} is float32 \\[2\\] where the network of the card has float32 \\[6\\]"),
        ({BIAS: torch.zeros(6).half()}, f"{BIAS} is float16"),
        ({BIAS: torch.zeros(6).to_sparse()}, f"{BIAS} is not stored as plain values"),
        ({BIAS: torch.zeros(6, device="meta")}, f"{BIAS} is not stored as plain values"),
        ({BIAS: torch.full((6,), float("inf"))}, f"{BIAS} holds values that are not finite"),
    ],
)
def test_the_first_wrong_tensor_is_named(change: dict[str, torch.Tensor], words: str, tmp_path: Path) -> None:
    torch.save(small_state() | change, tmp_path / "check.pth")
    with pytest.raises(UserError, match=words):
        convert(tmp_path / "check.pth", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["check.pth"]


@pytest.mark.parametrize(
    "options",
    [
        {"inputs": ("",)},
        {"inputs": ("T1w", "FLAIR")},
        {"spacing": 0.0},
        {"spacing": float("nan")},
        {"gamma": float("inf")},
        {"gamma": -1},
        {"shape": (80, 90, 80)},
        {"shape": (80, 96)},
    ],
)
def test_options_that_make_no_model_write_none(options: dict[str, Any], tmp_path: Path) -> None:
    torch.save(small_state(), tmp_path / "check.pth")
    with pytest.raises(UserError):
        convert(tmp_path / "check.pth", tmp_path / "model", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["check.pth"]


def test_there_is_one_network_to_convert(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 checkpoints were given"):
        find_method("itermask3d").load().convert([tmp_path / "a", tmp_path / "b"], tmp_path / "model", {})


def test_a_network_that_narrows_is_refused(tmp_path: Path) -> None:
    torch.save(UNet3D((8, 4, 4, 4, 4)).state_dict(), tmp_path / "check.pth")
    with pytest.raises(UserError, match="never get smaller"):
        convert(tmp_path / "check.pth", tmp_path / "model")
