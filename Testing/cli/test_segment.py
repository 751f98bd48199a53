"""What `segment` writes for a case, and that its options reach the run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.runtime.openvino import available
from Testing.brains import phantom
from Testing.cli.command import FILES, one_error, run
from Testing.launcher import python
from Testing.methods.test_whole_brain import scored_model


def test_a_case_gets_every_file_of_the_contract_on_the_grid_of_the_input(
    scan: Path, model: Path, tmp_path: Path
) -> None:
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model) == 0
    folder = tmp_path / "out" / "scan"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"scan_{name}" for name in FILES)
    for name in FILES[:4]:
        image = nibabel.load(folder / f"scan_{name}")
        assert image.shape == (40, 48, 40)
        np.testing.assert_allclose(image.affine, phantom()[1], atol=1e-5)
    assert set(np.unique(nibabel.load(folder / "scan_anomaly.nii.gz").dataobj)) <= {0, 1}
    record = json.loads((folder / "scan_run.json").read_text(encoding="utf-8"))
    assert record["model_sha256"] == json.loads((model / "card.json").read_text(encoding="utf-8"))["files"]
    assert sorted(record["files"]) == sorted(f"scan_{name}" for name in FILES)
    with (folder / "scan_curve.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12


def test_a_run_like_those_of_the_bundled_models_imports_nothing_heavy_for_small_work(
    scan: Path, tmp_path: Path
) -> None:
    """PyTorch takes as long to import as a few passes, matplotlib half of it."""
    words = ["segment", str(scan), "-o", str(tmp_path / "out"), "--model", str(scored_model(tmp_path / "scored"))]
    heavy = {"matplotlib", "pandas", *(["torch"] if available() and not torch.cuda.is_available() else [])}
    code = f"import sys\nfrom IterMask3DLib.cli import main\ncode = main({words})\n"
    done = python(f"{code}sys.exit(code or ', '.join({heavy} & set(sys.modules)) or None)")
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "out" / "scan" / "scan_report.html").read_text(encoding="utf-8")
    assert report.count("data:image/svg+xml") == 2 and "outlined here (ml)" in report


def test_a_nrrd_copy_gives_the_same_anomaly(scan: Path, model: Path, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.ReadImage(str(scan)), str(tmp_path / "copy.nrrd"))
    assert run("segment", scan, tmp_path / "copy.nrrd", "-o", tmp_path / "out", "--model", model) == 0
    first, second = (
        np.asarray(nibabel.load(tmp_path / "out" / n / f"{n}_anomaly.nii.gz").dataobj) for n in ("scan", "copy")
    )
    np.testing.assert_array_equal(first, second)


def test_the_shrink_phase_can_start_from_the_best_mask_and_with_another_gamma(
    scan: Path, model: Path, tmp_path: Path
) -> None:
    records = []
    for number, more in enumerate((("--start", "brain"), ("--start", "best"), ("--gamma", "0.4"))):
        assert run("segment", scan, "-o", tmp_path / str(number), "--model", model, *more) == 0
        records.append(json.loads((tmp_path / str(number) / "scan" / "scan_run.json").read_text(encoding="utf-8")))
    whole, best, steep = records
    assert [r["settings"]["start"] for r in records] == ["brain", "best", "brain"]
    assert best["results"]["threshold"] == whole["results"]["threshold"]
    assert best["results"]["shrink"][0]["masked_voxels"] != whole["results"]["shrink"][0]["masked_voxels"]
    assert steep["settings"]["gamma"] == 0.4 and steep["results"]["chosen_pass"] > whole["results"]["chosen_pass"]


def test_the_same_seed_gives_the_same_files_and_another_seed_another_heatmap(
    scan: Path, model: Path, tmp_path: Path
) -> None:
    heatmaps = []
    for number, seed in enumerate((3, 3, 4)):
        assert run("segment", scan, "-o", tmp_path / str(number), "--model", model, "--seed", seed) == 0
        heatmaps.append(np.asarray(nibabel.load(tmp_path / str(number) / "scan" / "scan_heatmap.nii.gz").dataobj))
    np.testing.assert_array_equal(heatmaps[0], heatmaps[1])
    assert np.abs(heatmaps[0] - heatmaps[2]).max() > 1e-4


def test_iterations_are_saved_when_asked_for(scan: Path, model: Path, tmp_path: Path) -> None:
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--save-iterations") == 0
    masks = np.asarray(nibabel.load(tmp_path / "out" / "scan" / "scan_iterations.nii.gz").dataobj)
    anomaly = np.asarray(nibabel.load(tmp_path / "out" / "scan" / "scan_anomaly.nii.gz").dataobj)
    assert masks.shape[:3] == anomaly.shape and masks.shape[3] > 12
    np.testing.assert_array_equal(masks[..., -1], anomaly)


def test_a_given_brain_mask_is_used(scan: Path, model: Path, tmp_path: Path) -> None:
    array, affine = phantom()
    half = array > 0
    half[:20] = False
    write_nifti(half, affine, tmp_path / "half.nii.gz")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--brain-mask", tmp_path / "half.nii.gz") == 0
    folder = tmp_path / "out" / "scan"
    np.testing.assert_array_equal(np.asarray(nibabel.load(folder / "scan_brain.nii.gz").dataobj) > 0, half)
    assert not np.asarray(nibabel.load(folder / "scan_anomaly.nii.gz").dataobj)[:20].any()
    assert "given" in (folder / "scan_report.html").read_text(encoding="utf-8")


def test_the_settings_of_a_run_are_those_that_were_given(scan: Path, model: Path, tmp_path: Path) -> None:
    words = ("--sweep-passes", "6", "--stop-ratio", "0.5", "--median-multiple", "3", "--precision", "single")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, *words) == 0
    record = json.loads((tmp_path / "out" / "scan" / "scan_run.json").read_text(encoding="utf-8"))
    chosen = {"sweep_passes": 6, "stop_ratio": 0.5, "median_multiple": 3.0}
    assert record["request"]["settings"] == chosen and record["request"]["precision"] == "single"
    assert chosen.items() <= record["settings"].items()


def test_a_setting_of_another_method_is_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--threshold", "1") == 1
    assert "--threshold cannot be set for model toy: its method, IterMask3D, has no such setting" in one_error(capsys)
    assert not (tmp_path / "out").exists()


def test_a_model_with_two_channels_takes_one_image_for_each(
    scan: Path, toy_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from Testing.toy_methods.models import toy_method_model

    model = toy_method_model(tmp_path / "two", "toy_case_score")
    shutil.copy(scan, tmp_path / "second.nii.gz")
    second = f"T2w={tmp_path / 'second.nii.gz'}"
    scores = []
    for number, images in enumerate(((scan, "--input", second), ("--input", f"T1w={scan}", "--input", second))):
        assert run("segment", *images, "-o", tmp_path / str(number), "--model", model) == 0
        folder = tmp_path / str(number) / "scan"
        assert not (folder / "scan_anomaly.nii.gz").exists() and not (folder / "scan_lesions.csv").exists()
        record = json.loads((folder / "scan_run.json").read_text(encoding="utf-8"))
        assert [Path(path).name for path in record["inputs"].values()] == ["scan.nii.gz", "second.nii.gz"]
        scores.append(record["results"]["case_score"])
        assert f"scan: score {scores[-1]:.4g}; brain " in capsys.readouterr().out
    assert scores[0] == scores[1]
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model) == 1
    assert "--input T2w=FILE" in one_error(capsys)
    assert (
        run("segment", scan, "--input", f"T1w={scan}", "--input", second, "-o", tmp_path / "out", "--model", model) == 1
    )
    assert "one image too many" in one_error(capsys)
