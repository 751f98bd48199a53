"""The volumes of a folder as cases: one image each, or several that are named alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from IterMask3DLib.batch import CaseFiles, by_inputs, find_cases
from IterMask3DLib.core.errors import UserError


def folder(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).write_bytes(b"x")
    return place


def found(place: Path, *names: str, inputs: tuple[str, ...]) -> list[CaseFiles]:
    return by_inputs(find_cases(folder(place, *names)), inputs)


def test_with_one_input_every_volume_is_a_case(tmp_path: Path) -> None:
    cases = found(tmp_path, "b_T1w.nii", "a_T2w.nrrd", "notes.txt", ".hidden.nii", inputs=("T1w",))
    assert [case.name for case in cases] == ["a_T2w", "b_T1w"]


def test_with_several_inputs_the_images_of_a_case_are_named_alike(tmp_path: Path) -> None:
    names = ("b_T1w.nii", "b_T2w.nii.gz", "a_T2w.nrrd", "a_T1w.nii", "c_T2w.nii", "other.nii")
    cases = found(tmp_path, *names, inputs=("T1w", "T2w"))
    told = {case.name: {channel: path.name for channel, path in case.images.items()} for case in cases}
    assert told == {
        "a": {"T1w": "a_T1w.nii", "T2w": "a_T2w.nrrd"},
        "b": {"T1w": "b_T1w.nii", "T2w": "b_T2w.nii.gz"},
        "c": {"T2w": "c_T2w.nii"},
    }


def test_names_without_inputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a name that ends in _T1w or _T2w"):
        found(tmp_path, "other.nii", inputs=("T1w", "T2w"))
