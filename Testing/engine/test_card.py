"""A card is read as it was written, and a wrong one is refused by the name of the entry that is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from IterMask3DLib.core.card import Card, CardGrid, Thresholds
from IterMask3DLib.core.errors import UserError

CARD = Card(
    name="toy",
    title="Größe «toy»",
    modality="T1w",
    grid=CardGrid(2.0, (80, 96, 80)),
    widths=(8, 16, 32, 64, 128),
    thresholds=Thresholds(passes=50, y_limit=8.0),
    options={"full_brain_share": 0.2},
    training={"subjects": 140, "licence": "CC BY-SA 3.0"},
    figures={"Dice": {"mean": 0.5}},
    created="2026-11-21",
    sha256="0" * 64,
)


def test_a_card_is_read_as_it_was_written() -> None:
    assert Card.from_json(CARD.to_json(), "card.json") == CARD


def test_the_defaults_are_the_published_numbers() -> None:
    card = Card(name="n", title="t", modality="T1w", grid=CardGrid(1.0, (192, 192, 192)), widths=(16, 32, 64, 128, 256))
    assert (card.gamma, card.dropout, card.high_frequency_cutoff) == (0.05, 0.2, 0.078125)
    assert card.thresholds == Thresholds(y_limit=10.0, r_squared_limit=0.85, passes=100, shrink_ratio=0.01, max_shrink=100)


def changed(path: str, value: Any) -> str:
    """The card's text with another value at a dotted path."""
    raw = json.loads(CARD.to_json())
    inner, names = raw, path.split(".")
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = value
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", "", "name must be a text"),
        ("name", 3, "name must be a text"),
        ("grid", [2.0, 80, 96, 80], "grid must be an object"),
        ("grid.spacing", 0, "grid.spacing must be above 0"),
        ("grid.shape", [80, 96], "grid.shape must be 3 positive whole numbers"),
        ("grid.shape", [80, 90, 80], "grid.shape must hold multiples of 16"),
        ("grid.shape", [80.0, 96.0, 80.0], "grid.shape must be 3 positive whole numbers"),
        ("widths", [8, 16, 32, 64], "widths must be 5 positive whole numbers"),
        ("widths", [8, 16, 32, 64, -1], "widths must be 5 positive whole numbers"),
        ("widths", [True] * 5, "widths must be 5 positive whole numbers"),
        ("widths", [1, 2, 2, 2, 2], "widths must start at 2 or more"),
        ("widths", [8, 16, 32, 64, 32], "never get smaller"),
        ("dropout", 1.5, "dropout must be between 0 and 1"),
        ("dropout", -0.1, "dropout must be between 0 and 1"),
        ("gamma", True, "gamma must be a number"),
        ("gamma", float("nan"), "gamma must be a number"),
        ("gamma", float("inf"), "gamma must be a number"),
        ("gamma", 10**400, "gamma must be a number"),
        ("thresholds.passes", 0, "thresholds.passes must be at least 1"),
        ("thresholds.passes", 99.5, "thresholds.passes must be a whole number"),
        ("thresholds.y_limit", None, "thresholds.y_limit must be a number"),
        ("options", [], "options must be an object"),
        ("intensity", "percentile", "intensity is 'percentile'; this version knows zscore_clip3"),
        ("method", "itermask2", "method is 'itermask2'; this version knows itermask3d"),
        ("format_version", 2, "newer version of this software"),
        ("format_version", "1", "format_version must be a whole number"),
    ],
)
def test_a_wrong_entry_is_named(path: str, value: Any, words: str) -> None:
    with pytest.raises(UserError, match=f"^somewhere/card.json: .*{words}"):
        Card.from_json(changed(path, value), "somewhere/card.json")


@pytest.mark.parametrize("key", sorted(json.loads(CARD.to_json())))
def test_every_entry_is_needed(key: str) -> None:
    raw = json.loads(CARD.to_json())
    del raw[key]
    with pytest.raises(UserError, match=f"{key} is missing"):
        Card.from_json(json.dumps(raw), "card.json")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000 + "x"])
def test_a_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not valid JSON"):
        Card.from_json(text, "card.json")


def test_an_option_of_a_later_version_is_kept() -> None:
    card = replace(CARD, options={"unheard of": [1, 2]})
    assert Card.from_json(card.to_json(), "card.json").options == {"unheard of": [1, 2]}
