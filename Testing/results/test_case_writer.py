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
from IterMask3DLib.core.result import CaseResult
from IterMask3DLib.results import case_writer
from IterMask3DLib.results.case_lesions import CaseLesions
from Testing.results.case_results import SHAPE, a_case, a_result, iterations, oblique_affine, score_alone

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


def write_case(out: Path, result: CaseResult | None = None, **more: bool) -> Path:
    result = a_result() if result is None else result
    return case_writer.write_case(out, result, CaseLesions.of(result), **more)


def check_writable(out: Path, case: str, overwrite: bool) -> None:
    case_writer.check_writable(out, case, (), overwrite)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports take most of the time and are tested elsewhere."""
    monkeypatch.setattr(case_writer, "write_report", lambda path, *_: path.write_text("report"))


def with_mine(out: Path) -> None:
    """Earlier results, and a file of the user's beside them."""
    (write_case(out) / "mine.txt").write_text("precious")


def fail_at_the_last_file(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(path: Path, *_: object) -> None:
        path.write_text("half a rep")
        raise error

    monkeypatch.setattr(case_writer, "write_report", fail)


def test_a_case_is_a_folder_with_every_file(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "new" / "out")
    assert folder == tmp_path / "new" / "out" / "anna"
    assert names(folder) == FILES and names(folder.parent) == {"anna"}
    assert all(path.stat().st_size > 0 for path in folder.iterdir())


@pytest.mark.usefixtures("no_pictures")
def test_the_images_lie_exactly_on_the_grid_of_the_input(tmp_path: Path) -> None:
    made = a_result()
    folder = write_case(tmp_path, made)
    stored = oblique_affine().astype(np.float32)  # NIfTI keeps its affine in 32 bits
    for kind, array in (
        ("brain", made.brain),
        *((name, layer.read()) for name, layer in made.layers.items()),
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
    folder = write_case(tmp_path, a_result(iterations=iterations()))
    image = nibabel.load(folder / "anna_iterations.nii.gz")
    data = np.asarray(image.dataobj)
    assert data.shape == (*SHAPE, 2) and image.get_data_dtype() == np.uint8
    assert np.array_equal(image.affine, oblique_affine().astype(np.float32))
    with (folder / "anna_iterations.csv").open(newline="") as file:
        assert [row["pass"] for row in csv.DictReader(file)] == ["1", "2"]
    assert data.sum(axis=(0, 1, 2)).tolist() == [3, 1]


@pytest.mark.usefixtures("no_pictures")
def test_existing_results_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    folder = write_case(tmp_path)
    before = (folder / "anna_run.json").read_bytes()
    for attempt in (lambda: check_writable(tmp_path, "anna", False), lambda: write_case(tmp_path)):
        with pytest.raises(UserError, match=r"anna exists already.*--overwrite"):
            attempt()
    assert names(tmp_path) == {"anna"} and names(folder) == FILES
    assert (folder / "anna_run.json").read_bytes() == before


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_holds_something_else_is_never_written(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "scan.nii.gz").write_text("precious")
    with pytest.raises(UserError, match="holds no results of this program"):
        write_case(tmp_path, overwrite=overwrite)
    assert names(tmp_path) == {"anna"} and (tmp_path / "anna" / "scan.nii.gz").read_text() == "precious"


@pytest.mark.usefixtures("no_pictures")
def test_overwriting_replaces_the_files_of_the_run_and_keeps_the_users(tmp_path: Path) -> None:
    folder = write_case(tmp_path, a_result(iterations=iterations()))
    (folder / "my notes.txt").write_text("precious")
    (folder / "more").mkdir()
    (folder / "more" / "anna_run.json").write_text("mine too")
    check_writable(tmp_path, "anna", True)
    write_case(tmp_path, overwrite=True)
    assert names(tmp_path) == {"anna"} and names(folder) == FILES | {"my notes.txt", "more"}
    assert (folder / "my notes.txt").read_text() == "precious"
    assert (folder / "more" / "anna_run.json").read_text() == "mine too"


@pytest.mark.usefixtures("no_pictures")
def test_a_file_of_the_user_is_not_replaced_by_one_of_the_same_name(tmp_path: Path) -> None:
    folder = write_case(tmp_path, score_alone())
    assert names(folder) == {"anna_brain.nii.gz", "anna_report.html", "anna_run.json"}
    (folder / "anna_anomaly.nii.gz").write_text("drawn by hand for hours")
    with pytest.raises(UserError, match="was not written by this program"):
        write_case(tmp_path, overwrite=True)
    assert (folder / "anna_anomaly.nii.gz").read_text() == "drawn by hand for hours"
    assert names(tmp_path) == {"anna"}


def test_a_full_disk_leaves_nothing_and_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_the_last_file(monkeypatch, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(UserError, match=r"anna cannot be written \(No space left on device\)"):
        write_case(tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt(), ValueError("a bug")])
def test_whatever_stops_an_overwrite_the_earlier_results_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    with_mine(tmp_path)
    fail_at_the_last_file(monkeypatch, error)
    with pytest.raises(UserError if isinstance(error, OSError) else type(error)):
        write_case(tmp_path, overwrite=True)
    assert names(tmp_path) == {"anna"} and names(tmp_path / "anna") == FILES | {"mine.txt"}


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("fails", [1, 2, 3])
@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), KeyboardInterrupt()])
def test_the_earlier_results_come_back_if_the_swap_itself_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, fails: int
) -> None:
    with_mine(tmp_path)
    replace, calls = os.replace, []

    def stop(source: Path, target: Path) -> None:
        # The folder that was there, the user's file in it, the new folder.
        if Path(source).is_dir() or Path(source).name == "mine.txt":
            calls.append(target)
        if len(calls) == fails:
            calls.append(target)
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
        write_case(tmp_path, overwrite=True)
    assert names(tmp_path) == {"anna"} and names(tmp_path / "anna") == FILES | {"mine.txt"}


def test_an_output_that_is_a_file_is_refused_before_computing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(UserError, match=r"out cannot be written .*; choose another output folder"):
        check_writable(tmp_path / "out", "anna", False)
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "out" / "inner", "anna", True)


def test_a_folder_that_may_not_be_looked_into_is_refused_before_computing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "anna").mkdir()
    monkeypatch.setattr(Path, "iterdir", refuse)
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
        write_case(tmp_path / "out", a_result(case=a_case(case)), overwrite=True)
    assert names(tmp_path) == {"other", "out"} and names(tmp_path / "out") == set()
