"""What lies where the results would go is told and stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from Testing.cli.command import one_error, run


def test_results_that_are_there_stay_unless_overwrite_is_given(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("segment", scan, "-o", out, "--model", model, "--save-iterations") == 0
    report = (out / "scan" / "scan_report.html").read_bytes()
    (out / "scan" / "mine.txt").write_text("kept")
    capsys.readouterr()
    assert run("segment", scan, "-o", out, "--model", model) == 1
    assert "--overwrite" in one_error(capsys)
    assert (out / "scan" / "scan_report.html").read_bytes() == report
    assert run("segment", scan, "-o", out, "--model", model, "--overwrite", "--seed", "1") == 0
    assert (out / "scan" / "mine.txt").read_text(encoding="utf-8") == "kept"
    assert (out / "scan" / "scan_report.html").read_bytes() != report
    assert not (out / "scan" / "scan_iterations.nii.gz").exists()


def test_a_folder_without_results_stays_even_with_overwrite(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "scan").mkdir(parents=True)
    (tmp_path / "out" / "scan" / "mine.txt").write_text("kept")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--overwrite") == 1
    assert "holds no results of this program" in one_error(capsys)
    assert [path.name for path in (tmp_path / "out" / "scan").iterdir()] == ["mine.txt"]


def test_an_input_where_the_results_would_go_stays(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = tmp_path / "out" / "scan" / "scan.nii.gz"
    inside.parent.mkdir(parents=True)
    shutil.copy(scan, inside)
    (inside.parent / "scan_run.json").write_text('{"case": "scan", "files": ["scan_run.json", "scan.nii.gz"]}')
    assert run("segment", inside, "-o", tmp_path / "out", "--model", model, "--overwrite") == 1
    assert "over the input" in one_error(capsys)
    assert inside.read_bytes() == scan.read_bytes()


def test_a_summary_of_somebody_else_stays(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(scan, tmp_path / "other.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text("mine")
    assert run("segment", scan, tmp_path / "other.nii.gz", "-o", tmp_path / "out", "--model", model, "--overwrite") == 1
    assert "summary.csv is no summary of this program" in one_error(capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.csv"]


def test_an_output_folder_that_cannot_be_written_is_told_before_the_run(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("IterMask3DLib.batch.run_case", lambda *a: pytest.fail("the run began"))
    (tmp_path / "file").write_text("a file, not a folder")
    assert run("segment", scan, "-o", tmp_path / "file" / "out", "--model", model) == 1
    assert str(tmp_path / "file") in one_error(capsys)
