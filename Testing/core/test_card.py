"""A card is read as it was written, one of an earlier version too, and a wrong one is refused by its wrong entry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from IterMask3DLib.core.card import AssetEntry, CardGrid, Figure, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.catalogue import find_model, read_card

FORMAT_1 = Path(__file__).parents[1] / "models" / "golden" / "card_format_1.json"
CARD = ModelCard(
    name="toy",
    title="Größe «toy»",
    method="itermask3d",
    inputs=("T1w", "FLAIR"),
    grid=CardGrid(2.0, (80, 96, 80)),
    networks={"reconstruction": NetworkEntry("model.safetensors", "unet.", {"widths": [8, 16, 32, 64, 128]})},
    files={"model.safetensors": "0" * 64},
    assets={"normative_error": AssetEntry("model.safetensors", "table")},
    settings={"gamma": 0.3, "sweep_passes": 50},
    training={"subjects": 140, "licence": "CC BY-SA 3.0"},
    figures=(
        Figure("Dice", 0.51, "15 brains", 0.45, 0.564, "", "itermask3d evaluate all", "0.1.0"),
        Figure("cohort", "ixi"),
    ),
    created="2026-11-21",
)
SLICES = replace(CARD, grid=CardGrid(1.0, (192, 224), 32, slice_spacing=3.0))


@pytest.mark.parametrize("card", [CARD, SLICES], ids=["volumes", "slices"])
def test_a_card_is_read_as_it_was_written(card: ModelCard) -> None:
    assert ModelCard.from_json(card.to_json(), "card.json") == card


def test_a_grid_knows_whether_its_model_works_on_slices() -> None:
    assert not CARD.grid.is_2d and CARD.grid.spacings == (2.0, 2.0, 2.0)
    assert SLICES.grid.is_2d and SLICES.grid.spacings == (1.0, 1.0, 3.0)


def changed(path: str, value: Any, text: str | None = None) -> str:
    """A card's text with another value at a dotted path."""
    raw = json.loads(text or CARD.to_json())
    inner, names = raw, path.split(".")
    for name in names[:-1]:
        inner = inner[int(name) if isinstance(inner, list) else name]
    inner[names[-1]] = value
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", "", "name must be a text"),
        ("name", 3, "name is 3; it must be a text"),
        ("inputs", [], "inputs must be a list of different names"),
        ("inputs", ["T1w", "T1w"], "inputs must be a list of different names"),
        ("grid", [2.0, 80, 96, 80], "grid must be an object"),
        ("grid.spacing", 0, "grid.spacing is 0; it must be at least 0.1"),
        ("grid.spacing", float("nan"), "grid.spacing is nan; it must be a number"),
        ("grid.spacing", float("inf"), "grid.spacing is inf; it must be a number"),
        ("grid.spacing", 10**400, "grid.spacing is 10"),
        ("grid.spacing", True, "grid.spacing is True; it must be a number"),
        ("grid.shape", [80], "grid.shape must be 3 positive whole numbers"),
        ("grid.shape", [80, 90, 80], "grid.shape must hold multiples of 16"),
        ("grid.shape", [80.0, 96.0, 80.0], "grid.shape must be 3 positive whole numbers"),
        ("grid.shape", [80, 96, 160_000], "grid.shape must be 3 positive whole numbers up to 1024"),
        ("grid.multiple", 0, "grid.multiple is 0; it must be at least 1"),
        ("grid.slice_spacing", -1, "grid.slice_spacing is -1"),
        ("networks.reconstruction", "model", "networks.reconstruction must be an object"),
        ("networks.reconstruction.file", "../model.safetensors", "file must name a .safetensors file beside the card"),
        ("networks.reconstruction.file", "model.pth", "file must name a .safetensors file beside the card"),
        ("networks.reconstruction.file", "other.safetensors", r"files\.other\.safetensors is missing"),
        ("networks.reconstruction.config", None, "config must be an object"),
        ("assets.normative_error.tensor", "", "tensor must be a text"),
        ("files", {"model.safetensors": "12"}, r"files\.model\.safetensors must be a SHA-256"),
        ("settings", [], "settings must be an object"),
        ("intensity", "", "intensity must be a text"),
        ("figures", {"Dice": 0.5}, "figures must be a list of objects"),
        ("figures", [1], "figures must be a list of objects"),
        ("figures.0.value", [0.5], r"figures\[0\]\.value must be a number or a text"),
        ("figures.1.name", "", r"figures\[1\]\.name must be a text"),
        ("figures.0.low", "x", r"figures\[0\]\.low is 'x'; it must be a number"),
        ("figures.0.command", 7, r"figures\[0\]\.command is 7; it must be a text"),
        ("format", 3, "newer version of this software"),
        ("format", "2", "format is '2'; it must be a whole number"),
    ],
)
def test_a_wrong_entry_is_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(UserError, match=f"^somewhere/card.json: .*{words}"):
        ModelCard.from_json(changed(path, value), "somewhere/card.json")


@pytest.mark.parametrize("key", sorted(json.loads(CARD.to_json())))
def test_every_entry_is_needed(key: str) -> None:
    raw = json.loads(CARD.to_json())
    del raw[key]
    with pytest.raises(UserError, match=f"{key} is missing"):
        ModelCard.from_json(json.dumps(raw), "card.json")


def test_what_may_be_left_out_of_a_figure_is() -> None:
    card = ModelCard.from_json(changed("figures", [{"name": "Dice", "value": 0.5, "unheard of": 1}]), "card.json")
    assert card.figures == (Figure("Dice", 0.5),)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000 + "x"])
def test_a_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not valid JSON"):
        ModelCard.from_json(text, "card.json")


@pytest.mark.parametrize("text", ["[]", "3", '"card"', "null"])
def test_json_that_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="does not hold a card"):
        ModelCard.from_json(text, "card.json")


def test_what_only_describes_a_model_does_not_decide_its_results() -> None:
    other = replace(CARD, title="Other", training={}, figures=(), created="today")
    assert other.deciding == CARD.deciding
    assert replace(CARD, settings={"gamma": 0.4}).deciding != CARD.deciding


# Cards of format 1, as version 0.1.0 first wrote them


def test_a_card_of_format_1_says_what_the_same_model_says_in_format_2() -> None:
    upgraded, bundled = (
        ModelCard.from_json(FORMAT_1.read_text(encoding="utf-8"), "card.json"),
        read_card(find_model("t1w-2mm")),
    )
    assert upgraded.deciding == bundled.deciding
    assert upgraded.training.items() <= bundled.training.items()
    spec = find_method("itermask3d")
    assert spec.settings(upgraded) == spec.settings(bundled)
    assert spec.settings(bundled).median_multiple == 25.0 and spec.settings(bundled).region_growing == 1.5


def test_the_figures_of_format_1_are_all_there_in_format_2() -> None:
    old = ModelCard.from_json(FORMAT_1.read_text(encoding="utf-8"), "card.json").figures
    new = read_card(find_model("t1w-2mm")).figures
    numbers = {number for figure in new for number in (figure.value, figure.low, figure.high)}
    assert {figure.value for figure in old if isinstance(figure.value, float)} <= numbers
    (dice,) = (figure for figure in new if figure.name == "mean Dice of the own mask")
    assert "all: 0.510 (0.450 to 0.564)" in {f"{figure.name.split(': ')[-1]}: {figure.value}" for figure in old}
    assert (dice.value, dice.low, dice.high) == (0.51, 0.45, 0.564)
    assert {figure.command for figure in new} == {figure.value for figure in old if figure.name.endswith("command")}
    assert all(figure.version for figure in new)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("format_version", 2, "newer version of this software"),
        ("format_version", "1", "format_version is '1'; it must be a whole number"),
        ("modality", "", "modality must be a text"),
        ("method", "itermask2", "method is 'itermask2'; use one of itermask3d"),
        ("thresholds", [], "thresholds must be an object"),
        ("scoring.healthy_error", 1, "scoring.healthy_error must be true or false"),
        ("dropout", 2, "dropout is 2; it must be at least 0 and at most 1"),
        ("options", [], "options must be an object"),
    ],
)
def test_a_wrong_entry_of_format_1_is_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(UserError, match=f"^card.json: .*{words}"):
        ModelCard.from_json(changed(path, value, FORMAT_1.read_text(encoding="utf-8")), "card.json")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("gamma", 0, "gamma is 0"),
        ("gamma", float("nan"), "gamma is nan"),
        ("thresholds.passes", 0, "sweep_passes is 0; it must be at least 1"),
        ("thresholds.passes", 99.5, "sweep_passes is 99.5; it must be a whole number"),
        ("thresholds.y_limit", None, "y_limit is None; it must be a number"),
        ("thresholds.shrink_ratio", -1, "stop_ratio is -1"),
    ],
)
def test_a_wrong_number_of_format_1_is_refused_by_the_method(path: str, value: Any, words: str) -> None:
    card = ModelCard.from_json(changed(path, value, FORMAT_1.read_text(encoding="utf-8")), "card.json")
    with pytest.raises(UserError, match=words):
        find_method("itermask3d").settings(card)
