"""A folder in, results and a summary out."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.records import BatchCase, Progress, RunOptions
from Testing.brains import phantom
from Testing.scene.fake_engine import FakeEngine, pump
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


def batch(logic: Any, folder: Path, **options: Any) -> tuple[list[BatchCase], list[BatchCase]]:
    told: list[BatchCase] = []
    done: list[list[BatchCase]] = []
    logic.start_batch(
        folder / "in",
        folder / "out",
        on_case=told.append,
        on_done=done.append,
        on_error=lambda *e: pytest.fail(str(e)),
        **options,
    )
    pump(logic, lambda: not logic.busy)
    return done[0], told


def statuses(cases: list[BatchCase]) -> dict[str, str]:
    return {case.name: case.status for case in cases}


def test_a_folder_is_segmented_and_a_failing_case_does_not_stop_the_others(logic: Any, folder: Path) -> None:
    progress: list[Progress] = []
    cases, told = batch(logic, folder, on_progress=progress.append)
    assert statuses(cases) == {"a": "done", "b": "failed", "c": "done"}
    assert "constant" in cases[1].message and "ml in" in cases[0].message
    assert [case.status for case in told if case.name == "a"][:1] == ["running"]
    assert [p.fraction for p in progress] == sorted(p.fraction for p in progress) and progress[-1].fraction == 1
    assert progress[0].text == "Case 1 of 3: a"
    summary = rows(folder / "out" / "summary.csv")
    assert [row["status"] for row in summary] == ["done", "failed", "done"]
    record = json.loads((folder / "out" / "a" / "a_run.json").read_text(encoding="utf-8"))
    assert float(summary[0]["anomaly_ml"]) == record["results"]["anomaly_ml"] > 0
    assert not slicer.util.getNodesByClass("vtkMRMLVolumeNode") and not (folder / "out" / "b").exists()


def test_each_case_is_what_segmenting_it_in_the_scene_finds(
    make_logic: Callable[..., Any], folder: Path, toy: str
) -> None:
    (folder / "in" / "b.nii.gz").unlink()
    options = RunOptions(model=toy, gamma=0.5, start="best", seed=2)
    logic = make_logic()
    batch(logic, folder, options=options)
    nodes = logic.process(phantom_node(), options).nodes
    for case in ("a", "c"):
        np.testing.assert_array_equal(
            np.asarray(nib.load(folder / "out" / case / f"{case}_anomaly.nii.gz").dataobj) > 0, anomaly_of(nodes)
        )
        record = json.loads((folder / "out" / case / f"{case}_run.json").read_text(encoding="utf-8"))
        assert record["seed"] == 2 and record["settings"]["start"] == "best"


def test_what_is_there_is_skipped_and_only_the_rest_is_done(logic: Any, folder: Path) -> None:
    batch(logic, folder)
    shutil.rmtree(folder / "out" / "c")
    before = (folder / "out" / "a" / "a_run.json").stat().st_mtime_ns
    cases, _ = batch(logic, folder)
    assert statuses(cases) == {"a": "skipped", "b": "failed", "c": "done"}
    assert (folder / "out" / "a" / "a_run.json").stat().st_mtime_ns == before
    summary = rows(folder / "out" / "summary.csv")
    assert summary[0]["status"] == "skipped" and float(summary[0]["anomaly_ml"]) > 0
    cases, _ = batch(logic, folder, skip_existing=False)
    assert statuses(cases)["a"] == "done"


def test_a_batch_that_is_stopped_keeps_what_is_done(make_logic: Callable[..., Any], folder: Path) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    done: list[list[BatchCase]] = []
    first: list[str] = []
    logic.start_batch(
        folder / "in",
        folder / "out",
        on_case=lambda case: first.append(case.name) if case.status == "done" else None,
        on_done=done.append,
    )
    engine.allow(30)
    pump(logic, lambda: bool(first))
    logic.cancel()
    engine.allow(1000)
    pump(logic, lambda: not logic.busy)
    found = statuses(done[0])
    assert found["a"] == "done" and found["c"] == "stopped"
    assert [row["status"] for row in rows(folder / "out" / "summary.csv")] == list(found.values())
    assert not (folder / "out" / "c").exists()
    assert not [path for path in (folder / "out").iterdir() if path.name.startswith(".")]


def test_folders_that_hold_nothing_or_cannot_be_written_are_told_at_once(logic: Any, folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="holds no NIfTI, NRRD or MetaImage file and no folder of DICOM slices"):
        logic.start_batch(folder / "empty", folder / "out")
    with pytest.raises(UserError, match="nowhere is not a folder"):
        logic.start_batch(folder / "nowhere", folder / "out")
    (folder / "taken").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"taken cannot be written \(.*\); choose another folder"):
        logic.start_batch(folder / "in", folder / "taken")
    shutil.copy(folder / "in" / "a.nii.gz", folder / "in" / "a.nii.gz".replace(".gz", ""))
    with pytest.raises(UserError, match="would write the case a; give them different names"):
        logic.start_batch(folder / "in", folder / "out")
    with pytest.raises(UserError, match="Gamma is 0"):
        logic.start_batch(folder / "in", folder / "out", RunOptions(gamma=0.0))
    assert not logic.busy
