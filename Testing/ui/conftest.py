"""The panel of the module on the stand-in host, with an engine that computes nothing, or with the real one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT, NEEDS_SLICER_CORE, clear_scene, has_qt, has_slicer_core

MODULE_FILE = Path(__file__).resolve().parents[2] / "IterMask3D" / "IterMask3D.py"
QUICK_MS = 5
"""Between two looks into the queue; the panel's own pace is 100 ms."""


@pytest.fixture
def host() -> Iterator[Any]:
    """The application with an empty scene; a test whose slots or observers raised has failed."""
    if not has_slicer_core():
        pytest.skip(NEEDS_SLICER_CORE)
    if not has_qt():
        pytest.skip(NEEDS_QT)
    from Testing.slicer_host import application, pythonqt

    app = application.start_application()
    clear_scene()
    pythonqt.errors.clear()
    hook, sys.excepthook = sys.excepthook, pythonqt.note_error
    yield app
    sys.excepthook = hook
    clear_scene()
    assert not pythonqt.errors, pythonqt.errors[0]


@pytest.fixture
def load(host: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Opens the panel with an engine (None: the real one) and gives its user; whatever was opened is closed again."""
    from Testing.slicer_host.application import LoadedModule
    from Testing.ui.user import User

    users: list[User] = []

    def open_panel(engine: Any) -> User:
        module = LoadedModule(MODULE_FILE)
        monkeypatch.setattr(module.python, "_POLL_MS", QUICK_MS)
        monkeypatch.setattr(module.python.IterMask3DWidget, "makeLogic", lambda self: module.python.IterMask3DLogic(engine))
        users.append(User(module, engine))
        return users[-1]

    yield open_panel
    for user in users:
        user.leave()


@pytest.fixture
def user(load: Callable[..., Any]) -> Any:
    """A user of the panel with an engine that answers at once; the sweep is short."""
    from Testing.scene.fake_engine import FakeEngine

    user = load(FakeEngine())
    user.fewPasses()
    return user
