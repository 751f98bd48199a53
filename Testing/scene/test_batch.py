"""A folder in, results and a summary out."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.records import BatchCase, BatchSummary, RunProgress
from Testing.brains import phantom
from Testing.scene.engine import settled
from Testing.scene.samples import anomaly_of, phantom_node


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three volumes; the second is constant and cannot be segmented."""
    array, affine = phantom()
    (tmp_path / "in").mkdir()
    for name, values in (("a", array), ("b", np.full_like(array, 9)), ("c", array)):
        nib.Nifti1Image(values, affine).to_filename(tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "notes.txt").write_text("not a volume", encoding="utf-8")
    return tmp_path


def batch(logic: Any, folder: Path, request: Request, *more: Any, **named: Any) -> BatchSummary:
    return logic.wait_for(logic.start_batch, folder / "in", folder / "out", request, *more, **named)


def statuses(cases: tuple[BatchCase, ...]) -> dict[str, str]:
    return {case.name: case.status for case in cases}


def test_a_folder_is_segmented_and_a_failing_case_does_not_stop_the_others(
    logic: Any, choices: Request, folder: Path
) -> None:
    progress: list[RunProgress] = []
    told: list[BatchCase] = []
    summary = batch(logic, folder, choices, on_progress=progress.append, on_case=told.append)
    assert statuses(summary.cases) == {"a": "done", "b": "failed", "c": "done"}
    assert "constant" in summary.cases[1].message and "ml in" in summary.cases[0].message
    assert not summary.cancelled and summary.text == "2 done, 1 failed."
    assert [case.status for case in told if case.name == "a"][:2] == ["waiting", "running"]
    fractions = [p.fraction for p in progress]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert progress[0].text == "Case 1 of 3: a"
    rows_ = rows(folder / "out" / "summary.csv")
    assert [row["status"] for row in rows_] == ["done", "failed", "done"]
    record = json.loads((folder / "out" / "a" / "a_run.json").read_text(encoding="utf-8"))
    assert float(rows_[0]["anomaly_ml"]) == record["results"]["anomaly_ml"] > 0
    assert not slicer.util.getNodesByClass("vtkMRMLVolumeNode") and not (folder / "out" / "b").exists()


def test_each_case_is_what_segmenting_it_in_the_scene_finds(
    logic: Any, choices: Request, folder: Path, toy: str
) -> None:
    (folder / "in" / "b.nii.gz").unlink()
    choices = replace(choices, model=toy, seed=2, settings={"gamma": 0.5, "start": "best"})
    batch(logic, folder, choices)
    nodes = logic.process(phantom_node(), choices).nodes
    for case in ("a", "c"):
        mask = np.asarray(nib.load(folder / "out" / case / f"{case}_anomaly.nii.gz").dataobj) > 0
        np.testing.assert_array_equal(mask, anomaly_of(nodes))
        record = json.loads((folder / "out" / case / f"{case}_run.json").read_text(encoding="utf-8"))
        assert record["seed"] == 2 and record["settings"]["start"] == "best"


def test_what_is_there_is_skipped_and_only_the_rest_is_done(logic: Any, choices: Request, folder: Path) -> None:
    batch(logic, folder, choices)
    shutil.rmtree(folder / "out" / "c")
    before = (folder / "out" / "a" / "a_run.json").stat().st_mtime_ns
    summary = batch(logic, folder, choices)
    assert statuses(summary.cases) == {"a": "skipped", "b": "failed", "c": "done"}
    assert summary.text == "1 done, 1 failed, 1 skipped, they were there already."
    assert (folder / "out" / "a" / "a_run.json").stat().st_mtime_ns == before
    rows_ = rows(folder / "out" / "summary.csv")
    assert rows_[0]["status"] == "skipped" and float(rows_[0]["anomaly_ml"]) > 0
    assert statuses(batch(logic, folder, choices, False).cases)["a"] == "done"


def test_a_batch_that_is_stopped_keeps_what_is_done(logic: Any, choices: Request, folder: Path) -> None:
    for name in "defghi":
        shutil.copy(folder / "in" / "a.nii.gz", folder / "in" / f"{name}.nii.gz")
    done: list[BatchSummary] = []

    def stop(case: BatchCase) -> None:
        if case.status == "running":
            logic.cancel()

    logic.start_batch(folder / "in", folder / "out", choices, on_case=stop, on_done=done.append)
    settled(logic)
    found = statuses(done[0].cases)
    assert done[0].cancelled and found["i"] == "stopped" and "stopped before the rest" in done[0].text
    assert not any(status in ("waiting", "running") for status in found.values())
    written = {name for name, status in found.items() if status == "done"}
    assert {path.name for path in (folder / "out").iterdir() if path.is_dir()} == written
    if (folder / "out" / "summary.csv").exists():
        assert [row["status"] for row in rows(folder / "out" / "summary.csv")] == list(found.values())


def test_folders_that_hold_nothing_or_cannot_be_written_are_told(logic: Any, choices: Request, folder: Path) -> None:
    (folder / "empty").mkdir()
    out = folder / "out"
    for given, sentence in (
        ("empty", "holds no NIfTI, NRRD or MetaImage file and no folder of DICOM slices"),
        ("nowhere", "nowhere is not a folder"),
    ):
        with pytest.raises(UserError, match=sentence):
            logic.wait_for(logic.start_batch, folder / given, out, choices)
    (folder / "taken").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="taken"):
        logic.wait_for(logic.start_batch, folder / "in", folder / "taken", choices)
    shutil.copy(folder / "in" / "a.nii.gz", folder / "in" / "a.nii")
    with pytest.raises(UserError, match="would write the case a; give them different file names"):
        batch(logic, folder, choices)
    with pytest.raises(UserError, match="request: device is 'tpu'"):
        logic.start_batch(folder / "in", out, replace(choices, device="tpu"))
    assert not logic.busy
