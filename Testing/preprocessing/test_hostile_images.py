"""Files that claim what they do not hold, and DICOM folders with more or less than one scan: one sentence each."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.read import read_image

BRAIN = np.arange(8 * 9 * 10, dtype=np.int16).reshape(8, 9, 10)


def nifti(path: Path, array: np.ndarray = BRAIN, affine: np.ndarray | None = None) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)
    return path


def patched(path: Path, offset: int, values: bytes) -> Path:
    """A NIfTI file with some bytes of its header replaced."""
    raw = bytearray(nifti(path).read_bytes())
    raw[offset : offset + len(values)] = values
    path.write_bytes(bytes(raw))
    return path


def sentence(path: Path | str) -> str:
    with pytest.raises(UserError) as raised:
        read_image(path)
    text = str(raised.value)
    assert "\n" not in text and len(text) < 400
    return text


def test_a_header_that_claims_more_voxels_than_any_head_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    sides = struct.pack("<8h", 3, 30000, 30000, 30000, 1, 1, 1, 1)
    assert "30000 x 30000 x 30000" in sentence(patched(tmp_path / "a.nii", 40, sides))


@pytest.mark.parametrize("sides", [(3, -8, 9, 10), (3, 0, 9, 10), (9, 8, 9, 10)])
def test_sides_that_make_no_volume_are_refused(tmp_path: Path, sides: tuple[int, ...]) -> None:
    sentence(patched(tmp_path / "a.nii", 40, struct.pack("<4h", *sides)))


@pytest.mark.parametrize("code", [0, 1, 32, 128, 1536, 1792, 2048, 2304, 9999])
def test_unknown_and_exotic_data_types_are_refused(tmp_path: Path, code: int) -> None:
    sentence(patched(tmp_path / "a.nii", 70, struct.pack("<h", code)))


@pytest.mark.parametrize("offset", [-1e9, 1e30, float("nan"), float("inf"), 1e7])
def test_an_offset_that_leads_nowhere_is_refused(tmp_path: Path, offset: float) -> None:
    sentence(patched(tmp_path / "a.nii", 108, struct.pack("<f", offset)))


def test_a_slope_that_gives_no_numbers_is_refused_and_one_that_is_no_number_does_not_scale(tmp_path: Path) -> None:
    sentence(patched(tmp_path / "a.nii", 112, struct.pack("<2f", 1e38, 0.0)))
    unscaled = read_image(patched(tmp_path / "b.nii", 112, struct.pack("<2f", float("inf"), 0.0)))
    assert (unscaled.array == BRAIN).all()


def test_a_compressed_file_that_holds_far_more_than_its_header_says_is_refused(tmp_path: Path) -> None:
    inside = nifti(tmp_path / "a.nii").read_bytes() + bytes(64 << 20)
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(inside))
    assert "more than its header says" in sentence(tmp_path / "bomb.nii.gz")


def test_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    raw = bytearray(nifti(tmp_path / "a.nii.gz").read_bytes())
    raw[-8] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(bytes(raw))
    assert "damaged" in sentence(tmp_path / "a.nii.gz")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz"):
        raw = nifti(tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(raw[: len(raw) // 2])
        assert "damaged" in sentence(tmp_path / name)


def test_values_beyond_what_a_network_computes_in_are_refused(tmp_path: Path) -> None:
    assert "rescale" in sentence(nifti(tmp_path / "a.nii", BRAIN.astype(np.float64) * 1e40))


@pytest.mark.parametrize("count", [2, 3])
def test_two_or_three_slices_are_no_volume(tmp_path: Path, count: int) -> None:
    assert "slices" in sentence(nifti(tmp_path / "a.nii", BRAIN[..., :count]))


@pytest.mark.parametrize("size", [1e-3, 40.0, 1e6])
def test_voxels_of_absurd_size_are_refused(tmp_path: Path, size: float) -> None:
    sentence(nifti(tmp_path / "a.nii", affine=np.diag([size, 1, 1, 1])))


def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii")
    assert "neither a file nor a folder" in sentence(tmp_path / "pipe.nii")
    assert "neither a file nor a folder" in sentence("/dev/null")


def test_links_in_a_circle_and_impossible_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").symlink_to(tmp_path / "b.nii")
    (tmp_path / "b.nii").symlink_to(tmp_path / "a.nii")
    sentence(tmp_path / "a.nii")
    sentence("a\0.nii")
    with pytest.raises(UserError, match="cannot be opened"):
        read_image("x" * 5000 + ".nii")


def test_a_name_that_is_not_utf8_is_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.nii")
    nifti(path)
    assert read_image(path).array.shape == BRAIN.shape
    sitk.WriteImage(sitk.GetImageFromArray(BRAIN), str(tmp_path / "a.nrrd"))
    odd = tmp_path / os.fsdecode(b"caf\xe9.nrrd")
    (tmp_path / "a.nrrd").rename(odd)
    assert "rename it" in sentence(odd)


def write_series(
    folder: Path, places: list[float], uid: str = "1.2.3", sides: Callable[[int], int] = lambda n: 16, first: int = 0
) -> None:
    """One DICOM file for each place along the axis of the head."""
    folder.mkdir(exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, place in enumerate(places):
        pixels = np.random.default_rng(number).integers(0, 900, (1, sides(number), 16), dtype=np.int16)
        image = sitk.GetImageFromArray(pixels)
        image.SetOrigin((0.0, 0.0, place))
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0018": f"{uid}.{first + number + 1}",
            "0008|0060": "MR",
            "0010|0010": "SECRET^PATIENT",
            "0020|000d": "1.2.9",
            "0020|000e": uid,
            "0020|0013": str(number + 1),
            "0020|0032": f"0\\0\\{place:g}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{uid}_{first + number:03d}.dcm"))
        writer.Execute(image)


EVEN = [2.0 * n for n in range(8)]


def test_one_series_is_read_in_the_order_of_its_places(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", [*reversed(EVEN)])
    image = read_image(tmp_path / "scan")
    assert image.array.shape == (16, 16, 8)
    assert image.spacing[2] == pytest.approx(2.0)


def test_several_series_are_told_apart_and_one_is_taken_by_a_file_of_it(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", EVEN, "1.2.3")
    write_series(tmp_path / "scan", EVEN[:5], "1.2.4")
    told = sentence(tmp_path / "scan")
    assert "2 DICOM series (of 8, 5 files)" in told and "SECRET" not in told
    assert read_image(tmp_path / "scan" / "1.2.4_000.dcm").array.shape == (16, 16, 5)


def test_missing_slices_are_told(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", EVEN[:3] + EVEN[4:])
    assert "gaps" in sentence(tmp_path / "scan")


def test_several_time_points_are_told(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", EVEN)
    write_series(tmp_path / "scan", EVEN, first=8)
    assert "time points" in sentence(tmp_path / "scan")


def test_slices_of_different_sizes_are_told(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", EVEN, sides=lambda n: 16 if n < 5 else 18)
    assert "different sizes" in sentence(tmp_path / "scan")
