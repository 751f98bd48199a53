"""The panel of the module on the stand-in host, with the real engine in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from IterMask3DLib.scene.run.engine_client import engine_command
from IterMask3DLib.scene.run.transport import Command, pipes_to
from Testing.brains import toy_model
from Testing.scene.engine import TestEngine
from Testing.slicer_host.fixtures import host

__all__ = ["host"]

MODULE_FILE = Path(__file__).resolve().parents[2] / "IterMask3D" / "IterMask3D.py"
QUICK_MS = 5
"""Between two polls of the engine; the panel's own pace is 100 ms."""


def command_with(folder: Path, *paths: Path) -> Command:
    """How the engine is started with the models of a folder of user data, and with more folders to import from."""
    usual = engine_command()
    found = os.pathsep.join((usual.environment["PYTHONPATH"], *map(str, paths)))
    more = {"XDG_DATA_HOME": str(folder), "PYTHONPATH": found, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return Command(usual.arguments, {**usual.environment, **more})


@pytest.fixture(scope="session")
def data_with_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of user data with an installed model `toy`, whose passes take a few milliseconds."""
    folder = tmp_path_factory.mktemp("data")
    toy_model(folder / "itermask3d" / "models" / "toy")
    return folder


@pytest.fixture(scope="session")
def shared_engine(data_with_toy: Path) -> Iterator[TestEngine]:
    """The engine of all tests that neither end it nor install models."""
    engine = TestEngine(**command_with(data_with_toy).environment)
    yield engine
    engine.close()


@pytest.fixture
def load(host: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Opens the panel with an engine (an `OpenTransport`; None: as the module starts it) and gives its user.

    Whatever was opened is closed again.
    """
    from Testing.slicer_host.application import LoadedModule
    from Testing.ui.user import User

    users: list[User] = []

    def open_panel(open_transport: Any = None, wait: bool = True) -> User:
        module = LoadedModule(MODULE_FILE)
        monkeypatch.setattr(module.python, "_POLL_MS", QUICK_MS)
        logic = module.python.IterMask3DLogic
        monkeypatch.setattr(module.python.IterMask3DWidget, "make_logic", lambda self: logic(open_transport))
        users.append(User(module))
        if wait:
            users[-1].until(lambda: users[-1].logic.description is not None, "the list of models")
        return users[-1]

    yield open_panel
    for user in users:
        user.leave()


@pytest.fixture
def load_toy(load: Callable[..., Any], shared_engine: TestEngine) -> Callable[..., Any]:
    """Opens the panel and chooses the toy model."""

    def open_panel() -> Any:
        user = load(shared_engine.open)
        user.choose_model("toy")
        return user

    return open_panel


@pytest.fixture
def user(load_toy: Callable[..., Any]) -> Any:
    """A user of the panel whose runs take a second."""
    return load_toy()


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """A folder of user data that is this test's alone, without a model."""
    return tmp_path / "own data"


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch, data_with_toy: Path) -> Path:
    """Lets the engines that the module itself starts, through `QProcess`, find the toy model."""
    for name, value in (("XDG_DATA_HOME", str(data_with_toy)), ("CUDA_VISIBLE_DEVICES", ""), ("OMP_NUM_THREADS", "1")):
        monkeypatch.setenv(name, value)
    return data_with_toy


@pytest.fixture
def done(user: Any) -> Any:
    """A user in front of a finished result."""
    from Testing.ui.story import phantom_node

    phantom_node()
    user.segment()
    return user


@pytest.fixture
def slow(user: Any) -> Any:
    """A user whose runs take long enough to be interrupted."""
    from Testing.ui.story import phantom_node

    phantom_node()
    user.choose("sweep_passes", 200)
    return user


@pytest.fixture
def installing(load: Callable[..., Any], own_data: Path) -> Any:
    """A user with an engine, and a folder of installed models, of their own."""
    return load(pipes_to(command_with(own_data)))
