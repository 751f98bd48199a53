"""What the cases work on: a tiny model, a small scan, and a folder that no case may harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from IterMask3DLib.preprocessing.nifti import write_nifti
from Testing.brains import phantom, toy_model

SHAPE = (20, 24, 20)
"""Of the scan: what is to be seen is how input is met, not what is found."""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A stripped brain of 8 mm voxels."""
    path = tmp_path / "scan.nii.gz"
    write_nifti(*phantom(SHAPE, 8.0), path)
    return path


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process write no report, whose pictures take longer than all the rest; other tests have them."""
    monkeypatch.setattr("IterMask3DLib.results.case_writer.write_report", lambda path, *more: path.write_text("report"))
