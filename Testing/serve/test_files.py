"""What the engine writes: the files of a case for a door that kept its result, and batches."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from IterMask3DLib.core.image import Image
from IterMask3DLib.core.result import Step
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.results.case_writer import WHAT, case_files
from Testing.serve.conftest import InProcess
from Testing.serve.door import LONGEST_SECONDS, Asked, Door, case_fields

DEVICE = {"device": "cpu", "backend": "pytorch"}


def kept(brain: Image, toy: Path, run: Asked, what: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A `write` of what a door kept of a run."""
    result = run.the("result")
    fields = case_fields(brain, "one", toy) | {"result": result.fields, "what": what}
    return fields, {"image__T1w": np.ascontiguousarray(brain.array.T), **result.arrays}


def nifti(data: np.ndarray) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data.tobytes()))


def test_the_files_of_a_case_are_those_of_the_command_line(
    door: Door, brain: Image, toy: Path, whole_run: Asked, here: InProcess, tmp_path: Path
) -> None:
    fields, arrays = kept(brain, toy, whole_run, WHAT)
    asked = door.ask("write", fields, **arrays)
    written = {file.fields["name"]: file.arrays["bytes"] for file in asked.all("file")}
    expected = {path.name: path for path in case_files(here.result, tmp_path)}
    assert asked.ended.kind == "done" and set(written) == set(expected)
    for name, data in written.items():
        if name.endswith(".nii.gz"):
            mine, theirs = nifti(data), nibabel.load(expected[name])
            assert np.array_equal(mine.affine, theirs.affine) and mine.get_data_dtype() == theirs.get_data_dtype()
            assert np.allclose(mine.get_fdata(), theirs.get_fdata(), atol=0.5 if "reconstruction" in name else 0)
        elif name.endswith(".csv"):
            assert data.tobytes() == expected[name].read_bytes()
    assert b"<html" in written["phantom_report.html"].tobytes()


def test_only_what_is_asked_for_is_written(door: Door, brain: Image, toy: Path, whole_run: Asked) -> None:
    fields, arrays = kept(brain, toy, whole_run, ("anomaly", "lesions"))
    names = [file.fields["name"] for file in door.ask("write", fields, **arrays).all("file")]
    assert names == ["phantom_anomaly.nii.gz", "phantom_lesions.csv"]


def test_kept_iterations_are_restored_to_the_grid_of_the_input(
    door: Door, brain: Image, toy: Path, whole_run: Asked, here: InProcess
) -> None:
    steps = [event for event in here.run.infer() if isinstance(event, Step)]
    fields, arrays = kept(brain, toy, whole_run, ("iterations",))
    told = [{"number": s.number, "phase": s.phase, "seconds": s.seconds, "scalars": dict(s.scalars)} for s in steps]
    alone = door.ask("write", fields | {"iterations": told}, **arrays)
    assert [file.fields["name"] for file in alone.all("file")] == ["phantom_iterations.csv"]
    grid = {"affine": here.run.prepared.affine, "shape": here.run.prepared.brain.shape[::-1]}
    arrays["masks"] = np.stack([np.packbits(mask.T) for mask in here.masks])
    asked = door.ask("write", fields | {"iterations": told, "grid": grid}, **arrays)
    masks = nifti(asked.all("file")[0].arrays["bytes"]).get_fdata()
    for number, step in enumerate(steps):
        expected = here.run.prepared.restore(step.layers["mask"]).read()
        assert np.array_equal(masks[..., number], expected)
    rows = list(csv.DictReader(io.StringIO(asked.all("file")[1].arrays["bytes"].tobytes().decode())))
    assert len(rows) == len(steps)
    arrays["masks"] = arrays["masks"][:-1]
    assert (
        "not those of its iterations"
        in door.ask("write", fields | {"iterations": told, "grid": grid}, **arrays).sentence
    )


@pytest.fixture
def folder(tmp_path: Path, brain: Image) -> Path:
    """Two volumes and a file that is none."""
    (tmp_path / "in").mkdir()
    for name in ("a", "c"):
        write_nifti(brain.array, brain.affine, tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"no volume")
    return tmp_path / "in"


def batch(folder: Path, toy: Path, skip_existing: bool = True) -> dict[str, Any]:
    out = folder.with_name("out")
    request = {"model": str(toy), **DEVICE}
    return {"input": str(folder), "output": str(out), "request": request, "skip_existing": skip_existing}


def test_a_batch_tells_of_each_case_and_writes_a_summary(door: Door, folder: Path, toy: Path) -> None:
    asked = door.ask("batch", batch(folder, toy))
    cases = [message.fields for message in asked.all("case")]
    assert [(case["name"], case["status"]) for case in cases[:3]] == [
        ("a", "waiting"),
        ("b", "waiting"),
        ("c", "waiting"),
    ]
    last = {case["name"]: case for case in cases}
    assert {name: case["status"] for name, case in last.items()} == {"a": "done", "b": "failed", "c": "done"}
    assert "cannot be read" in last["b"]["message"] and "anomaly" in last["a"]["message"]
    fractions = [case["fraction"] for case in cases]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert asked.ended.fields["cancelled"] is False
    rows = list(csv.DictReader((folder.with_name("out") / "summary.csv").open(encoding="utf-8")))
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    again = door.ask("batch", batch(folder, toy)).all("case")
    assert [message.fields["status"] for message in again if message.fields["name"] == "a"] == ["waiting", "skipped"]


def test_a_cancelled_batch_says_what_was_not_done(door: Door, folder: Path, toy: Path) -> None:
    asked = door.start("batch", batch(folder, toy))
    door.client.pause(asked.id)
    door.until(lambda: any(message.fields["status"] == "running" for message in asked.all("case")))
    door.client.cancel(asked.id)
    assert door.client.wait(LONGEST_SECONDS)
    last = {message.fields["name"]: message.fields["status"] for message in asked.all("case")}
    assert last == {"a": "stopped", "b": "stopped", "c": "stopped"}
    assert asked.ended.fields["cancelled"] is True
    assert not (folder.with_name("out") / "a").exists()


def test_a_batch_that_cannot_begin_says_why(door: Door, tmp_path: Path, toy: Path) -> None:
    assert "is not a folder" in door.ask("batch", batch(tmp_path / "nowhere", toy)).sentence
    (tmp_path / "in").mkdir()
    assert "holds no NIfTI" in door.ask("batch", batch(tmp_path / "in", toy)).sentence
    (tmp_path / "in" / "a.nii.gz").touch()
    (tmp_path / "out").touch()
    sentence = door.ask("batch", batch(tmp_path / "in", toy))
    assert "out" in sentence.sentence and sentence.ended.fields["trace"] == ""
