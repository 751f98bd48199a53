"""Model folders: what is written is read, and anything else is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest
import torch
from safetensors.torch import load_file, save_file

from IterMask3DLib.engine import models
from IterMask3DLib.core.card import Card
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import find_model, install, list_models, load_model, save_model, user_folder, verify
from IterMask3DLib.methods.itermask3d.network import UNet3D
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
    "widths that get smaller": (change_card(lambda c: c.update(widths=[4, 2, 2, 2, 2])), "never get smaller"),
    "widths beyond any memory": (change_card(lambda c: c.update(widths=[10**6] * 5)), "the network of the card has"),
    "newer": (change_card(lambda c: c.update(format_version=2)), "newer version"),
    "other widths": (change_card(lambda c: c.update(widths=[2, 2, 2, 2, 4])), "tensor"),
    "missing tensor": (resigned(lambda t: t.pop("up_stage_4.2.conv.bias")), "up_stage_4.2.conv.bias is missing"),
    "extra tensor": (resigned(lambda t: t.update(more=torch.zeros(1))), "more does not belong"),
    "other type": (resigned(lambda t: t.update({"up_stage_4.2.conv.bias": torch.zeros(1).half()})), "float16"),
    "not finite": (resigned(lambda t: t["up_stage_4.2.conv.bias"].fill_(float("nan"))), "not finite"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_wrong_model_is_refused(kind: str, folder: Path) -> None:
    damage, words = DAMAGES[kind]
    damage(folder)
    with pytest.raises(UserError, match=words):
        load_model(folder)


def test_a_pickle_under_the_name_of_the_weights_is_not_loaded(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    change_card(lambda c: c.update(sha256=hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()))(folder)
    with pytest.raises(UserError, match="not a safetensors file"):
        load_model(folder)


def test_the_bundled_model_is_the_default_and_whole() -> None:
    card = verify(find_model(None))
    assert card.name == "t1w-2mm" and card.modality == "T1w"
    assert "CC BY-SA 3.0" in card.training["licence"] and card.training["subjects"] == 140
    weights = find_model(None) / "model.safetensors"
    assert weights.stat().st_size < 40e6


def test_an_unknown_model_is_refused(user: Path) -> None:
    with pytest.raises(UserError, match="neither bundled, installed, nor a folder"):
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
    with pytest.raises(UserError, match="exists already"):
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


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a\\b", "C:b", "a\0b", "a\nb", "end ", "x" * 300])
def test_a_name_that_is_no_folder_name_is_not_installed(name: str, folder: Path, user: Path) -> None:
    change_card(lambda c: c.update(name=name))(folder)
    with pytest.raises(UserError, match="folder name"):
        install(folder)


def test_a_damaged_model_is_listed_with_its_problem(folder: Path, user: Path) -> None:
    _truncate(folder)
    entry = next(entry for entry in list_models(folder.parent) if entry.name == "toy")
    assert entry.card is None and "checksum" in str(entry.problem)


def zipped(folder: Path, *places: str) -> Path:
    """A zip file that holds the model once in each of the places."""
    source = folder.with_suffix(".zip")
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in places:
            for name in ("card.json", "model.safetensors"):
                archive.write(folder / name, f"{place}{name}")
    return source


@pytest.mark.parametrize("places", [("a/", "b/"), ("a/b/",), ()])
def test_a_zip_file_without_exactly_one_model_is_refused(places: tuple[str, ...], folder: Path, user: Path) -> None:
    with pytest.raises(UserError, match="must hold exactly one"):
        install(zipped(folder, *places))
    assert not user.exists()


def _damage_stream(data: bytearray) -> None:
    start = data.index(b"model.safetensors") + len(b"model.safetensors")
    data[start : start + 60] = b"\xff" * 60


def _damage_name(data: bytearray) -> None:
    entry = data.rindex(b"PK\1\2")
    data[entry + 9] |= 8  # says that the name is UTF-8
    data[entry + 46] = 0xFF


def _cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


@pytest.mark.parametrize("damage", [_damage_stream, _damage_name, _cut])
def test_a_damaged_zip_file_is_refused(damage: Callable[[bytearray], None], folder: Path, user: Path) -> None:
    source = zipped(folder, "")
    data = bytearray(source.read_bytes())
    damage(data)
    source.write_bytes(data)
    with pytest.raises(UserError, match="neither a model folder nor a readable zip file"):
        install(source)
    assert not user.exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(folder: Path, user: Path) -> None:
    (folder / "card.json").write_bytes(b" " * 50_000_000)
    source = zipped(folder, "")
    assert source.stat().st_size < 200_000
    with pytest.raises(UserError, match=r"card\.json is larger than a model can be"):
        install(source)


def test_weights_above_two_gigabytes_are_refused_by_their_header(folder: Path, user: Path) -> None:
    source = zipped(folder, "")
    data = bytearray(source.read_bytes())
    entry = data.rindex(b"PK\1\2")
    data[entry + 24 : entry + 28] = (2 * 1024**3 + 1).to_bytes(4, "little")
    source.write_bytes(data)
    with pytest.raises(UserError, match=r"model\.safetensors is larger"):
        install(source)


def test_an_overwrite_that_fails_gives_the_earlier_model_back(folder: Path, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = install(folder)
    before = (target / "card.json").read_bytes()
    change_card(lambda c: c.update(title="Newer"))(folder)
    plain_replace, calls = os.replace, []

    def refuse_the_second(source: Path, to: Path) -> None:
        calls.append(to)
        if len(calls) == 2:
            raise PermissionError(13, "Permission denied")
        plain_replace(source, to)

    monkeypatch.setattr(os, "replace", refuse_the_second)
    with pytest.raises(UserError, match="Permission denied"):
        install(folder, overwrite=True)
    assert (target / "card.json").read_bytes() == before
    assert [path.name for path in user.iterdir()] == ["toy"]


def test_saving_replaces_no_folder_and_leaves_nothing_beside_it(folder: Path) -> None:
    model = load_model(folder)
    with pytest.raises(UserError, match="exists already"):
        save_model(folder, model.network, replace(model.card, title="Other"))
    assert load_model(folder).card.title == "Toy"
    assert [path.name for path in folder.parent.iterdir()] == ["toy"]


def test_a_card_that_could_not_be_read_again_is_not_saved(tmp_path: Path, folder: Path) -> None:
    card = replace(load_model(folder).card, modality="")
    with pytest.raises(UserError, match="modality must be a text"):
        save_model(tmp_path / "new", UNet3D(card.widths), card)
    assert not (tmp_path / "new").exists()


def test_installed_models_live_in_the_data_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(platformdirs, "user_data_path", lambda name: tmp_path / "data" / name)
    assert user_folder() == tmp_path / "data" / "itermask3d" / "models"
    assert install(folder) == tmp_path / "data" / "itermask3d" / "models" / "toy"


def test_a_model_folder_or_a_folder_of_models_can_be_listed(folder: Path, user: Path) -> None:
    for given in (folder, folder.parent):
        assert [(entry.name, entry.origin, entry.folder) for entry in list_models(given) if entry.origin == "path"] == [
            ("toy", "path", folder)
        ]
    assert find_model(str(folder)) == folder
    with pytest.raises(UserError, match="is not a folder"):
        list_models(folder / "card.json")


def test_the_folder_above_is_a_path_and_not_a_name(folder: Path, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "inside").mkdir()
    monkeypatch.chdir(folder / "inside")
    assert load_model(find_model("..")).card.name == "toy"
