"""Which methods there are, and what is said where one of another package cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.methods import registry
from IterMask3DLib.methods.base import Calibratable, Convertible, Method, Resumable, Trainable
from IterMask3DLib.methods.registry import find_method, method_specs
from Testing.brains import toy_card

Offer = Callable[[str, Callable[[], Any]], None]


class EntryPoint:
    """What an installed package says of itself."""

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self.name, self.value, self.load = name, f"stranger.{name}:SPEC", load


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Installs a package that offers something as a method."""

    def installed(name: str, load: Callable[[], Any]) -> None:
        monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint(name, load)])
        method_specs.cache_clear()

    yield installed
    method_specs.cache_clear()


def test_the_methods_of_this_software_come_first_and_that_of_a_stranger_is_found(offer: Offer) -> None:
    spec = replace(find_method("itermask3d"), name="stranger")
    offer("stranger", lambda: spec)
    assert find_method("stranger") is spec and list(method_specs())[-1] == "stranger"
    assert {"itermask3d", "autoencoder"} <= set(method_specs())


def test_a_method_that_nobody_knows_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match=r"The method magic is not known here; known are .*itermask3d"):
        find_method("magic")


def _broken() -> None:
    raise ModuleNotFoundError("No module named 'nowhere'")


@pytest.mark.parametrize(("load", "words"), [(_broken, "No module named 'nowhere'"), (lambda: 7, "is no MethodSpec")])
def test_a_package_that_offers_no_method_is_named(load: Callable[[], Any], words: str, offer: Offer) -> None:
    offer("broken", load)
    with pytest.raises(UserError, match=rf"The method broken of stranger\.broken:SPEC .*{words}"):
        method_specs()


def test_a_stranger_does_not_take_the_place_of_a_method_of_this_software(offer: Offer) -> None:
    spec = find_method("itermask3d")
    offer("impostor", lambda: replace(spec, title="Impostor"))
    with pytest.raises(UserError, match=r"itermask3d of stranger\.impostor:SPEC has the name of another"):
        method_specs()


@pytest.mark.parametrize("implementation", ["nowhere.at_all:Method", "IterMask3DLib.methods.itermask3d.method:Missing"])
def test_a_method_whose_own_code_cannot_be_loaded_is_named(implementation: str) -> None:
    with pytest.raises(UserError, match="The method itermask3d cannot be loaded"):
        replace(find_method("itermask3d"), implementation=implementation).load()


def test_iter_mask_3d_can_do_what_the_doors_may_ask_of_it() -> None:
    method = find_method("itermask3d").load()
    assert isinstance(method, Method)
    for part in (Resumable, Convertible, Trainable, Calibratable):
        assert isinstance(method, part)


def test_settings_come_from_the_method_then_the_card_then_the_user() -> None:
    spec, card = find_method("itermask3d"), replace(toy_card(), settings={"gamma": 0.4, "smoothing_mm": 2.0})
    assert spec.settings(card).gamma == 0.4 and spec.settings(card).stop_ratio == 0.01
    assert spec.settings(card, Request(settings={"gamma": 0.7})).gamma == 0.7
    published = spec.settings(card, Request(quality="published"))
    assert (published.gamma, published.smoothing_mm, published.visited) == (0.05, 0.0, None)
    assert spec.settings(card, Request(quality="published", settings={"gamma": 0.7})).gamma == 0.7
    with pytest.raises(UserError, match="model toy: gamma is -1"):
        spec.settings(replace(card, settings={"gamma": -1}))
