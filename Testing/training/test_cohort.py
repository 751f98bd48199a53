"""Which volumes a folder holds, their masks, and who is kept for validation."""

from __future__ import annotations

from pathlib import Path

import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.training.cohort import Split, find_cohort


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def everyone(split: Split) -> dict[str, str | None]:
    """Volume and mask names of both sides."""
    return {s.path.name: s.mask.name if s.mask else None for s in (*split.training, *split.validation)}


def test_in_a_flat_folder_masks_are_told_from_volumes_by_their_names(tmp_path: Path) -> None:
    data = made(
        tmp_path,
        "a.nii.gz",
        "a_brain_mask.nii.gz",
        "b.nrrd",
        "b_mask.nrrd",
        "c.nii",
        "brain_mask.nii.gz",
        "notes.txt",
        ".d.nii.gz",
    )
    found = everyone(find_cohort(data, ("T1w",), 0.1, 0))
    # A file that looks like a mask but belongs to no volume is a volume.
    assert found == {
        "a.nii.gz": "a_brain_mask.nii.gz",
        "b.nrrd": "b_mask.nrrd",
        "c.nii": None,
        "brain_mask.nii.gz": None,
    }


def test_masks_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    data, masks = (
        made(tmp_path / "flair", "a.nii.gz", "b.nii.gz"),
        made(tmp_path / "brainmask", "a.nii.gz", "b_mask.nii.gz"),
    )
    assert everyone(find_cohort(data, ("FLAIR",), 0.1, 0, masks)) == {
        "a.nii.gz": "a.nii.gz",
        "b.nii.gz": "b_mask.nii.gz",
    }


def test_a_bids_folder_gives_the_asked_modality_with_masks_of_derivatives(tmp_path: Path) -> None:
    data = made(
        tmp_path,
        "sub-1/anat/sub-1_T1w.nii.gz",
        "sub-1/anat/sub-1_FLAIR.nii.gz",
        "sub-2/ses-a/anat/sub-2_ses-a_T1w.nii.gz",
        "sub-2/ses-b/anat/sub-2_ses-b_T1w.nii.gz",
        "sub-2/ses-b/anat/sub-2_ses-b_desc-brain_mask.nii.gz",
        "derivatives/bet/sub-1/anat/sub-1_desc-brain_mask.nii.gz",
    )
    assert everyone(find_cohort(data, ("T1w",), 0.1, 0)) == {
        "sub-1_T1w.nii.gz": "sub-1_desc-brain_mask.nii.gz",
        "sub-2_ses-a_T1w.nii.gz": None,
        "sub-2_ses-b_T1w.nii.gz": "sub-2_ses-b_desc-brain_mask.nii.gz",
    }
    assert everyone(find_cohort(data, ("FLAIR",), 0.1, 0)).keys() == {"sub-1_FLAIR.nii.gz"}


def test_the_table_of_participants_decides_and_test_subjects_are_left_alone(tmp_path: Path) -> None:
    data = made(tmp_path, *(f"sub-{i}/anat/sub-{i}_T1w.nii.gz" for i in range(5)))
    rows = "participant_id\tage\tsplit\nsub-0\t30\ttrain\nsub-1\t40\tval\nsub-2\t50\ttest\nsub-3\t60\ttrain\n"
    (data / "participants.tsv").write_text(rows, encoding="utf-8")
    split = find_cohort(data, ("T1w",), 0.5, 0)
    assert [s.subject for s in split.training] == ["sub-0", "sub-3"] and [s.subject for s in split.validation] == [
        "sub-1"
    ]


def test_without_a_table_a_share_of_the_subjects_is_drawn_and_sessions_stay_together(tmp_path: Path) -> None:
    data = made(tmp_path, *(f"sub-{i}/ses-{s}/anat/sub-{i}_ses-{s}_T1w.nii.gz" for i in range(10) for s in "ab"))
    split = find_cohort(data, ("T1w",), 0.3, 0)
    kept, learned = {s.subject for s in split.validation}, {s.subject for s in split.training}
    assert len(kept) == 3 and len(learned) == 7 and not kept & learned and len(split.validation) == 6
    assert find_cohort(data, ("T1w",), 0.3, 0) == split != find_cohort(data, ("T1w",), 0.3, 1)
    assert not find_cohort(data, ("T1w",), 0.0, 0).validation


def test_channels_of_one_brain_are_found_together_and_brains_that_lack_one_are_named(tmp_path: Path) -> None:
    data = made(
        tmp_path / "bids",
        *(f"sub-{i}/anat/sub-{i}_{channel}.nii.gz" for i in range(2) for channel in ("T2w", "T1w")),
        "sub-2/anat/sub-2_T1w.nii.gz",
        "sub-0/anat/sub-0_desc-brain_mask.nii.gz",
    )
    split = find_cohort(data, ("T1w", "T2w"), 0.0, 0)
    assert [[path.name for path in s.paths] for s in split.training] == [
        ["sub-0_T1w.nii.gz", "sub-0_T2w.nii.gz"],
        ["sub-1_T1w.nii.gz", "sub-1_T2w.nii.gz"],
    ]
    assert split.left_out == ("sub-2",) and split.training[0].mask is not None and split.training[1].mask is None
    flat = made(tmp_path / "flat", "a_T1w.nii.gz", "a_T2w.nii.gz", "a_brain_mask.nii.gz", "b_T1w.nrrd", "b_T2w.nrrd")
    found = find_cohort(flat, ("T2w", "T1w"), 0.0, 0).training
    assert [(s.path.name, s.mask.name if s.mask else None, s.subject) for s in found] == [
        ("a_T2w.nii.gz", "a_brain_mask.nii.gz", "a"),
        ("b_T2w.nrrd", None, "b"),
    ]
    with pytest.raises(UserError, match=r"no brain with all of T1w, FLAIR \(sub-0 lacks one\)"):
        find_cohort(data, ("T1w", "FLAIR"), 0.0, 0)


def test_a_table_of_participants_that_is_none_is_named_in_one_sentence(tmp_path: Path) -> None:
    data = made(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz")
    (data / "participants.tsv").write_bytes(b"participant_id\tsplit\nsub-1\t\xff\xfe\n")
    with pytest.raises(UserError, match=r"participants.tsv cannot be read as a table"):
        find_cohort(data, ("T1w",), 0.1, 0)


def test_a_single_subject_is_trained_on(tmp_path: Path) -> None:
    split = find_cohort(made(tmp_path, "only.nii.gz"), ("T1w",), 0.1, 0)
    assert len(split.training) == 1 and not split.validation


@pytest.mark.parametrize(
    ("names", "told"),
    [((), "no NIfTI"), (("sub-1/anat/sub-1_T2w.nii.gz",), "no \\*_T1w"), (("readme.txt",), "no NIfTI")],
)
def test_a_folder_without_volumes_is_refused_in_one_sentence(names: tuple[str, ...], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        find_cohort(made(tmp_path, *names), ("T1w",), 0.1, 0)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        find_cohort(tmp_path / "nowhere", ("T1w",), 0.1, 0)
    with pytest.raises(UserError, match="brain masks"):
        find_cohort(made(tmp_path, "a.nii.gz"), ("T1w",), 0.1, 0, tmp_path / "nowhere")


def test_a_table_that_leaves_nobody_to_train_on_is_named(tmp_path: Path) -> None:
    data = made(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz")
    (data / "participants.tsv").write_text("participant_id\tsplit\nsub-1\ttest\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"participants.tsv leaves no volume"):
        find_cohort(data, ("T1w",), 0.1, 0)


def test_a_table_of_the_user_says_who_trains_before_that_of_the_cohort(tmp_path: Path) -> None:
    data, table = made(tmp_path / "data", *(f"c{n}.nii.gz" for n in range(4))), tmp_path / "split.tsv"
    table.write_text("participant_id\tsplit\nc0\tval\nc2\ttrain\nother\ttrain\n", encoding="utf-8")
    split = find_cohort(data, ("T1w",), 0.5, 0, split=table)
    assert ([s.subject for s in split.training], [s.subject for s in split.validation]) == (["c2"], ["c0"])
    # A table that says nothing of a cohort leaves it as it is.
    table.write_text("participant_id\tsplit\nother\ttrain\n", encoding="utf-8")
    assert find_cohort(data, ("T1w",), 0.5, 0, split=table) == find_cohort(data, ("T1w",), 0.5, 0)
    table.write_text("who\twhat\n", encoding="utf-8")
    with pytest.raises(UserError, match="no columns participant_id and split"):
        find_cohort(data, ("T1w",), 0.5, 0, split=table)
    with pytest.raises(UserError, match="cannot be read"):
        find_cohort(data, ("T1w",), 0.5, 0, split=tmp_path / "none.tsv")
