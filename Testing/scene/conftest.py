"""A fresh scene for every test of IterMask3DLib.scene, and one engine for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from Testing.slicer_host import NEEDS_SLICER_CORE, clear_scene, has_slicer_core, start_scene


class NeedsSlicer(pytest.Module):
    """A test file that is not even read where MRML is missing."""

    def collect(self) -> Any:
        pytest.skip(NEEDS_SLICER_CORE, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return None if has_slicer_core() else NeedsSlicer.from_parent(parent, path=module_path)


@pytest.fixture(autouse=True)
def scene() -> Iterator[Any]:
    """The host's scene, empty."""
    start_scene()
    yield clear_scene()
    clear_scene()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the engine of the tests, so that what is computed here is the same to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def one_engine(tmp_path_factory: pytest.TempPathFactory, toy_methods: Path) -> Iterator[Any]:
    from Testing.scene.engine import TestEngine

    engine = TestEngine(XDG_DATA_HOME=str(tmp_path_factory.mktemp("no-models")))
    yield engine
    engine.close()


@pytest.fixture
def engine(one_engine: Any) -> Any:
    """The engine that all tests share, with nothing in its way."""
    from Testing.scene.engine import Gate

    one_engine.gate = Gate()
    return one_engine


@pytest.fixture
def gate(engine: Any) -> Any:
    """What stands between the engine and the scene."""
    return engine.gate


@pytest.fixture
def make_logic(scene: Any, engine: Any) -> Iterator[Callable[..., Any]]:
    """Makes a logic on the shared engine, and closes it after the test."""
    from IterMask3DLib.scene.logic import SceneLogic

    made: list[Any] = []

    def make(timer_factory: Any = None, open_transport: Any = None) -> Any:
        made.append(SceneLogic(open_transport or engine.open, timer_factory))
        return made[-1]

    yield make
    for logic in made:
        logic.close()


@pytest.fixture
def logic(make_logic: Callable[..., Any]) -> Any:
    return make_logic()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model."""
    from Testing.brains import toy_model

    return str(toy_model(tmp_path_factory.mktemp("models") / "toy"))


@pytest.fixture(scope="session")
def blind(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model whose every error is the squared scaled intensity."""
    from Testing.scene.engine import blind_model

    return str(blind_model(tmp_path_factory.mktemp("models") / "blind"))


@pytest.fixture
def choices(blind: str) -> Any:
    """The choices of most tests."""
    from IterMask3DLib.core.request import Request

    return Request(model=blind, device="cpu", backend="pytorch", settings={"gamma": 0.5})
