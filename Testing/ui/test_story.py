"""A case from the first click to the scene that was opened again, with engines that the module starts itself."""

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


@pytest.fixture
def views(host: Any) -> list[Any]:
    """Slice views, so that there is something to jump in."""
    return [add_slice_view(name) for name in ("Red", "Yellow", "Green")]


def test_the_whole_story_with_a_small_model(
    load: Callable[..., Any], processes: Path, views: list[Any], tmp_path: Path
) -> None:
    user = load()
    user.choose_model("toy")
    tell(user, tmp_path, steps_before_cancel=4)


def test_the_whole_story_with_the_bundled_model(
    load: Callable[..., Any], processes: Path, views: list[Any], tmp_path: Path
) -> None:
    user = load()
    user.choose_model("t1w-2mm")
    user.choose("sweep_passes", 8)
    tell(user, tmp_path, steps_before_cancel=3)
