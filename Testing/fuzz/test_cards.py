"""Model folders with cards and weights that nobody should have written."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from IterMask3DLib.core.card import CARD_FILE, ModelCard
from IterMask3DLib.models.store import save_model
from Testing.fuzz.changed import changed, changed_at
from Testing.fuzz.contract import Told, contents, held, nothing_lost, told
from Testing.fuzz.rounds import rounds

QUICK = ("--backend", "pytorch", "--sweep-passes", 2, "--max-shrink", 1)


def with_card(model: Path, folder: Path, text: str | bytes) -> Path:
    """A copy of a model with another card."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    (folder / CARD_FILE).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return folder


def used(model: Path, scan: Path, tmp_path: Path) -> list[Told]:
    """What every command says to a model."""
    before = contents(model)
    ended = [
        held(told("models", "verify", model)),
        held(told("models", "show", model), 0),
        held(told("models", "list", model)),
        held(told("segment", scan, "-o", tmp_path / "out", "--model", model, "--overwrite", *QUICK)),
    ]
    nothing_lost(before, model)
    return ended


def at(*way: Any, value: Any) -> Callable[[Any], Any]:
    return lambda card: changed_at(card, way, value)


CARDS: dict[str, Callable[[Any], Any]] = {
    **{
        f"{name} {v}": at("settings", name, value=v)
        for name in ("sweep_passes", "gamma")
        for v in (0, -1, 1e30, "many")
    },
    **{
        f"spacing {value}": at("grid", "spacing", value=value)
        for value in (0, -2, 1e-9, 1e9, "wide", None, [2], float("nan"))
    },
    **{
        f"shape {value}": at("grid", "shape", value=value)
        for value in (
            [0, 0, 0],
            [-16] * 3,
            [10**9] * 3,
            [1024] * 3,
            [16],
            [16] * 9,
            [17, 16, 16],
            "large",
            [16.5] * 3,
            [True] * 3,
        )
    },
    **{f"multiple {value}": at("grid", "multiple", value=value) for value in (0, -16, 10**9, 3, "x", 1)},
    **{
        f"widths {value}": at("networks", "reconstruction", "config", "widths", value=value)
        for value in (
            [2] * 4,
            [2] * 99,
            [0] * 5,
            [-2] * 5,
            [10**9] * 5,
            [2.5] * 5,
            [True] * 5,
            "wide",
            5,
            None,
            [4, 2, 2, 2, 2],
            {},
        )
    },
    **{
        f"dropout {value}": at("networks", "reconstruction", "config", "dropout", value=value)
        for value in (-1, 2, float("nan"), "some", None)
    },
    **{
        f"smoothing {value}": at("settings", value={"smoothing_mm": value}) for value in (-1, 1e9, "much", float("inf"))
    },
    **{f"method {value!r}": at("method", value=value) for value in ("", "none", None, 3, "../x", "itermask3d\n", [])},
    **{
        f"inputs {value}": at("inputs", value=value)
        for value in ([], [""], ["a"] * 2, "T1w", None, [1], ["x"] * 99, ["T1w", "T2w"])
    },
    **{
        f"file {value!r}": at("networks", "reconstruction", "file", value=value)
        for value in ("", "../model.safetensors", "/etc/passwd", "card.json", "none.safetensors", None, "x" * 999)
    },
    **{
        f"files {value!r}": at("files", value=value)
        for value in ({}, [], None, {"model.safetensors": "0" * 64}, {"model.safetensors": 1})
    },
    **{f"format {value}": at("format", value=value) for value in (0, 1, 3, 10**9, "2", None, True)},
    **{
        f"name {value!r}": at("name", value=value)
        for value in ("", "..", "a/b", "\0", "x" * 999, "line\nbreak", None, "CON", ".hidden")
    },
    **{
        f"figures {value!r}": at("figures", value=value)
        for value in ({}, [1], [{}], None, [{"name": "x", "value": [1]}])
    },
    **{
        f"training {value!r}": at("training", value=value)
        for value in ([], None, {"attribution": {"a": []}}, {"attribution": ["<script>"]})
    },
    "assets that are not there": at("assets", value={"normative_error": {"file": "model.safetensors", "tensor": "x"}}),
    "normative error without one": at("settings", value={"normative_error": True}),
    "unknown setting": at("settings", value={"nonsense": 1}),
    "settings as a list": at("settings", value=[]),
    "card as a list": lambda card: [card],
    "card as nothing": lambda card: None,
    "card of a deep nest": lambda card: {**card, "training": json.loads("[" * 900 + "]" * 900)},
    "unknown intensity": at("intensity", value="bright"),
    "networks of nobody": at("networks", value={}),
    "another network": lambda card: {**card, "networks": {"other": card["networks"]["reconstruction"]}},
}


@pytest.mark.parametrize("name", CARDS)
def test_every_command_meets_every_card(name: str, model: Path, scan: Path, tmp_path: Path) -> None:
    card = CARDS[name](json.loads((model / CARD_FILE).read_text()))
    used(with_card(model, tmp_path / "odd", json.dumps(card)), scan, tmp_path)


TEXTS = {
    "empty": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "many brackets": b"[" * 100000,
    "a huge number": b'{"format": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"format": 2, "format": 2}',
    "another byte order": "{}".encode("utf-16"),
    "zeros": bytes(5000),
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_meets_what_is_no_card(name: str, model: Path, scan: Path, tmp_path: Path) -> None:
    ended = used(with_card(model, tmp_path / "odd", TEXTS[name]), scan, tmp_path)
    assert [each.code for each in ended] == [1, 0, 1, 1]


WEIGHTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "infinite": lambda t: torch.full_like(t, float("inf")) if t.is_floating_point() else t,
    "no numbers": lambda t: torch.full_like(t, float("nan")) if t.is_floating_point() else t,
    "so large that they give infinities": lambda t: torch.full_like(t, 1e30) if t.is_floating_point() else t,
    "so large that their errors are infinite": lambda t: torch.full_like(t, 1e4) if t.is_floating_point() else t,
    "nothing": torch.zeros_like,
    "of another type": lambda t: t.to(torch.float64),
    "of another shape": lambda t: t.reshape(-1)[:1],
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_command_meets_strange_weights(name: str, model: Path, scan: Path, tmp_path: Path) -> None:
    tensors = {key: WEIGHTS[name](tensor) for key, tensor in load_file(model / "model.safetensors").items()}
    card = ModelCard.from_json((model / CARD_FILE).read_text(), "card")
    save_model(tmp_path / "odd", card, {"reconstruction": tensors})
    used(tmp_path / "odd", scan, tmp_path)


def test_every_command_meets_damaged_weights(model: Path, scan: Path, tmp_path: Path) -> None:
    card = (model / CARD_FILE).read_text()
    for number, change in enumerate((lambda b: b[:100], lambda b: b"", lambda b: b"\xff" * len(b), lambda b: b + b"x")):
        odd = with_card(model, tmp_path / "odd", card)
        (odd / "model.safetensors").write_bytes(change((model / "model.safetensors").read_bytes()))
        assert used(odd, scan, tmp_path)[0].code == 1, number


def zipped(folder: Path, name: str, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return folder / name


def test_install_meets_strange_archives(model: Path, tmp_path: Path) -> None:
    card, weights = ((model / name).read_bytes() for name in (CARD_FILE, "model.safetensors"))
    whole = zipped(tmp_path, "whole.zip", {"card.json": card, "model.safetensors": weights})
    sources = [
        zipped(tmp_path, "bomb.zip", {"card.json": card, "model.safetensors": bytes(64 << 20)}),
        zipped(tmp_path, "up.zip", {"../card.json": card, "../../model.safetensors": weights}),
        zipped(tmp_path, "empty.zip", {}),
        zipped(tmp_path, "large.zip", {"card.json": b" " * (2 << 20), "model.safetensors": weights}),
        zipped(tmp_path, "many.zip", {"card.json": card, **{f"{n}.safetensors": b"" for n in range(50)}}),
        tmp_path / "none.zip",
        tmp_path,
        Path("/dev/null"),
    ]
    (tmp_path / "cut.zip").write_bytes(whole.read_bytes()[:500])
    (tmp_path / "noise.zip").write_bytes(b"PK\3\4" + bytes(range(256)) * 9)
    before = contents(tmp_path)
    for source in (*sources, tmp_path / "cut.zip", tmp_path / "noise.zip"):
        held(told("models", "install", source), 1)
        nothing_lost(before, tmp_path)
    held(told("models", "install", whole), 0)
    held(told("models", "install", whole), 1)
    held(told("models", "install", whole, "--overwrite"), 0)


def test_cards_with_other_values(model: Path, scan: Path, tmp_path: Path) -> None:
    card = json.loads((model / CARD_FILE).read_text())

    def check(odd: Any) -> None:
        folder = with_card(model, tmp_path / "odd", json.dumps(odd))
        if held(told("models", "verify", folder)).code == 0:
            held(told("segment", scan, "-o", tmp_path / "out", "--model", folder, "--overwrite", *QUICK))

    rounds(check, odd=changed(card))
