"""A model and a scan for the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from IterMask3DLib.preprocessing.nifti import write_nifti
from Testing.brains import phantom, toy_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    write_nifti(*phantom(), path)
    return path
