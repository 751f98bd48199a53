"""Model folders: what is written is read, and anything else is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
import torch
from safetensors.torch import load_file, save_file

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.itermask3d.normative_error import NORMATIVE_ERROR, SIDE
from IterMask3DLib.methods.loading import install, load_model
from IterMask3DLib.models import catalogue, store
from IterMask3DLib.models.catalogue import clear_installed, find_entry, find_model, list_models, read_card, user_folder
from IterMask3DLib.models.store import save_model
from IterMask3DLib.models.weights import TensorKind, kinds_of
from Testing.brains import toy_card, toy_model

BUNDLED = ["t1w", "flair", "itermask2-t1w-2mm", "mae-t1w-2mm", "t1w-2mm", "t2w"]
"""As they are listed."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_model(tmp_path / "toy")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (catalogue, store):
        monkeypatch.setattr(module, "user_folder", lambda: tmp_path / "user" / "models")
    return tmp_path / "user" / "models"


def test_a_saved_model_is_loaded_as_it_was(folder: Path) -> None:
    model = load_model(folder)
    assert not model.networks[NETWORK].training
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in model.networks[NETWORK].state_dict().items():
        assert torch.equal(tensor, tensors[name])
    assert ModelCard.from_json(model.card.to_json(), "card") == model.card == read_card(folder)


def test_arrays_beside_the_network_come_back_with_it(tmp_path: Path) -> None:
    table = np.random.default_rng(0).uniform(0.5, 2, (SIDE,) * 3).astype(np.float32)
    card = replace(toy_card("scored"), settings={"normative_error": True})
    states = {NETWORK: UNet3D((2,) * 5).state_dict()}
    save_model(tmp_path / "scored", card, states, {NORMATIVE_ERROR: table})
    np.testing.assert_array_equal(load_model(tmp_path / "scored").assets[NORMATIVE_ERROR], table)
    save_model(tmp_path / "missing", card, states)
    with pytest.raises(UserError, match=r"assets\.normative_error is missing"):
        load_model(tmp_path / "missing")
    save_model(tmp_path / "zero", card, states, {NORMATIVE_ERROR: 0 * table})
    with pytest.raises(UserError, match="must be above 0 everywhere"):
        load_model(tmp_path / "zero")


def change_card(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        change(card)
        (folder / "card.json").write_text(json.dumps(card))

    return damage


def sign(folder: Path) -> None:
    """Gives the card the checksum of the weights."""
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    change_card(lambda card: card["files"].update({"model.safetensors": digest}))(folder)


def config(**values: Any) -> Callable[[Path], None]:
    """Another configuration of the network."""
    return change_card(lambda card: card["networks"][NETWORK]["config"].update(values))


def resigned(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    """Other tensors under a card that carries their checksum."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        sign(folder)

    return damage


def _truncate(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-10])


LAST = "up_stage_4.2.conv.bias"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no card": (lambda f: (f / "card.json").unlink(), "card.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors cannot be read"),
    "truncated": (_truncate, "checksum"),
    "no JSON": (lambda f: (f / "card.json").write_text("{"), "not valid JSON"),
    "a list": (lambda f: (f / "card.json").write_text("[]"), "does not hold a card"),
    "missing key": (change_card(lambda c: c.pop("settings")), "settings is missing"),
    "wrong type": (change_card(lambda c: c["settings"].update(gamma="x")), "gamma is 'x'; it must be a number"),
    "unknown setting": (change_card(lambda c: c["settings"].update(magic=1)), "magic is not a setting"),
    "wrong method": (change_card(lambda c: c.update(method="magic")), "method magic is not known here"),
    "wrong scale": (change_card(lambda c: c.update(intensity="magic")), "intensity scale magic is not known here"),
    "wrong shape": (change_card(lambda c: c["grid"].update(shape=[33, 48, 48])), "multiples of 16"),
    "wrong multiple": (change_card(lambda c: c["grid"].update(multiple=8)), "multiples of 16"),
    "slices": (change_card(lambda c: c["grid"].update(shape=[48, 48])), "needs a 3D grid"),
    "two inputs": (change_card(lambda c: c.update(inputs=["T1w", "T2w"])), "takes one input, not 2"),
    "no network": (change_card(lambda c: c.update(networks={})), "networks must hold reconstruction"),
    "other network": (change_card(lambda c: c["networks"].update(more=c["networks"][NETWORK])), "networks must hold"),
    "wrong widths": (config(widths=[2, 2]), "5 positive whole numbers"),
    "no widths": (config(widths=None), "5 positive whole numbers"),
    "widths that get smaller": (config(widths=[4, 2, 2, 2, 2]), "never get smaller"),
    "widths beyond any memory": (config(widths=[2000] * 5), "the network of the card has"),
    "newer": (change_card(lambda c: c.update(format=3)), "newer version"),
    "other widths": (config(widths=[2, 2, 2, 2, 4]), "tensor"),
    "missing tensor": (resigned(lambda t: t.pop(LAST)), f"{LAST} is missing"),
    "extra tensor": (resigned(lambda t: t.update(more=torch.zeros(1))), "more does not belong"),
    "other type": (resigned(lambda t: t.update({LAST: torch.zeros(1).half()})), "float16"),
    "not finite": (resigned(lambda t: t[LAST].fill_(float("nan"))), "not finite"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_wrong_model_is_refused(kind: str, folder: Path) -> None:
    damage, words = DAMAGES[kind]
    damage(folder)
    with pytest.raises(UserError, match=words):
        load_model(folder)


def test_a_pickle_under_the_name_of_the_weights_is_not_loaded(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")
    sign(folder)
    with pytest.raises(UserError, match="not a safetensors file"):
        load_model(folder)


def test_the_bundled_models_are_whole_and_one_is_the_default() -> None:
    assert find_model(None) == find_model("t1w")
    for name in BUNDLED:
        card = load_model(find_model(name)).card
        assert card.name == name and len(card.inputs) == 1 and card.format == 2
        assert "CC BY-SA 3.0" in card.training["licence"]
        assert (find_model(name) / "model.safetensors").stat().st_size < 40e6


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
    origins = {entry.name: entry.origin for entry in list_models()}
    assert origins == dict.fromkeys(BUNDLED, "bundled") | {"toy": "installed"}
    assert find_entry("toy") == list_models()[-1] and find_entry(None) == list_models()[0]
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
    with pytest.raises(UserError, match=r"must hold (one model|a card\.json)"):
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


def test_an_overwrite_that_fails_gives_the_earlier_model_back(
    folder: Path, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        save_model(folder, replace(model.card, title="Other"), {NETWORK: model.networks[NETWORK].state_dict()})
    assert load_model(folder).card.title == "Toy"
    assert [path.name for path in folder.parent.iterdir()] == ["toy"]


def test_a_card_that_could_not_be_read_again_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="title must be a text"):
        save_model(tmp_path / "new", replace(toy_card("new"), title=""), {NETWORK: UNet3D((2,) * 5).state_dict()})
    assert not (tmp_path / "new").exists()


def test_several_networks_share_a_file_by_the_beginnings_of_their_names(tmp_path: Path) -> None:
    """As methods with more than one network have them."""
    torch.manual_seed(0)
    networks = {"one": torch.nn.Linear(2, 3), "two": torch.nn.Linear(2, 3)}

    class TwoNetworks:
        signed_assets: frozenset[str] = frozenset()

        def build(self, card: ModelCard) -> dict[str, torch.nn.Module]:
            return {name: torch.nn.Linear(2, 3) for name in networks}

        def tensors(self, card: ModelCard) -> dict[str, dict[str, TensorKind]]:
            return {name: kinds_of(network.state_dict()) for name, network in self.build(card).items()}

        def assets(self, card: ModelCard) -> dict[str, tuple[int, ...]]:
            return {"prior": (4,)}

    states = {name: network.state_dict() for name, network in networks.items()}
    card = save_model(tmp_path / "two", toy_card("two"), states, {"prior": np.ones(4, np.float32)})
    again = store.read_model(tmp_path / "two", read_card(tmp_path / "two"), TwoNetworks())
    assert {entry.prefix for entry in card.networks.values()} == {"one.", "two."}
    for name, network in networks.items():
        assert torch.equal(again.networks[name].weight, network.weight)
    np.testing.assert_array_equal(again.assets["prior"], np.ones(4))
    # Models of the same networks have the same file of weights, whatever else belongs to them.
    other = save_model(tmp_path / "other", toy_card("other"), states, {"prior": np.full(4, 2, np.float32)})
    assert other.files[store.WEIGHTS] == card.files[store.WEIGHTS]
    assert other.files[store.ASSETS] != card.files[store.ASSETS]


def test_installed_models_live_in_the_data_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
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


def test_a_name_that_no_folder_can_have_is_not_found(user: Path) -> None:
    for name in ("x" * 5000, "a\0b", "/" + "y" * 5000):
        with pytest.raises(UserError, match="neither bundled, installed, nor a folder"):
            find_model(name)
        assert find_entry(name) is None


def test_installed_models_can_be_cleared(folder: Path, user: Path) -> None:
    install(folder)
    assert clear_installed() == 1 and [entry.name for entry in list_models()] == BUNDLED
    assert folder.is_dir()
