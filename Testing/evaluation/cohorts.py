"""A data folder of small phantoms, laid out as the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from IterMask3DLib.preprocessing.nifti import write_nifti
from Testing.brains import phantom


def varied(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A phantom whose intensities differ a little from the others'."""
    array, affine = phantom()
    waves = 1 + 0.04 * np.sin(np.indices(array.shape).sum(axis=0) / (5 + number))
    return np.where(array > 0, array * waves, 0).astype(np.int16), affine


def data_folder(root: Path, splits: tuple[str, ...] = ("train", "train", "val", "test"), shapes: int = 8) -> Path:
    """`ixi/` with one phantom a split, `stroke_shapes/` with balls, `open_ms/` with three labelled phantoms."""
    rows = ["participant_id\tsplit\tsex\tage"]
    for number, split in enumerate(splits):
        subject = f"sub-{number:02d}"
        folder = root / "ixi" / subject / "anat"
        folder.mkdir(parents=True)
        write_nifti(*varied(number), folder / f"{subject}_T1w.nii.gz")
        rows.append(f"{subject}\t{split}\t{'mf'[number % 2]}\t{30 + 20 * number}")
    (root / "ixi" / "participants.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "stroke_shapes").mkdir()
    grid = np.diag([4.0, 4.0, 4.0, 1.0])
    grid[:3, 3] = (-78, -112, -50)
    points = np.moveaxis(np.indices((40, 48, 34)), 0, -1) * 4.0 + grid[:3, 3]
    for number in range(shapes):
        centre = (-30 if number % 2 else 30, -40 + 8 * number, 20)
        ball = np.linalg.norm(points - centre, axis=-1) <= 8 + 2 * number
        write_nifti(ball, grid, root / "stroke_shapes" / f"shape{number}.nii.gz")
    labelled_folder(root / "open_ms")
    return root


def second_scanner_and_tumour(root: Path) -> None:
    """Adds `ds002748/` with two phantoms and no splits, and `tumours/` with one on T1 and FLAIR."""
    folder = root / "ds002748"
    for subject in ("sub-70", "sub-71"):
        (folder / subject).mkdir(parents=True)
        write_nifti(*varied(int(subject[-2:])), folder / subject / f"{subject}_T1w.nii.gz")
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\nsub-70\t40\tF\nsub-71\t\tM\n", encoding="utf-8")
    place = root / "tumours" / "tumour0"
    place.mkdir(parents=True)
    array, affine = varied(5)
    for contrast in ("T1", "FLAIR"):
        write_nifti(array, affine, place / f"tumour0_{contrast}.nii.gz")
    write_nifti(array > 480, affine, place / "tumour0_tumour.nii.gz")


def labelled_folder(folder: Path, cases: int = 3) -> Path:
    """Phantoms whose bright spot is labelled."""
    for number in range(cases):
        place = folder / f"patient{number}"
        place.mkdir(parents=True)
        array, affine = varied(number)
        write_nifti(array, affine, place / f"patient{number}_T1.nii.gz")
        write_nifti(array, affine, place / f"patient{number}_T2.nii.gz")
        write_nifti(array > 480, affine, place / f"patient{number}_lesions.nii.gz")
    return folder
