"""Options of a command line follow from settings, and the words that repeat them from values."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import pytest

from IterMask3DLib.core.options import add_settings, given_settings, words_of
from IterMask3DLib.core.settings import changed, setting


@dataclass(frozen=True)
class Choices:
    """One setting of each kind."""

    size: float | None = setting("number", 2.0, "Size", "how large", unit="mm", optional=True, former="extent")
    rounds: int = setting("whole", 3, "Rounds", "how often", published=100)
    whole: bool = setting("truth", False, "Whole", "all of it")
    kind: str = setting("choice", "near", "Kind", "which", choices=("near", "far"))
    title: str = setting("text", "", "Title", "what it is called")
    names: tuple[str, ...] = setting("texts", ("a",), "Names", "who")
    sides: tuple[int, ...] | None = setting("wholes", None, "Sides", "of the grid", optional=True)
    scales: tuple[float, ...] = setting("numbers", (1.0, 2.5), "Scales", "of it")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("folder")
    add_settings(made, Choices, lengths={"sides": 2})
    return made


def parsed(*words: str) -> dict[str, Any]:
    return given_settings(parser().parse_args(["folder", *words]), Choices)


def test_only_what_was_given_is_there() -> None:
    assert parsed() == {}
    assert parsed("--size", "none", "--rounds", "5") == {"size": None, "rounds": 5}
    assert parsed("--extent", "4", "--no-whole", "--names", "b,c") == {"size": 4.0, "whole": False, "names": ("b", "c")}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"size": None, "rounds": 1, "whole": True, "kind": "far"},
        {"size": 0.5, "title": "two words", "names": ["b", "c"], "sides": [16, 32], "scales": [0.5, 2, 4]},
    ],
)
def test_the_words_of_values_give_the_values_again(given: dict[str, Any]) -> None:
    wanted = changed(Choices(), given, "test")
    assert changed(Choices(), parsed(*words_of(wanted, Choices())), "test") == wanted


def test_the_help_has_units_defaults_and_what_was_published(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "how large, mm (default: 2)" in text and "how often (default: 3; published: 100)" in text
    assert "--scales X [X ...] of it (default: 1 2.5)" in text
    assert "--sides N N" in text and "--extent" not in text


@pytest.mark.parametrize("words", [("--kind", "middle"), ("--rounds", "x"), ("--sides", "16"), ("--size", "wide")])
def test_a_word_that_cannot_be_read_is_a_usage_error(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as refused:
        parsed(*words)
    assert refused.value.code == 2
