"""What holds for every test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_installed_models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder, so that no test finds, or leaves, a model in the one of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("user-data", numbered=True)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    return folder
