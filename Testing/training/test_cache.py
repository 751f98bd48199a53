"""Volumes prepared once: as an inference would, whole, and read again without work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.prepare import Grid, prepare
from IterMask3DLib.preprocessing.read import read_image, write_nifti
from IterMask3DLib.training.cache import Cached, cut_volumes, fitted_shape, prepared, write_whole
from IterMask3DLib.training.cohort import Source
from Testing.training.toys import AFFINE, flat_cohort, toy_brain, toy_mask


def sources(folder: Path) -> list[Source]:
    return [Source(path, None, path.stem) for path in sorted(folder.glob("c*.nii.gz"))]


@pytest.mark.parametrize("shape", [(32, 48, 32), (48, 64, 48)])
def test_a_cached_volume_is_what_an_inference_would_see(shape: tuple[int, int, int], tmp_path: Path) -> None:
    data = flat_cohort(tmp_path / "data", 2)
    cached = Cached(prepared(sources(data), tmp_path / "cache", 4.0, print), shape)
    for number in range(2):
        volume, brain = cached[number]
        wanted = prepare(read_image(data / f"c{number}.nii.gz"), Grid(4.0, shape, "zscore_clip3"))
        np.testing.assert_array_equal(brain, wanted.brain)
        # Halves keep three digits.
        np.testing.assert_allclose(volume, wanted.volume, atol=2e-3)
        assert volume.dtype == np.float32 and (volume[~brain] == -3).all()


def test_a_second_run_prepares_nothing_and_changed_content_or_spacing_is_prepared_anew(tmp_path: Path) -> None:
    data, told = flat_cohort(tmp_path / "data", 2), []
    first = prepared(sources(data), tmp_path / "cache", 4.0, told.append)
    assert sum(line.startswith("preparing") for line in told) == 2
    told.clear()
    assert prepared(sources(data), tmp_path / "cache", 4.0, told.append) == first and not told
    write_nifti(toy_brain(9), AFFINE, data / "c1.nii.gz")
    second = prepared(sources(data), tmp_path / "cache", 4.0, told.append)
    assert second[0] == first[0] and second[1] != first[1]
    assert set(prepared(sources(data), tmp_path / "cache", 5.0, told.append)).isdisjoint(second)
    assert Cached(first, (32, 48, 32)).key != Cached(second, (32, 48, 32)).key
    assert not list((tmp_path / "cache").glob("*.part"))


def test_a_brain_mask_is_heeded_and_belongs_to_the_key(tmp_path: Path) -> None:
    write_nifti(toy_brain(0, stripped=False), AFFINE, tmp_path / "head.nii.gz")
    write_nifti(toy_mask(), AFFINE, tmp_path / "mask.nii.gz")
    smaller = toy_mask()
    smaller[:18] = 0
    write_nifti(smaller, AFFINE, tmp_path / "half.nii.gz")
    given = [Source(tmp_path / "head.nii.gz", tmp_path / name, "head") for name in ("mask.nii.gz", "half.nii.gz")]
    cached = Cached(prepared(given, tmp_path / "cache", 4.0, print), (32, 48, 32))
    assert cached[0][1].sum() == toy_mask().sum() and cached[1][1].sum() == smaller.sum()


def test_the_grid_holds_every_brain_and_can_be_turned(tmp_path: Path) -> None:
    wide = np.zeros((60, 30, 30), dtype=np.uint8)
    wide[5:55, 5:25, 5:25] = np.random.default_rng(0).integers(50, 200, (50, 20, 20))
    write_nifti(wide, AFFINE, tmp_path / "c0.nii.gz")
    files = prepared(sources(tmp_path), tmp_path / "cache", 4.0, print)
    assert fitted_shape(files) == (64, 32, 64)
    assert cut_volumes(files, (64, 32, 64)) == 0 and cut_volumes(files, (48, 32, 64)) == 1
    volume, brain = Cached(files, (32, 32, 32))[0]
    assert volume.shape == (32, 32, 32) and brain.sum() == 32 * 20 * 20


def test_a_volume_that_cannot_be_used_is_named_in_one_sentence(tmp_path: Path) -> None:
    data = flat_cohort(tmp_path / "data", 1)
    (data / "c1.nii.gz").write_bytes(b"this is no volume")
    with pytest.raises(UserError, match=r"c1\.nii\.gz cannot be read as NIfTI") as refused:
        prepared(sources(data), tmp_path / "cache", 4.0, print)
    assert "\n" not in str(refused.value)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("earlier", encoding="utf-8")

    def half(beside: Path) -> None:
        beside.write_text("ha", encoding="utf-8")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_whole(target, half)
    assert target.read_text(encoding="utf-8") == "earlier" and list(tmp_path.iterdir()) == [target]
