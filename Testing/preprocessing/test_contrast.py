"""The order of a brain's tissues, measured: on folded phantoms of each contrast, and on real volumes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.image import Case
from IterMask3DLib.preprocessing.contrast import contrast_warning, tissue_order
from IterMask3DLib.preprocessing.prepare import prepare
from IterMask3DLib.preprocessing.read import described_contrast, read_image
from Testing.brains import data_file

SPACING = (2.0, 2.0, 2.0)
LOOKS = {"T1w": (0.3, 0.65, 1.0), "T2w": (1.0, 0.45, 0.32), "FLAIR": (0.2, 1.0, 0.8)}
"""Fluid, cortex and white matter."""


@lru_cache(maxsize=1)
def tissues() -> tuple[np.ndarray, np.ndarray]:
    """0 fluid, 1 cortex, 2 white matter on 2 mm voxels: a folded ball with ventricles; and the brain."""
    x, y, z = ((axis - (n - 1) / 2) * 2.0 for axis, n in zip(np.indices((76, 90, 72)), (76, 90, 72), strict=True))
    radius = np.sqrt((x / 66) ** 2 + (y / 80) ** 2 + (z / 62) ** 2)
    folds = 0.09 * np.sin(x / 3.2) * np.sin(y / 3.4 + 1) * np.sin(z / 3.3)
    brain = radius <= 1
    depth = 66 * (0.94 + folds - radius)
    kind = np.where(depth < 0, 0, np.where(depth < 4, 1, 2))
    kind[((np.abs(x) - 8) / 6) ** 2 + (y / 24) ** 2 + (z / 9) ** 2 <= 1] = 0
    return kind, brain


def phantom(contrast: str) -> np.ndarray:
    kind, brain = tissues()
    rng = np.random.default_rng(0)
    bias = 1 + 0.35 * (np.indices(kind.shape)[1] / kind.shape[1] - 0.5)
    volume = np.array(LOOKS[contrast])[kind] * bias + 0.03 * rng.normal(size=kind.shape)
    return np.where(brain, volume, 0).astype(np.float32)


@pytest.mark.parametrize("contrast", LOOKS)
def test_each_contrast_is_told_through_a_bias_field_whatever_its_unit(contrast: str) -> None:
    _, brain = tissues()
    for scaled in (phantom(contrast), 700 * phantom(contrast) + 30 * brain):
        order = tissue_order(scaled.astype(np.float32), brain, SPACING)
        assert order is not None and order.contrast == contrast


def test_only_another_contrast_is_warned_of_and_only_where_the_model_says_what_it_expects() -> None:
    _, brain = tissues()

    def warned(shown: str, expected: str) -> tuple[str, ...]:
        return contrast_warning(phantom(shown), brain, SPACING, expected, "scan")

    assert warned("T1w", "T1w") == warned("T2w", "T2w") == warned("FLAIR", "FLAIR") == warned("T2w", "CT") == ()
    (sentence,) = warned("T2w", "T1w")
    assert "ordered as in T2w (fluid brightest)" in sentence and sentence.endswith("choose a model for T2w.")


def test_a_brain_without_tissues_tells_nothing() -> None:
    _, brain = tissues()
    flat = brain.astype(np.float32)
    assert tissue_order(flat, brain, SPACING) is None
    noise = np.where(brain, np.random.default_rng(0).normal(size=brain.shape), 0).astype(np.float32)
    assert contrast_warning(noise, brain, SPACING, "T2w", "noise") == ()


def real(path: Path, expected: str) -> tuple[str, ...]:
    card = ModelCard("any", "", "itermask3d", (expected,), CardGrid(2.0, (16, 16, 16)), {})
    return prepare(Case.of(read_image(path)), card).warnings


@pytest.mark.parametrize("contrast", ["T1", "T2", "FLAIR"])
def test_real_volumes_of_patients_with_tumours_fit_their_own_contrast_alone(contrast: str) -> None:
    own = contrast if contrast == "FLAIR" else f"{contrast}w"
    for patient in ("tumour01", "tumour02"):
        path = data_file("tumours", patient, f"{patient}_{contrast}.nii.gz")
        assert described_contrast(path) == (own, "name")
        assert real(path, own) == ()
    for other in {"T1w", "T2w", "FLAIR"} - {own}:
        assert any(f"ordered as in {own}" in warning for warning in real(path, other))


def write_dicom(folder: Path, **tags: str) -> Path:
    folder.mkdir()
    names = {"series": "0008|103e", "protocol": "0018|1030", "tr": "0018|0080", "te": "0018|0081", "ti": "0018|0082"}
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number in range(3):
        image = sitk.GetImageFromArray(np.full((1, 8, 8), number, dtype=np.int16))
        for tag, value in (
            ("0008|0060", "MR"),
            ("0020|000e", "1.2.3.4"),
            ("0020|0032", f"0\\0\\{number}"),
            ("0020|0037", "1\\0\\0\\0\\1\\0"),
            *((names[name], value) for name, value in tags.items()),
        ):
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number}.dcm"))
        writer.Execute(image)
    return folder


def test_a_dicom_header_says_its_contrast_before_the_name_does(tmp_path: Path) -> None:
    assert described_contrast(write_dicom(tmp_path / "t1", series="Ax T2 FLAIR FS")) == ("FLAIR", "header")
    assert described_contrast(write_dicom(tmp_path / "b", tr="4000", te="95")) == ("T2w", "header")
    assert described_contrast(write_dicom(tmp_path / "scan_T1w", series="3D brain")) == ("T1w", "name")
    assert described_contrast(write_dicom(tmp_path / "scan", series="3D brain")) == ("", "")
    assert described_contrast(tmp_path / "missing.dcm") == ("", "")
