"""Which cases are evaluated, and that nothing that is reported was tuned on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.evaluation.cases import (
    artefact_cases,
    calibration_cases,
    healthy_cases,
    labelled_cases,
    read_cohort,
    stroke_cases,
)
from IterMask3DLib.preprocessing.labelled import find_labelled
from IterMask3DLib.preprocessing.nifti import write_nifti
from Testing.brains import data_file, phantom
from Testing.evaluation.cohorts import data_folder, labelled_folder


def empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(np.zeros((2, 2, 2), np.uint8), np.eye(4), path)


def test_labels_find_their_volumes_flat_and_in_bids(tmp_path: Path) -> None:
    for name in ("a_T1", "a_FLAIR", "a_lesions", "a_brain_mask", "b_T1w", "b_T1w_seg", "c_T1"):
        empty(tmp_path / "flat" / f"{name}.nii.gz")
    flat = find_labelled(tmp_path / "flat", ["T1w"])
    assert [(case.name, case.images["T1w"].name, case.label.name, case.brain and case.brain.name) for case in flat] == [
        ("a_T1", "a_T1.nii.gz", "a_lesions.nii.gz", "a_brain_mask.nii.gz"),
        ("b_T1w", "b_T1w.nii.gz", "b_T1w_seg.nii.gz", None),
    ]
    both = find_labelled(tmp_path / "flat", ["FLAIR", "T1w"])
    assert [{channel: path.name for channel, path in case.images.items()} for case in both] == [
        {"FLAIR": "a_FLAIR.nii.gz", "T1w": "a_T1.nii.gz"},
        {"T1w": "b_T1w.nii.gz"},
    ]
    for extra in (tmp_path / "flat").glob("b_*"):
        extra.unlink()
    assert [case.name for case in find_labelled(tmp_path / "flat", ["FLAIR"])] == ["a_FLAIR"]
    empty(tmp_path / "bids" / "sub-1" / "ses-2" / "anat" / "sub-1_ses-2_T1w.nii.gz")
    empty(tmp_path / "bids" / "derivatives" / "masks" / "sub-1" / "anat" / "sub-1_ses-2_label-lesion_mask.nii.gz")
    (case,) = find_labelled(tmp_path / "bids", ["T1w"])
    assert (case.name, case.subject, case.images["T1w"].name) == ("sub-1_ses-2_T1w", "sub-1", "sub-1_ses-2_T1w.nii.gz")


def test_a_label_without_its_volume_and_a_folder_without_labels_are_told(tmp_path: Path) -> None:
    empty(tmp_path / "a_T1.nii.gz")
    with pytest.raises(UserError, match="holds no label"):
        find_labelled(tmp_path, ["T1w"])
    empty(tmp_path / "b_lesions.nii.gz")
    with pytest.raises(UserError, match=r"b_lesions\.nii\.gz has no volume beside it; b_T1w or b_T1"):
        find_labelled(tmp_path, ["T1w"])
    with pytest.raises(UserError, match="is not a folder"):
        find_labelled(tmp_path / "nowhere", ["T1w"])


def test_a_cohort_is_read_by_its_table(tmp_path: Path) -> None:
    data = data_folder(tmp_path)
    cohort = read_cohort(data / "ixi")
    assert [path.name for path in cohort["test"]] == ["sub-03_T1w.nii.gz"] and len(cohort["train"]) == 2
    (data / "ixi" / "participants.tsv").write_text("participant_id\tsplit\nsub-00\ttrain\n", encoding="utf-8")
    with pytest.raises(UserError, match="no subject whose split is val"):
        read_cohort(data / "ixi")
    with pytest.raises(UserError, match=r"participants\.tsv cannot be read"):
        read_cohort(tmp_path)
    (data / "ixi" / "participants.tsv").write_text("subject\tgroup\nsub-00\ttrain\n", encoding="utf-8")
    with pytest.raises(UserError, match="the columns participant_id and split"):
        read_cohort(data / "ixi")


def test_thresholds_are_chosen_on_other_brains_and_other_shapes_than_are_reported(tmp_path: Path) -> None:
    data = data_folder(tmp_path)
    cohort = read_cohort(data / "ixi")
    tuned = calibration_cases(cohort["val"], data / "stroke_shapes", 0)
    reported = stroke_cases(cohort["test"], data / "stroke_shapes", 0)
    assert not {case.subject for case in tuned} & {case.subject for case in reported}
    assert not {case.facts["lesion"]["shape"] for case in tuned} & {case.facts["lesion"]["shape"] for case in reported}
    assert len({case.name for case in reported}) == len(reported) == 4


def test_cases_are_described_by_plain_facts_and_load_what_they_say(tmp_path: Path) -> None:
    data = data_folder(tmp_path)
    cohort = read_cohort(data / "ixi")
    brains = cohort["test"]
    cases = [*healthy_cases(brains), *stroke_cases(brains, data / "stroke_shapes", 0), *artefact_cases(brains, 0)]
    cases += labelled_cases(find_labelled(data / "open_ms", ["T1w"]))
    assert len({(case.section, case.name) for case in cases}) == len(cases) == 1 + 4 + 24 + 3
    json.dumps([case.facts for case in cases])
    bias_field = next(case for case in cases if case.facts.get("kind") == "bias_field")
    changed = bias_field.load().reference.array
    np.testing.assert_array_equal(changed, np.rint(changed))
    healthy, stroke, labelled = cases[0].load(), cases[1].load(), cases[-1].load()
    assert healthy.truth is None and labelled.truth is not None and labelled.truth.any()
    assert stroke.truth is not None and stroke.facts["millilitres"] == pytest.approx(stroke.truth.sum() * 0.064)
    painted = stroke.reference.array
    np.testing.assert_array_equal(
        painted != healthy.reference.array, stroke.truth & (painted != healthy.reference.array)
    )
    np.testing.assert_array_equal(painted, cases[1].load().reference.array)


def test_further_channels_of_a_labelled_case_lie_on_the_grid_of_the_first(tmp_path: Path) -> None:
    folder = labelled_folder(tmp_path, cases=1)
    array, affine = phantom((20, 24, 20), spacing=8.0)
    write_nifti(array, affine, folder / "patient0" / "patient0_T2.nii.gz")
    (case,) = labelled_cases(find_labelled(folder, ["T1w", "T2w"]))
    loaded = case.load()
    assert case.channels == tuple(loaded.images) == ("T1w", "T2w")
    assert loaded.images["T2w"].array.shape == loaded.reference.array.shape == loaded.truth.shape == (40, 48, 40)


def test_the_real_plan_has_sixty_strokes_of_every_size_over_fifteen_brains() -> None:
    cohort = read_cohort(data_file("ixi"))
    cases = stroke_cases(cohort["test"], data_file("stroke_shapes"), 0)
    assert len(cases) == len({case.facts["lesion"]["shape"] for case in cases}) == 60
    assert len({case.subject for case in cases}) == 15
    assert len(artefact_cases(cohort["test"], 0)) == 8 * (2 + 8 + 2)
