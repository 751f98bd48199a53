"""A fresh scene for every test of IterMask3DLib.scene."""

from __future__ import annotations

from collections.abc import Iterator
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
