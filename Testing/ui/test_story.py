"""A case from the first click to the scene that was opened again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

from Testing.slicer_host.scene import add_slice_view
from Testing.ui.story import tell
from Testing.ui.user import GatedEngine


@pytest.fixture
def views(host: Any) -> list[Any]:
    """Slice views, so that there is something to jump in."""
    return [add_slice_view(name) for name in ("Red", "Yellow", "Green")]


def test_the_whole_story_with_an_engine_that_computes_nothing(load: Callable[..., Any], views: list[Any], tmp_path: Path) -> None:
    user = load(GatedEngine())
    user.fewPasses()
    tell(user, tmp_path, steps_before_cancel=4)


def test_the_whole_story_with_the_real_engine(load: Callable[..., Any], views: list[Any], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    user = load(None)
    user.set("passesSpinBox", 8)
    tell(user, tmp_path, steps_before_cancel=3)
