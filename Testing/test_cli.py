"""The command line: what it writes, what it says, and that bad input costs nothing."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IterMask3DLib import cli, commands
from IterMask3DLib.preprocessing.read import write_nifti
from Testing.brains import phantom, toy_model

FILES = ("anomaly.nii.gz", "heatmap.nii.gz", "reconstruction.nii.gz", "brain.nii.gz", "lesions.csv", "curve.csv", "report.html", "run.json")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.nii.gz"
    write_nifti(*phantom(), path)
    return path


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_a_case_gets_every_file_of_the_contract_on_the_grid_of_the_input(scan: Path, model: Path, tmp_path: Path) -> None:
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model) == 0
    folder = tmp_path / "out" / "scan"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"scan_{name}" for name in FILES)
    for name in FILES[:4]:
        image = nibabel.load(folder / f"scan_{name}")
        assert image.shape == (40, 48, 40)
        np.testing.assert_allclose(image.affine, phantom()[1], atol=1e-5)
    assert set(np.unique(nibabel.load(folder / "scan_anomaly.nii.gz").dataobj)) <= {0, 1}
    record = json.loads((folder / "scan_run.json").read_text(encoding="utf-8"))
    assert record["model_sha256"] == json.loads((model / "card.json").read_text(encoding="utf-8"))["sha256"]
    with (folder / "scan_curve.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12


def test_a_nrrd_copy_gives_the_same_anomaly(scan: Path, model: Path, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.ReadImage(str(scan)), str(tmp_path / "copy.nrrd"))
    assert run("segment", scan, tmp_path / "copy.nrrd", "-o", tmp_path / "out", "--model", model) == 0
    first, second = (np.asarray(nibabel.load(tmp_path / "out" / n / f"{n}_anomaly.nii.gz").dataobj) for n in ("scan", "copy"))
    np.testing.assert_array_equal(first, second)


def test_the_shrink_phase_can_start_from_the_best_mask_and_with_another_gamma(scan: Path, model: Path, tmp_path: Path) -> None:
    records = []
    for number, more in enumerate((("--start", "brain"), ("--start", "best"), ("--gamma", "0.4"))):
        assert run("segment", scan, "-o", tmp_path / str(number), "--model", model, *more) == 0
        records.append(json.loads((tmp_path / str(number) / "scan" / "scan_run.json").read_text(encoding="utf-8")))
    whole, best, steep = records
    assert [r["settings"]["start"] for r in records] == ["brain", "best", "brain"]
    assert best["results"]["threshold"] == whole["results"]["threshold"]
    assert best["results"]["shrink"][0]["masked_voxels"] != whole["results"]["shrink"][0]["masked_voxels"]
    assert steep["settings"]["curve"]["gamma"] == 0.4 and steep["results"]["chosen_pass"] > whole["results"]["chosen_pass"]


def test_the_same_seed_gives_the_same_files_and_another_seed_another_heatmap(scan: Path, model: Path, tmp_path: Path) -> None:
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


def test_results_that_are_there_stay_unless_overwrite_is_given(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "scan").mkdir(parents=True)
    (out / "scan" / "mine.txt").write_text("kept")
    assert run("segment", scan, "-o", out, "--model", model) == 1
    assert (out / "scan" / "mine.txt").read_text(encoding="utf-8") == "kept"
    assert "--overwrite" in one_error(capsys)
    assert run("segment", scan, "-o", out, "--model", model, "--overwrite") == 0
    assert (out / "scan" / "scan_report.html").exists()


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The only error line on stderr; fails on a traceback."""
    printed = capsys.readouterr().err
    lines = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, printed
    assert "Traceback" not in printed
    return lines[0]


def _write(array: np.ndarray, affine: np.ndarray | None = None) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)

    return make


def _truncated(path: Path) -> None:
    write_nifti(*phantom(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _with(value: float) -> np.ndarray:
    array = phantom()[0].astype(np.float32)
    array[20, 20, 20] = value
    return array


def _singular(path: Path) -> None:
    image = nibabel.Nifti1Image(phantom()[0], None)
    image.header.set_sform(np.diag([4.0, 4.0, 0.0, 1.0]), code=1)
    path.write_bytes(image.to_bytes())


BAD = {
    "missing": (lambda path: None, "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "truncated": (_truncated, "truncated"),
    "text": (lambda path: path.write_text("not an image" * 99), "cannot be read"),
    "two-dimensional": (_write(np.arange(64, dtype=np.int16).reshape(8, 8)), "2D"),
    "four-dimensional": (_write(np.arange(512, dtype=np.int16).reshape(8, 8, 4, 2)), "4D"),
    "not a number": (_write(_with(np.nan)), "NaN or infinite"),
    "infinite": (_write(_with(np.inf)), "NaN or infinite"),
    "constant": (_write(np.full((20, 20, 20), 7, np.int16)), "constant"),
    "singular": (_singular, "singular"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_volume_is_told_in_one_sentence_and_nothing_is_written(
    kind: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = BAD[kind]
    path = tmp_path / ("bad.nii" if kind == "singular" else "bad.nii.gz")
    make(path)
    assert run("segment", path, "-o", tmp_path / "out", "--model", model) == 1
    error = one_error(capsys)
    assert str(path) in error and words in error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_volume_of_another_kind_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(b"\x89PNG")
    assert run("segment", path, "-o", tmp_path / "out", "--model", model) == 1
    assert "is not a NIfTI" in one_error(capsys)


def test_a_brain_mask_elsewhere_in_space_is_refused(scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array, affine = phantom()
    moved = affine.copy()
    moved[0, 3] += 5
    write_nifti(array > 0, moved, tmp_path / "moved.nii.gz")
    write_nifti((array > 0)[:-2], affine, tmp_path / "smaller.nii.gz")
    for name, words in (("moved", "elsewhere in space"), ("smaller", "voxels")):
        assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--brain-mask", tmp_path / f"{name}.nii.gz") == 1
        assert words in one_error(capsys)


def test_a_brain_mask_without_a_brain_is_refused(scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array, affine = phantom()
    write_nifti(-(array > 0).astype(np.int16), affine, tmp_path / "none.nii.gz")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--brain-mask", tmp_path / "none.nii.gz") == 1
    assert "no brain" in one_error(capsys)


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


def test_an_output_folder_that_cannot_be_written_is_told_before_the_run(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "segment", lambda *a: pytest.fail("the run began"))
    (tmp_path / "file").write_text("a file, not a folder")
    assert run("segment", scan, "-o", tmp_path / "file" / "out", "--model", model) == 1
    assert str(tmp_path / "file") in one_error(capsys)


def test_an_interrupted_run_leaves_nothing(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, step: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("IterMask3DLib.core.progress.ProgressBar.step", interrupt)
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model) == 1
    assert "interrupted" in one_error(capsys)
    assert not list((tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else True


def test_a_changed_model_is_refused(scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(model, changed)
    data = bytearray((changed / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (changed / "model.safetensors").write_bytes(data)
    assert run("segment", scan, "-o", tmp_path / "out", "--model", changed) == 1
    assert "checksum" in one_error(capsys)


def test_in_a_batch_a_failing_case_does_not_stop_the_others(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("segment", tmp_path / "none.nii.gz", scan, "-o", tmp_path / "out", "--model", model) == 1
    assert "does not exist" in one_error(capsys)
    assert (tmp_path / "out" / "scan" / "scan_report.html").exists()


def test_two_inputs_of_one_name_are_refused(scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(scan, tmp_path / "other" / "scan.nii.gz")
    assert run("segment", scan, tmp_path / "other" / "scan.nii.gz", "-o", tmp_path / "out", "--model", model) == 1
    assert "different file names" in one_error(capsys)


@pytest.mark.parametrize(
    "arguments", [(), ("segment",), ("segment", "a.nii", "-o", "out", "--gamma", "-1"), ("segment", "a", "-o", "b", "--seed", "x")]
)
def test_wrong_usage_leaves_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2


def test_models_are_listed_shown_and_verified(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "list", model) == 0
    assert "t1w-2mm" in capsys.readouterr().out
    assert run("models", "verify", model) == 0
    assert run("models", "show", model) == 0
    assert '"name": "toy"' in capsys.readouterr().out
