"""Which cases are evaluated, and that nothing that is reported was tuned on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.read import write_nifti
from IterMask3DLib.evaluation.labelled import find_labelled
from IterMask3DLib.evaluation.protocols import (
    artefact_trials,
    calibration_trials,
    healthy_trials,
    labelled_trials,
    read_cohort,
    stroke_trials,
)
from Testing.brains import data_file
from Testing.evaluation.cohorts import data_folder


def empty(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(np.zeros((2, 2, 2), np.uint8), np.eye(4), path)


def test_labels_find_their_volumes_flat_and_in_bids(tmp_path: Path) -> None:
    for name in ("a_T1", "a_FLAIR", "a_lesions", "a_brain_mask", "b_T1w", "b_T1w_seg", "c_T1"):
        empty(tmp_path / "flat" / f"{name}.nii.gz")
    flat = find_labelled(tmp_path / "flat", "T1w")
    assert [(case.name, case.volume.name, case.label.name, case.brain and case.brain.name) for case in flat] == [
        ("a_T1", "a_T1.nii.gz", "a_lesions.nii.gz", "a_brain_mask.nii.gz"),
        ("b_T1w", "b_T1w.nii.gz", "b_T1w_seg.nii.gz", None),
    ]
    assert [case.name for case in find_labelled_flair(tmp_path / "flat")] == ["a_FLAIR"]
    empty(tmp_path / "bids" / "sub-1" / "ses-2" / "anat" / "sub-1_ses-2_T1w.nii.gz")
    empty(tmp_path / "bids" / "derivatives" / "masks" / "sub-1" / "anat" / "sub-1_ses-2_label-lesion_mask.nii.gz")
    (case,) = find_labelled(tmp_path / "bids", "T1w")
    assert (case.name, case.subject, case.volume.name) == ("sub-1_ses-2_T1w", "sub-1", "sub-1_ses-2_T1w.nii.gz")


def find_labelled_flair(folder: Path) -> list:
    for extra in folder.glob("b_*"):
        extra.unlink()
    return find_labelled(folder, "FLAIR")


def test_a_label_without_its_volume_and_a_folder_without_labels_are_told(tmp_path: Path) -> None:
    empty(tmp_path / "a_T1.nii.gz")
    with pytest.raises(UserError, match="holds no label"):
        find_labelled(tmp_path, "T1w")
    empty(tmp_path / "b_lesions.nii.gz")
    with pytest.raises(UserError, match=r"b_lesions\.nii\.gz has no volume beside it; b_T1w or b_T1"):
        find_labelled(tmp_path, "T1w")
    with pytest.raises(UserError, match="is not a folder"):
        find_labelled(tmp_path / "nowhere", "T1w")


def test_a_cohort_is_read_by_its_table(tmp_path: Path) -> None:
    data = data_folder(tmp_path)
    cohort = read_cohort(data / "ixi")
    assert [path.name for path in cohort.test] == ["sub-03_T1w.nii.gz"] and len(cohort.train) == 2
    (data / "ixi" / "participants.tsv").write_text("participant_id\tsplit\nsub-00\ttrain\n", encoding="utf-8")
    with pytest.raises(UserError, match="no subject whose split is val"):
        read_cohort(data / "ixi")
    with pytest.raises(UserError, match=r"participants\.tsv cannot be read"):
        read_cohort(tmp_path)


def test_thresholds_are_chosen_on_other_brains_and_other_shapes_than_are_reported(tmp_path: Path) -> None:
    data = data_folder(tmp_path)
    cohort = read_cohort(data / "ixi")
    tuned = calibration_trials(cohort.val, data / "stroke_shapes", 0)
    reported = stroke_trials(cohort.test, data / "stroke_shapes", 0)
    assert not {trial.subject for trial in tuned} & {trial.subject for trial in reported}
    assert not {trial.facts["lesion"]["shape"] for trial in tuned} & {trial.facts["lesion"]["shape"] for trial in reported}
    assert len({trial.name for trial in reported}) == len(reported) == 4


def test_trials_are_described_by_plain_facts_and_load_what_they_say(tmp_path: Path) -> None:
    data = data_folder(tmp_path)
    cohort = read_cohort(data / "ixi")
    brains = cohort.test
    trials = [*healthy_trials(brains), *stroke_trials(brains, data / "stroke_shapes", 0), *artefact_trials(brains, 0)]
    trials += labelled_trials(find_labelled(data / "open_ms", "T1w"))
    assert len({(trial.section, trial.name) for trial in trials}) == len(trials) == 1 + 4 + 24 + 3
    json.dumps([trial.facts for trial in trials])
    bias_field = next(trial for trial in trials if trial.facts.get("kind") == "bias_field")
    changed = bias_field.load().volume.array
    np.testing.assert_array_equal(changed, np.rint(changed))
    healthy, stroke, labelled = trials[0].load(), trials[1].load(), trials[-1].load()
    assert healthy.truth is None and labelled.truth is not None and labelled.truth.any()
    assert stroke.truth is not None and stroke.facts["millilitres"] == pytest.approx(stroke.truth.sum() * 0.064)
    np.testing.assert_array_equal(stroke.volume.array != healthy.volume.array, stroke.truth & (stroke.volume.array != healthy.volume.array))
    np.testing.assert_array_equal(stroke.volume.array, trials[1].load().volume.array)


def test_the_real_plan_has_sixty_strokes_of_every_size_over_fifteen_brains() -> None:
    cohort = read_cohort(data_file("ixi"))
    trials = stroke_trials(cohort.test, data_file("stroke_shapes"), 0)
    assert len(trials) == len({trial.facts["lesion"]["shape"] for trial in trials}) == 60
    assert len({trial.subject for trial in trials}) == 15
    assert len(artefact_trials(cohort.test, 0)) == 8 * (2 + 8 + 2)
