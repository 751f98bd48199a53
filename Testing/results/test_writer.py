"""Results on disk: on the grid of the input, whole or not at all."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.results import writer
from IterMask3DLib.results.writer import check_writable, write_case
from Testing.results.outcomes import SHAPE, iterations, oblique_affine, outcome

FILES = {
    "anna_anomaly.nii.gz",
    "anna_heatmap.nii.gz",
    "anna_reconstruction.nii.gz",
    "anna_brain.nii.gz",
    "anna_lesions.csv",
    "anna_curve.csv",
    "anna_report.html",
    "anna_run.json",
}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports take most of the time and are tested elsewhere."""
    monkeypatch.setattr(writer, "write_report", lambda path, *_: path.write_text("report"))


def fail_at_the_last_file(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(path: Path, *_: object) -> None:
        path.write_text("half a rep")
        raise error

    monkeypatch.setattr(writer, "write_report", fail)


def test_a_case_is_a_folder_with_every_file(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "new" / "out", outcome())
    assert folder == tmp_path / "new" / "out" / "anna"
    assert names(folder) == FILES and names(folder.parent) == {"anna"}
    assert all(path.stat().st_size > 0 for path in folder.iterdir())


@pytest.mark.usefixtures("no_pictures")
def test_the_images_lie_exactly_on_the_grid_of_the_input(tmp_path: Path) -> None:
    made = outcome()
    folder = write_case(tmp_path, made)
    stored = oblique_affine().astype(np.float32)  # NIfTI keeps its affine in 32 bits
    for kind, array in (
        ("anomaly", made.anomaly),
        ("heatmap", made.heatmap),
        ("reconstruction", made.reconstruction),
        ("brain", made.brain),
    ):
        image = nibabel.load(folder / f"anna_{kind}.nii.gz")
        assert np.array_equal(image.affine, stored)
        assert image.header["sform_code"] == image.header["qform_code"] == 1
        assert np.allclose(image.get_qform(), stored, atol=1e-4)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert np.array_equal(np.asarray(image.dataobj), array)
        assert image.get_data_dtype() == (np.uint8 if array.dtype == bool else np.float32)


@pytest.mark.usefixtures("no_pictures")
def test_iterations_are_a_fourth_axis_with_a_table_beside_it(tmp_path: Path) -> None:
    folder = write_case(tmp_path, outcome(iterations=iterations()))
    image = nibabel.load(folder / "anna_iterations.nii.gz")
    data = np.asarray(image.dataobj)
    assert data.shape == (*SHAPE, 2) and image.get_data_dtype() == np.uint8
    assert np.array_equal(image.affine, oblique_affine().astype(np.float32))
    with (folder / "anna_iterations.csv").open(newline="") as file:
        assert [int(row["masked_voxels"]) for row in csv.DictReader(file)] == data.sum(axis=(0, 1, 2)).tolist() == [3, 1]


@pytest.mark.usefixtures("no_pictures")
def test_existing_results_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "mine.txt").write_text("precious")
    for attempt in (lambda: check_writable(tmp_path, "anna", False), lambda: write_case(tmp_path, outcome())):
        with pytest.raises(UserError, match=r"anna exists already.*--overwrite"):
            attempt()
    assert names(tmp_path) == {"anna"} and names(tmp_path / "anna") == {"mine.txt"}


@pytest.mark.usefixtures("no_pictures")
def test_overwriting_leaves_only_the_new_files(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "anna_iterations.csv").write_text("from an earlier run")
    check_writable(tmp_path, "anna", True)
    write_case(tmp_path, outcome(), overwrite=True)
    assert names(tmp_path) == {"anna"} and names(tmp_path / "anna") == FILES


def test_a_full_disk_leaves_nothing_and_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at_the_last_file(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(UserError, match=r"anna cannot be written \(No space left on device\)"):
        write_case(tmp_path, outcome())
    assert names(tmp_path) == set()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt(), ValueError("a bug")])
def test_whatever_stops_an_overwrite_the_earlier_results_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "mine.txt").write_text("precious")
    fail_at_the_last_file(monkeypatch, error)
    with pytest.raises(UserError if isinstance(error, OSError) else type(error)):
        write_case(tmp_path, outcome(), overwrite=True)
    assert names(tmp_path) == {"anna"} and names(tmp_path / "anna") == {"mine.txt"}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("fails", [1, 2])
@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), KeyboardInterrupt()])
def test_the_earlier_results_come_back_if_the_swap_itself_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, fails: int
) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "mine.txt").write_text("precious")
    replace, calls = os.replace, []

    def stop(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == fails:
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
        write_case(tmp_path, outcome(), overwrite=True)
    assert names(tmp_path) == {"anna"} and names(tmp_path / "anna") == {"mine.txt"}


def test_an_output_that_is_a_file_is_refused_before_computing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(UserError, match=r"out cannot be written .*; choose another output folder"):
        check_writable(tmp_path / "out", "anna", False)
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "out" / "inner", "anna", True)


def test_a_folder_that_may_not_be_looked_into_is_refused_before_computing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(UserError, match=r"cannot be written \(Permission denied\)"):
        check_writable(tmp_path, "anna", False)


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    check_writable(tmp_path / "out", "anna", False)
    assert names(tmp_path / "out") == set()


@pytest.mark.parametrize("case", ["", "..", "../other", "a/b", "."])
def test_a_case_cannot_be_written_outside_of_its_folder(tmp_path: Path, case: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="cannot name a folder"):
        write_case(tmp_path / "out", outcome(case=case), overwrite=True)
    assert names(tmp_path) == {"other", "out"} and names(tmp_path / "out") == set()
