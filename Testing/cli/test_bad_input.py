"""Bad input is told in one sentence and costs nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from IterMask3DLib.preprocessing.nifti import write_nifti
from Testing.brains import phantom
from Testing.cli.command import one_error, run


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


def test_a_brain_mask_elsewhere_in_space_is_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array, affine = phantom()
    moved = affine.copy()
    moved[0, 3] += 5
    write_nifti(array > 0, moved, tmp_path / "moved.nii.gz")
    write_nifti((array > 0)[:-2], affine, tmp_path / "smaller.nii.gz")
    for name, words in (("moved", "elsewhere in space"), ("smaller", "voxels")):
        assert (
            run("segment", scan, "-o", tmp_path / "out", "--model", model, "--brain-mask", tmp_path / f"{name}.nii.gz")
            == 1
        )
        assert words in one_error(capsys)


def test_a_brain_mask_without_a_brain_is_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array, affine = phantom()
    write_nifti(-(array > 0).astype(np.int16), affine, tmp_path / "none.nii.gz")
    assert run("segment", scan, "-o", tmp_path / "out", "--model", model, "--brain-mask", tmp_path / "none.nii.gz") == 1
    assert "no brain" in one_error(capsys)


def test_a_changed_model_is_refused(
    scan: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(model, changed)
    data = bytearray((changed / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (changed / "model.safetensors").write_bytes(data)
    assert run("segment", scan, "-o", tmp_path / "out", "--model", changed) == 1
    assert "checksum" in one_error(capsys)
