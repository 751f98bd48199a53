"""A checkpoint of the published code becomes a model folder; anything else is refused unexecuted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from IterMask3DLib.engine.convert import convert
from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.models import load_model
from IterMask3DLib.engine.network import UNet3D
from Testing.engine.published import fill_published


@pytest.fixture(scope="module")
def published() -> UNet3D:
    return fill_published(UNet3D())


@pytest.mark.parametrize("wrapped", ["bare", "state_dict", "parallel"])
def test_a_published_checkpoint_loads_unchanged(wrapped: str, published: UNet3D, tmp_path: Path) -> None:
    state = dict(published.state_dict())
    content = {"bare": state, "state_dict": {"state_dict": state, "epoch": 20}, "parallel": {f"module.{k}": v for k, v in state.items()}}[
        wrapped
    ]
    torch.save(content, tmp_path / "check.pth")
    card = convert(tmp_path / "check.pth", tmp_path / "model", name="model", modality="FLAIR")
    assert card.grid.shape == (192, 192, 192) and card.widths == (16, 32, 64, 128, 256)
    assert card.high_frequency_cutoff == 15 / 192
    loaded = load_model(tmp_path / "model").network.state_dict()
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Hostile()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="tensors alone"):
        convert(tmp_path / "evil.pth", tmp_path / "model", name="model", modality="T1w")
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
        with pytest.raises(InputError, match=words[name]):
            convert(path, tmp_path / "model", name="model", modality="T1w")
    with pytest.raises(InputError, match="cannot be read"):
        convert(tmp_path / "missing", tmp_path / "model", name="model", modality="T1w")
    assert not (tmp_path / "model").exists()
