"""Folders of DICOM slices: what is in them is told apart, and nothing of a patient is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.fuzz.contract import contents, held, nothing_lost, told

SERIES = 6
PATIENT = ("SECRET^PATIENT", "PID4711", "19700101")


def write_slice(folder: Path, number: int, side: int = 16, **tags: str) -> Path:
    """One slice of a series of 2 mm, with a patient's data in its header; `tags` as `t0020_0032`."""
    pixels = np.random.default_rng(number).integers(1, 900, (1, side, 16), dtype=np.int16)
    image = sitk.GetImageFromArray(pixels)
    named = {key[1:].replace("_", "|"): value for key, value in tags.items()}
    values = {
        "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
        "0008|0018": f"1.2.3.{number + 1}",
        "0008|0060": "MR",
        "0008|103e": "SECRET^PATIENT T1",
        "0010|0010": PATIENT[0],
        "0010|0020": PATIENT[1],
        "0010|0030": PATIENT[2],
        "0020|000d": "1.2.9",
        "0020|000e": "1.2.3",
        "0020|0013": str(number + 1),
        "0020|0032": f"0\\0\\{2 * number}",
        "0020|0037": "1\\0\\0\\0\\1\\0",
    } | named
    for tag, value in values.items():
        image.SetMetaData(tag, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    path = folder / f"{len(list(folder.iterdir())):03d}.dcm"
    writer.SetFileName(str(path))
    writer.Execute(image)
    return path


def series(folder: Path, change: Callable[[int], dict[str, Any]] = lambda number: {}, count: int = SERIES) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        write_slice(folder, number, **change(number))


def _cut(folder: Path) -> None:
    series(folder)
    path = folder / "003.dcm"
    path.write_bytes(path.read_bytes()[:-100])


FOLDERS: dict[str, Callable[[Path], Any]] = {
    "two series": lambda folder: (
        series(folder),
        series(folder, lambda n: {"t0020_000e": "1.2.4", "t0008_0018": f"1.2.4.{n}"}),
    ),
    "two time points": lambda folder: (series(folder), series(folder, lambda n: {"t0008_0018": f"1.2.5.{n}"})),
    "a slice missing": lambda folder: (series(folder), (folder / "003.dcm").unlink()),
    "a slice cut": _cut,
    "a slice of another size": lambda folder: series(folder, lambda n: {"side": 16 if n < 5 else 18}),
    "a slice in another direction": lambda folder: series(
        folder, lambda n: {"t0020_0037": "0\\1\\0\\1\\0\\0"} if n == 3 else {}
    ),
    "a slice without a place": lambda folder: series(folder, lambda n: {"t0020_0032": ""} if n == 3 else {}),
    "a place that is no number": lambda folder: series(folder, lambda n: {"t0020_0032": "a\\b\\c"} if n == 3 else {}),
    "one slice": lambda folder: series(folder, count=1),
    "three slices": lambda folder: series(folder, count=3),
    "no slice": lambda folder: folder.mkdir(),
    "a file of another kind beside them": lambda folder: (
        folder.mkdir(),
        (folder / "a.dcm").write_bytes(bytes(200) + b"x"),
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_no_single_scan_is_told_without_the_patient(name: str, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "SECRET^PATIENT"
    FOLDERS[name](folder)
    before = contents(folder)
    ended = held(told("segment", folder, "-o", tmp_path / "out", "--model", model), 1)
    nothing_lost(before, folder)
    sentence = ended.err.replace(str(folder), "")
    assert not any(word in sentence for word in PATIENT), ended.err
    assert not list(tmp_path.glob("out/*/*"))


def test_results_and_logs_hold_nothing_of_a_patient(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # The report is what is asked about.
    monkeypatch.setattr(
        "IterMask3DLib.preprocessing.skull_stripping.strip_head", lambda image: np.ones(image.array.shape, bool)
    )
    series(tmp_path / "scan", lambda n: {"t0020_0032": f"0\\0\\{8 * n}"})
    quick = ("--backend", "pytorch", "--sweep-passes", 1, "--max-shrink", 1)
    ended = held(told("segment", tmp_path / "scan", "-o", tmp_path / "out", "--model", model, *quick), 0)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".gz"]
    assert any(path.name.endswith("_report.html") for path in files)
    for text in (ended.err, ended.out, *(path.read_text(encoding="utf-8", errors="replace") for path in files)):
        assert not any(word in text for word in PATIENT)
