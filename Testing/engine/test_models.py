"""Model folders: what is written is read, and anything else is refused in one sentence."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from IterMask3DLib.engine import models
from IterMask3DLib.engine.card import Card
from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.models import find_model, install, list_models, load_model, verify
from Testing.brains import toy_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_model(tmp_path / "toy")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(models, "user_folder", lambda: tmp_path / "user" / "models")
    return tmp_path / "user" / "models"


def test_a_saved_model_is_loaded_as_it_was(folder: Path) -> None:
    model = load_model(folder)
    assert not model.network.training
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, tensors[name])
    assert Card.from_json(model.card.to_json(), "card").to_json() == model.card.to_json()


def change_card(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        change(card)
        (folder / "card.json").write_text(json.dumps(card))

    return damage


def resigned(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    """Other tensors under a card that carries their checksum."""

    def damage(folder: Path) -> None:
        import hashlib

        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        change_card(lambda c: c.update(sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()))(folder)

    return damage


def _truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-10])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no card": (lambda f: (f / "card.json").unlink(), "card.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors cannot be read"),
    "truncated": (_truncate, "checksum"),
    "no JSON": (lambda f: (f / "card.json").write_text("{"), "not valid JSON"),
    "a list": (lambda f: (f / "card.json").write_text("[]"), "does not hold a card"),
    "missing key": (change_card(lambda c: c.pop("gamma")), "gamma is missing"),
    "wrong type": (change_card(lambda c: c.update(gamma="x")), "gamma must be a number"),
    "wrong method": (change_card(lambda c: c.update(method="magic")), "method is 'magic'"),
    "wrong scale": (change_card(lambda c: c.update(intensity="magic")), "intensity is 'magic'"),
    "wrong shape": (change_card(lambda c: c["grid"].update(shape=[33, 48, 48])), "multiples of 16"),
    "wrong widths": (change_card(lambda c: c.update(widths=[2, 2])), "5 positive whole numbers"),
    "newer": (change_card(lambda c: c.update(format_version=2)), "newer version"),
    "other widths": (change_card(lambda c: c.update(widths=[2, 2, 2, 2, 4])), "tensor"),
    "missing tensor": (resigned(lambda t: t.pop("up_stage_4.2.conv.bias")), "up_stage_4.2.conv.bias is missing"),
    "extra tensor": (resigned(lambda t: t.update(more=torch.zeros(1))), "more does not belong"),
    "not finite": (resigned(lambda t: t["up_stage_4.2.conv.bias"].fill_(float("nan"))), "not finite"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_wrong_model_is_refused(kind: str, folder: Path) -> None:
    damage, words = DAMAGES[kind]
    damage(folder)
    with pytest.raises(InputError, match=words):
        load_model(folder)


def test_a_pickle_under_the_name_of_the_weights_is_not_loaded(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    import hashlib

    change_card(lambda c: c.update(sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()))(folder)
    with pytest.raises(InputError, match="not a safetensors file"):
        load_model(folder)


def test_the_bundled_model_is_the_default_and_whole() -> None:
    card = verify(find_model(None))
    assert card.name == "t1w-2mm" and card.modality == "T1w"
    assert "CC BY-SA 3.0" in card.training["licence"] and card.training["subjects"] == 140
    weights = find_model(None) / "model.safetensors"
    assert weights.stat().st_size < 40e6


def test_an_unknown_model_is_refused(user: Path) -> None:
    with pytest.raises(InputError, match="neither bundled, installed, nor a folder"):
        find_model("nowhere")


@pytest.mark.parametrize("as_zip", [False, True])
def test_an_installed_model_is_found_by_its_name(as_zip: bool, folder: Path, user: Path, tmp_path: Path) -> None:
    source = folder
    if as_zip:
        source = tmp_path / "toy.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for name in ("card.json", "model.safetensors"):
                archive.write(folder / name, f"toy/{name}")
    assert install(source) == user / "toy" == find_model("toy")
    assert {entry.name: entry.origin for entry in list_models()} == {"t1w-2mm": "bundled", "toy": "installed"}
    with pytest.raises(InputError, match="exists already"):
        install(source)
    install(source, overwrite=True)
    assert [path.name for path in user.iterdir()] == ["toy"]


def test_a_hostile_zip_writes_nothing_outside(folder: Path, user: Path, tmp_path: Path) -> None:
    source = tmp_path / "evil.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.write(folder / "card.json", "card.json")
        archive.write(folder / "model.safetensors", "model.safetensors")
        archive.writestr("../../escaped.txt", "x")
    install(source)
    assert sorted(path.name for path in (user / "toy").iterdir()) == ["card.json", "model.safetensors"]
    assert not list(tmp_path.rglob("escaped.txt"))


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden"])
def test_a_name_that_is_no_folder_name_is_not_installed(name: str, folder: Path, user: Path) -> None:
    change_card(lambda c: c.update(name=name))(folder)
    with pytest.raises(InputError, match="folder name"):
        install(folder)


def test_a_damaged_model_is_listed_with_its_problem(folder: Path, user: Path) -> None:
    _truncate(folder)
    entry = next(entry for entry in list_models(folder.parent) if entry.name == "toy")
    assert entry.card is None and "checksum" in str(entry.problem)
