"""A fresh scene for every test of IterMask3DLib.scene."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture
def make_logic(scene: Any) -> Iterator[Callable[..., Any]]:
    """Makes a logic with an engine (None: the real one), and closes it after the test."""
    from IterMask3DLib.scene.logic import SceneLogic

    made: list[Any] = []

    def make(engine: Any = None, timerFactory: Any = None) -> Any:
        made.append(SceneLogic(engine, timerFactory))
        return made[-1]

    yield make
    for logic in made:
        logic.close()


@pytest.fixture
def logic(make_logic: Callable[..., Any]) -> Any:
    """The logic with an engine that needs no network."""
    from Testing.scene.fake_engine import FakeEngine

    return make_logic(FakeEngine())


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny real model."""
    from Testing.brains import toy_model

    return str(toy_model(tmp_path_factory.mktemp("models") / "toy"))
