"""The host as a fixture: `from Testing.slicer_host.fixtures import host` in a conftest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT, NEEDS_SLICER_CORE, clear_scene, has_qt, has_slicer_core


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
