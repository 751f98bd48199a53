"""One training of each method of slices, made when a test asks for it first."""

from __future__ import annotations

from pathlib import Path

import pytest

from Testing.methods.slice_methods import ITERMASK2, MAE, SliceMethod
from Testing.training.toys import flat_cohort


def _trained(method: SliceMethod, factory: pytest.TempPathFactory) -> Path:
    """A folder with healthy volumes in `data`, what was prepared in `cache`, and a training on them in `run`."""
    folder = factory.mktemp(method.name)
    flat_cohort(folder / "data", 3)
    assert method.train(folder, folder / "run") == 0
    return folder


@pytest.fixture(scope="session")
def itermask2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(ITERMASK2, tmp_path_factory)


@pytest.fixture(scope="session")
def mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(MAE, tmp_path_factory)
