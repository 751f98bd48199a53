"""Several cases: each is done, whatever becomes of the others."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from Testing.cli.command import one_error, run
from Testing.launcher import launch


def test_in_a_batch_a_failing_case_does_not_stop_the_others(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("segment", tmp_path / "none.nii.gz", scan, "-o", tmp_path / "out", "--model", model) == 1
    assert "does not exist" in one_error(capsys)
    assert (tmp_path / "out" / "scan" / "scan_report.html").exists()


def test_two_inputs_of_one_name_are_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(scan, tmp_path / "other" / "scan.nii.gz")
    assert run("segment", scan, tmp_path / "other" / "scan.nii.gz", "-o", tmp_path / "out", "--model", model) == 1
    assert "different file names" in one_error(capsys)


def test_several_processes_share_the_cases(scan: Path, model: Path, tmp_path: Path) -> None:
    for name in ("b", "c"):
        shutil.copy(scan, tmp_path / f"{name}.nii.gz")
    inputs = [scan, tmp_path / "b.nii.gz", tmp_path / "none.nii.gz", tmp_path / "c.nii.gz"]
    done = launch("segment", *inputs, "-o", tmp_path / "out", "--model", model, processes=2)
    assert done.returncode != 0 and "3 of 4 cases done." in done.stdout
    assert done.stderr.count("none.nii.gz does not exist") == 1
    with (tmp_path / "out" / "summary.csv").open(encoding="utf-8") as file:
        found = [(row["case"], row["status"]) for row in csv.DictReader(file)]
    assert found == [("scan", "done"), ("b", "done"), ("none", "failed"), ("c", "done")]
    assert all((tmp_path / "out" / name / f"{name}_report.html").exists() for name in ("scan", "b", "c"))
