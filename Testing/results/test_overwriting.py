"""What may be written where: inputs are safe whatever leads to them, and so is everything that is not ours."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.results.overwriting import case_files_in, check_target, is_case


def yes(folder: Path) -> bool:
    return True


def scan_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scan.nii.gz").write_bytes(b"voxels")
    return folder / "scan.nii.gz"


def dicom_in(folder: Path) -> Path:
    for number in range(3):
        scan_in(folder).rename(folder / f"{number}.dcm")
    return folder


def linked(link: Path, to: Path) -> Path:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(to)
    return link


# Each makes an input and names the folder that is to be written, which must be refused.
DANGEROUS: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "the input itself": lambda t: (dicom_in(t / "study"), t / "study"),
    "a folder in it": lambda t: (dicom_in(t / "study"), t / "study" / "case"),
    "a folder deep in it": lambda t: (dicom_in(t / "study"), t / "study" / "a" / "b"),
    "the folder that holds the file": lambda t: (scan_in(t / "case"), t / "case"),
    "the folder above the one that holds the file": lambda t: (scan_in(t / "case" / "raw"), t / "case"),
    "the folder above the folder": lambda t: (dicom_in(t / "case" / "study"), t / "case"),
    "the input by a way around": lambda t: (dicom_in(t / "study"), t / "other" / ".." / "study"),
    "the input by a link to it": lambda t: (dicom_in(t / "study"), linked(t / "link", t / "study")),
    "in the input by a link to it": lambda t: (dicom_in(t / "study"), linked(t / "link", t / "study") / "case"),
    "the input by a link above it": lambda t: (dicom_in(t / "a" / "study"), linked(t / "link", t / "a") / "study"),
    "what a link as input leads to": lambda t: (linked(t / "link.nii.gz", scan_in(t / "case")), t / "case"),
    "what holds the link": lambda t: (linked(t / "case" / "link.nii.gz", scan_in(t / "raw")), t / "case"),
    "what links in the input lead to": lambda t: (
        linked(t / "study" / "0.dcm", scan_in(t / "case")).parent,
        t / "case",
    ),
    "what a link to a folder in the input leads to": lambda t: (
        linked(t / "data" / "sub" / "anat", dicom_in(t / "case")).parents[1],
        t / "case",
    ),
    "what a chain of links leads to": lambda t: (
        linked(t / "two", linked(t / "one", dicom_in(t / "case"))),
        t / "case",
    ),
}


@pytest.mark.parametrize("kind", DANGEROUS)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_in_the_way_of_results(kind: str, overwrite: bool, tmp_path: Path) -> None:
    given, target = DANGEROUS[kind](tmp_path)
    with pytest.raises(UserError, match="would be written over the input"):
        check_target(target, [tmp_path / "elsewhere.nii.gz", given], overwrite, yes)


@pytest.mark.parametrize("kind", ["the input itself", "a folder in it", "the folder that holds the file"])
def test_relative_names_lead_to_the_same_folders(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, target = DANGEROUS[kind](tmp_path)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for one, other in ((os.path.relpath(target), given), (target, os.path.relpath(given))):
        with pytest.raises(UserError, match="would be written over the input"):
            check_target(Path(one), [Path(other)], True, yes)


def test_a_disk_that_takes_capitals_for_small_letters_is_asked_what_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = dicom_in(tmp_path / "study")
    stat = Path.stat

    def forgiving(self: Path, **more: bool) -> os.stat_result:
        return stat(Path(str(self).replace("STUDY", "study")), **more)

    monkeypatch.setattr(Path, "stat", forgiving)
    for target in (tmp_path / "STUDY", tmp_path / "STUDY" / "case"):
        with pytest.raises(UserError, match="would be written over the input"):
            check_target(target, [study], True, yes)


def test_beside_an_input_there_is_room(tmp_path: Path) -> None:
    scan, study = scan_in(tmp_path), dicom_in(tmp_path / "study")
    for target in (tmp_path / "scan", tmp_path / "study2", tmp_path / "new" / "study", tmp_path / "stud"):
        check_target(target, [scan, study], False, lambda folder: False)


def test_names_that_no_disk_can_have_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be the name of a file"):
        check_target(tmp_path / "a\0b", [], True, yes)
    with pytest.raises(UserError, match="cannot be the name of a file"):
        check_target(tmp_path / "out", [Path("a\0b")], True, yes)


def test_links_that_lead_in_a_circle_end_no_run(tmp_path: Path) -> None:
    linked(tmp_path / "one", tmp_path / "two")
    linked(tmp_path / "two", tmp_path / "one")
    study = dicom_in(tmp_path / "study")
    linked(study / "self", study)
    (tmp_path / "out").mkdir()
    check_target(tmp_path / "out", [tmp_path / "one", study], True, yes)
    with pytest.raises(UserError, match="is no folder"):
        check_target(tmp_path / "one", [study], True, yes)


def test_a_folder_that_is_not_ours_stays_with_and_without_overwriting(tmp_path: Path) -> None:
    target = tmp_path / "case"
    target.mkdir()
    check_target(target, [], False)  # An empty folder holds nothing that could be lost.
    (target / "mine.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"case exists and holds no results of this program"):
            check_target(target, [], overwrite)


def test_a_folder_of_ours_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exists already.*--overwrite"):
        check_target(tmp_path, [], False, yes)
    check_target(tmp_path, [], True, yes)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "case").write_text("a file")
    with pytest.raises(UserError, match="case is no folder"):
        check_target(tmp_path / "case", [], True, yes)


def recorded(folder: Path, record: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "anna_run.json").write_text(json.dumps(record))
    return folder


def test_a_case_is_known_by_the_record_of_its_run(tmp_path: Path) -> None:
    files = ["anna_anomaly.nii.gz", "anna_run.json"]
    assert not is_case(tmp_path, "anna")
    folder = recorded(tmp_path / "anna", {"case": "anna", "files": files})
    assert is_case(folder, "anna") and case_files_in(folder, "anna") == files
    assert not is_case(folder, "ann") and not is_case(linked(tmp_path / "link", folder), "anna")


@pytest.mark.parametrize(
    "record", [[], 3, {}, {"case": "berta"}, {"files": ["anna_run.json"]}, {"case": "anna", "files": 3}]
)
def test_a_record_of_something_else_makes_no_case(record: object, tmp_path: Path) -> None:
    assert not is_case(recorded(tmp_path / "anna", record), "anna")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_record_makes_no_case(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "anna_run.json").write_bytes(text)
    assert not is_case(tmp_path, "anna")


def test_a_record_cannot_name_files_of_others_as_ours(tmp_path: Path) -> None:
    names = ["anna_run.json", "../anna_x", "mine.txt", "/anna_y", "anna_z/../../mine.txt", 3, None]
    assert case_files_in(recorded(tmp_path / "anna", {"case": "anna", "files": names}), "anna") == ["anna_run.json"]


def test_a_case_of_an_earlier_version_has_the_files_that_it_wrote(tmp_path: Path) -> None:
    files = case_files_in(recorded(tmp_path / "anna", {"case": "anna", "notice": "…"}), "anna")
    assert {"anna_run.json", "anna_anomaly.nii.gz", "anna_report.html"} <= set(files)
    assert "anna_notes.txt" not in files
