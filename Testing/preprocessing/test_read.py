"""One physical volume, whatever the file format and the order of its axes."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.preprocessing.read import case_name, read_image
from Testing.preprocessing.grids import oblique

ARRAY = np.arange(7 * 8 * 9, dtype=np.int16).reshape(7, 8, 9)


def ras_of(volume, index: tuple[int, int, int]) -> np.ndarray:
    return (volume.affine @ [*index, 1])[:3]


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_a_voxel_keeps_its_place_in_every_format(extension: str, tmp_path: Path) -> None:
    nifti = tmp_path / "first.nii.gz"
    write_nifti(ARRAY, oblique(), nifti)
    path = tmp_path / f"scan{extension}"
    sitk.WriteImage(sitk.ReadImage(str(nifti)), str(path))
    volume = read_image(path)
    for index in ((0, 0, 0), (6, 7, 8), (2, 5, 1)):
        place = np.argwhere(volume.array == ARRAY[index])[0]
        np.testing.assert_allclose(ras_of(volume, tuple(place)), (oblique() @ [*index, 1])[:3], atol=1e-3)
    assert volume.name == "scan"
    np.testing.assert_allclose(volume.spacing, (1.0, 1.5, 3.0), atol=1e-4)


def test_a_dicom_folder_is_read_as_one_volume(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(ARRAY.T)
    image.SetSpacing((1.0, 1.5, 3.0))
    image.SetOrigin((4.0, -5.0, 6.0))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(ARRAY.shape[2]):
        piece = image[:, :, k]
        position = "\\".join(str(v) for v in image.TransformIndexToPhysicalPoint((0, 0, k)))
        tags = {
            "0008|0060": "MR",
            "0020|000e": "1.2.3.4",
            "0020|000d": "1.2.3",
            "0008|0018": f"1.2.3.4.{k}",
            "0020|0013": str(k),
        }
        for key, value in {**tags, "0020|0032": position, "0020|0037": "1\\0\\0\\0\\1\\0", "0018|0050": "3.0"}.items():
            piece.SetMetaData(key, value)
        writer.SetFileName(str(tmp_path / f"slice{k:02d}.dcm"))
        writer.Execute(piece)
    volume = read_image(tmp_path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(ras_of(volume, (3, 4, 5)), [-(4 + 3), 5 - 6, 6 + 15], atol=1e-3)


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no DICOM series"):
        read_image(tmp_path)


def test_a_colour_image_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(tmp_path / "rgb.nrrd"))
    with pytest.raises(UserError, match="3 values a voxel"):
        read_image(tmp_path / "rgb.nrrd")


def test_a_trailing_axis_of_one_is_dropped(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(ARRAY[..., None], oblique()), tmp_path / "one.nii")
    assert read_image(tmp_path / "one.nii").array.shape == (7, 8, 9)


def test_scaled_nifti_values_are_read_as_scaled(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ARRAY, oblique())
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "scaled.nii")
    np.testing.assert_allclose(
        read_image(tmp_path / "scaled.nii").array, nibabel.load(tmp_path / "scaled.nii").get_fdata()
    )


def test_the_affine_of_a_written_file_is_the_given_one_in_both_forms(tmp_path: Path) -> None:
    write_nifti(ARRAY > 9, oblique(), tmp_path / "mask.nii.gz")
    image = nibabel.load(tmp_path / "mask.nii.gz")
    np.testing.assert_allclose(image.get_sform(), oblique(), atol=1e-5)
    np.testing.assert_allclose(image.get_qform(), oblique(), atol=1e-4)
    assert image.get_data_dtype() == np.uint8 and image.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.nii.gz", "b"),
        ("x.y.nrrd", "x.y"),
        ("my scan(1).NII", "my_scan_1"),
        ("folder/", "folder"),
        ("...nii", "case"),
    ],
)
def test_a_case_is_named_after_its_file(path: str, name: str) -> None:
    assert case_name(path) == name
