"""The main job on real brains: the bundled one with the bundled model, and volumes of the data folder."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy import ndimage

from IterMask3DLib import cli
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.models.catalogue import model_for
from IterMask3DLib.preprocessing.nifti import write_nifti
from Testing.brains import data_file
from Testing.cli.command import FILES as FILES_OF_AN_ITERATIVE_MODEL

SAMPLE = "open_ms_patient19_T1"
FILES = [{"curve.csv": "sensitivity.csv"}.get(name, name) for name in FILES_OF_AN_ITERATIVE_MODEL]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    assert cli.main(["demo", "-o", str(out)]) == 0
    return out / SAMPLE


def lesions(folder: Path) -> list[dict[str, str]]:
    with (folder / f"{folder.name}_lesions.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(folder: Path, name: str) -> np.ndarray:
    return np.asarray(nibabel.load(folder / f"{folder.name}_{name}.nii.gz").dataobj) > 0


def place(row: dict[str, str]) -> np.ndarray:
    return np.array([float(row[f"centroid_{axis}_mm"]) for axis in "ras"])


def segment(path: Path, out: Path) -> Path:
    assert cli.main(["segment", str(path), "-o", str(out)]) == 0
    folder = next(out.iterdir())
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{folder.name}_{name}" for name in FILES)
    image = nibabel.load(folder / f"{folder.name}_anomaly.nii.gz")
    if path.name.endswith(".nii.gz"):
        assert image.shape == nibabel.load(path).shape
        np.testing.assert_allclose(image.affine, nibabel.load(path).affine, atol=1e-4)
    return folder


def test_the_demo_outlines_dark_lesions_of_the_white_matter(demo: Path) -> None:
    assert sorted(file.name for file in demo.iterdir()) == sorted(f"{SAMPLE}_{name}" for name in FILES)
    anomaly, brain = read(demo, "anomaly"), read(demo, "brain")
    assert not anomaly[~brain].any() and 0.001 < anomaly.sum() / brain.sum() < 0.05
    volume = np.asarray(nibabel.load(sample_volume()).dataobj)
    assert volume[anomaly].mean() < 0.65 * np.median(volume[brain])
    # The lesion beside the right ventricle that the readers of the data set outlined too.
    i, j, k, _ = np.linalg.inv(nibabel.load(sample_volume()).affine) @ (19, 2, 33, 1)
    assert anomaly[round(i), round(j), round(k)]


def test_lesions_of_the_demo_are_lesions_of_the_readers(demo: Path) -> None:
    outlined = np.asarray(nibabel.load(data_file("open_ms", "patient19", "patient19_lesions.nii.gz")).dataobj) > 0
    labels, count = ndimage.label(read(demo, "anomaly"), np.ones((3, 3, 3)))
    shares = [outlined[labels == number].mean() for number in range(1, count + 1)]
    assert sum(share > 0.5 for share in shares) >= 2


def test_a_flipped_and_turned_copy_has_the_same_lesion_in_physical_space(demo: Path, tmp_path: Path) -> None:
    image = nibabel.load(sample_volume())
    array = np.asarray(image.dataobj)
    orientation = np.array([[2, -1], [0, 1], [1, -1]])
    turned = image.affine @ inv_ornt_aff(orientation, array.shape)
    a = np.radians(17)
    rotation = np.array([[np.cos(a), -np.sin(a), 0, 9], [np.sin(a), np.cos(a), 0, -4], [0, 0, 1, 13], [0, 0, 0, 1]])
    path = tmp_path / "copy.nii.gz"
    write_nifti(np.ascontiguousarray(apply_orientation(array, orientation)), rotation @ turned, path)
    folder = segment(path, tmp_path / "out")
    first, same = lesions(demo)[0], lesions(folder)[0]
    wanted = (rotation @ [*place(first), 1])[:3]
    assert np.linalg.norm(place(same) - wanted) < 0.5
    assert float(same["volume_ml"]) == pytest.approx(float(first["volume_ml"]), rel=0.03)
    here, there = apply_orientation(read(demo, "anomaly"), orientation), read(folder, "anomaly")
    assert 2 * (here & there).sum() / (here.sum() + there.sum()) > 0.97


def test_a_nrrd_copy_has_the_same_lesions(demo: Path, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.ReadImage(str(sample_volume())), str(tmp_path / "copy.nrrd"))
    same, first = lesions(segment(tmp_path / "copy.nrrd", tmp_path / "out")), lesions(demo)
    assert len(same) == len(first)
    np.testing.assert_allclose(place(same[0]), place(first[0]), atol=0.05)


def test_a_volume_of_another_scanner_is_segmented_at_its_own_resolution(tmp_path: Path) -> None:
    path = data_file("ds002748", "sub-01", "anat", "sub-01_T1w.nii.gz")
    folder = segment(path, tmp_path / "out")
    anomaly, brain = read(folder, "anomaly"), read(folder, "brain")
    assert not anomaly[~brain].any() and anomaly.sum() < 0.15 * brain.sum()


def test_a_raw_head_is_extracted_and_segmented(tmp_path: Path) -> None:
    folder = segment(data_file("heads", "head_b_T1w.nii.gz"), tmp_path / "out")
    assert "built-in skull stripping" in (folder / f"{folder.name}_report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("contrast", "least"), [("FLAIR", 0.75), ("T2", 0.4), ("T1", 0.3)])
def test_the_tumours_are_outlined_without_naming_a_model(
    contrast: str, least: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = contrast if contrast == "FLAIR" else f"{contrast}w"
    entry = model_for(channel)
    if entry is None or entry.card is None or entry.card.settings.get("inference") != "whole_brain":
        pytest.skip(f"needs a bundled model for {channel} with whole-brain inference")
    found = []
    for patient in ("tumour01", "tumour02"):
        path = data_file("tumours", patient, f"{patient}_{contrast}.nii.gz")
        assert cli.main(["segment", str(path), "-o", str(tmp_path / patient)]) == 0
        assert f"model {entry.name}, for {channel} as the name says" in capsys.readouterr().err
        folder = tmp_path / patient / f"{patient}_{contrast}"
        outlined = read(folder, "anomaly")
        truth = np.asarray(nibabel.load(path.with_name(f"{patient}_tumour.nii.gz")).dataobj) > 0
        found.append(2 * (outlined & truth).sum() / (outlined.sum() + truth.sum()))
    assert np.mean(found) >= least
