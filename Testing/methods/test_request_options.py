"""One option for what methods share, one of its own for what they only call alike."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import pytest

from IterMask3DLib.core.settings import setting
from IterMask3DLib.methods import request_options
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.methods.request_options import add_request_options, request_from


@dataclass(frozen=True)
class One:
    width: float = setting("number", 2.0, "Width", "how wide", least=1, most=5)
    start: str = setting("choice", "near", "Start", "where", choices=("near", "far"))


@dataclass(frozen=True)
class Other:
    width: float = setting("number", 20.0, "Width", "how wide", least=10, most=50)
    start: int = setting("whole", 3, "Start", "when", least=1)


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    usual = find_method("itermask3d")
    specs = {
        name: replace(usual, name=name, title=name, Settings=kind) for name, kind in (("one", One), ("other", Other))
    }
    monkeypatch.setattr(request_options, "method_specs", lambda: specs)
    made = argparse.ArgumentParser()
    add_request_options(made)
    return made


def settings(parser: argparse.ArgumentParser, *words: str) -> object:
    return dict(request_from(parser.parse_args(words), "test").settings)


def test_a_setting_of_one_kind_is_one_option_with_the_limits_of_any_method(parser: argparse.ArgumentParser) -> None:
    assert settings(parser, "--width", "2") == {"width": 2.0}
    assert settings(parser, "--width", "20") == {"width": 20.0}
    with pytest.raises(SystemExit):
        settings(parser, "--width", "7")


def test_a_setting_of_another_kind_has_an_option_with_the_name_of_its_method(parser: argparse.ArgumentParser) -> None:
    assert settings(parser, "--start", "far") == {"start": "far"}
    assert settings(parser, "--other-start", "7") == {"start": 7}
    for words in (("--start", "7"), ("--other-start", "far"), ("--other-start", "0")):
        with pytest.raises(SystemExit):
            settings(parser, *words)
