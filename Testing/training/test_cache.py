"""Volumes prepared once: as a run would, whole, and read again without work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.card import CardGrid
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Case
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.preprocessing.prepare import prepare
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.training.cache import AlikeCohorts, CachedSlices, CachedVolumes, count_cut, fitted_shape, prepared
from IterMask3DLib.training.cohort import Source, find_cohort
from Testing.training.toys import AFFINE, flat_cohort, paired_cohort, smallest_card, toy_brain, toy_mask


def sources(folder: Path) -> list[Source]:
    return [Source((path,), None, path.stem) for path in sorted(folder.glob("c*.nii.gz"))]


@pytest.mark.parametrize("shape", [(32, 48, 32), (48, 64, 48)])
def test_a_cached_volume_is_what_a_run_would_see(shape: tuple[int, int, int], tmp_path: Path) -> None:
    data = flat_cohort(tmp_path / "data", 2)
    grid = CardGrid(4.0, shape)
    cached = CachedVolumes(prepared(sources(data), tmp_path / "cache", smallest_card(), print), grid)
    for number in range(2):
        healthy = cached[number]
        case = Case.of(read_image(data / f"c{number}.nii.gz"))
        wanted = prepare(case, replace(smallest_card(), grid=grid))
        np.testing.assert_array_equal(healthy.brain, wanted.brain)
        # Halves keep three digits.
        np.testing.assert_allclose(healthy.channels, wanted.channels, atol=2e-3)
        assert healthy.channels.dtype == np.float32 and (healthy.channels[:, ~healthy.brain] == -3).all()
        assert healthy.spacing == (4.0, 4.0, 4.0)


def test_several_channels_are_prepared_together(tmp_path: Path) -> None:
    split = find_cohort(paired_cohort(tmp_path / "data", 2), ("T1w", "T2w"), 0.0, 0)
    files = prepared(split.training, tmp_path / "cache", smallest_card("T1w", "T2w"), print)
    healthy = CachedVolumes(files, CardGrid(4.0, (32, 48, 32)))[0]
    assert healthy.channels.shape == (2, 32, 48, 32)
    # The second one is the first one upside down.
    inside = healthy.channels[:, healthy.brain]
    assert np.corrcoef(inside)[0, 1] < -0.99


def test_of_a_2d_grid_every_slice_with_enough_brain_is_an_example(tmp_path: Path) -> None:
    data = flat_cohort(tmp_path / "data", 2)
    card = smallest_card(dimensions=2)
    files = prepared(sources(data), tmp_path / "cache", card, print)
    grid = replace(card.grid, shape=fitted_shape(files, 2))
    volumes = CachedVolumes(files, grid)
    assert grid.shape == (48, 48) and volumes[0].channels.shape[:3] == (1, 48, 48)
    areas = [volumes[n].brain.sum(axis=(0, 1)) for n in range(2)]
    everything, large = CachedSlices(volumes, 0.0), CachedSlices(volumes, 0.5)
    assert len(everything) == sum((area > 0).sum() for area in areas)
    assert len(large) == sum((area >= 0.5 * area.max()).sum() for area in areas) < len(everything)
    first = int(np.flatnonzero(areas[0] >= 0.5 * areas[0].max())[0])
    np.testing.assert_array_equal(large[0].channels, volumes[0].channels[..., first])
    assert large[0].spacing == (4.0, 4.0)


def test_a_second_run_prepares_nothing_and_changed_content_or_spacing_is_prepared_anew(tmp_path: Path) -> None:
    data, heard = flat_cohort(tmp_path / "data", 2), []
    card = smallest_card()
    first = prepared(sources(data), tmp_path / "cache", card, heard.append)
    assert sum(line.startswith("preparing") for line in heard) == 2
    heard.clear()
    assert prepared(sources(data), tmp_path / "cache", card, heard.append) == first and not heard
    write_nifti(toy_brain(9), AFFINE, data / "c1.nii.gz")
    second = prepared(sources(data), tmp_path / "cache", card, heard.append)
    assert second[0] == first[0] and second[1] != first[1]
    for other in (smallest_card(spacing=5.0), smallest_card(dimensions=2)):
        assert set(prepared(sources(data), tmp_path / "cache", other, heard.append)).isdisjoint(second)
    grid = CardGrid(4.0, (32, 48, 32))
    assert CachedVolumes(first, grid).key != CachedVolumes(second, grid).key
    assert len(list((tmp_path / "cache").iterdir())) == 7


@pytest.mark.parametrize("content", [b"", b"not an array", None])
def test_a_damaged_file_of_the_cache_is_made_anew_and_one_that_breaks_later_is_named(
    content: bytes | None, tmp_path: Path
) -> None:
    data = flat_cohort(tmp_path / "data", 1)
    (file,) = prepared(sources(data), tmp_path / "cache", smallest_card(), print)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(UserError, match=r"\.npy cannot be read .* remove it and run the same command again") as refused:
        CachedVolumes((file,), CardGrid(4.0, (32, 48, 32)))[0]
    assert "\n" not in str(refused.value)
    assert prepared(sources(data), tmp_path / "cache", smallest_card(), print) == (file,)
    assert file.read_bytes() == whole


def test_a_brain_mask_is_heeded_and_belongs_to_the_key(tmp_path: Path) -> None:
    write_nifti(toy_brain(0, stripped=False), AFFINE, tmp_path / "head.nii.gz")
    write_nifti(toy_mask(), AFFINE, tmp_path / "mask.nii.gz")
    smaller = toy_mask()
    smaller[:18] = 0
    write_nifti(smaller, AFFINE, tmp_path / "half.nii.gz")
    head = (tmp_path / "head.nii.gz",)
    given = [Source(head, tmp_path / name, "head") for name in ("mask.nii.gz", "half.nii.gz")]
    files = prepared(given, tmp_path / "cache", smallest_card(), print)
    cached = CachedVolumes(files, CardGrid(4.0, (32, 48, 32)))
    assert cached[0].brain.sum() == toy_mask().sum() and cached[1].brain.sum() == smaller.sum()


def test_the_grid_holds_every_brain_and_can_be_turned(tmp_path: Path) -> None:
    wide = np.zeros((60, 30, 30), dtype=np.uint8)
    wide[5:55, 5:25, 5:25] = np.random.default_rng(0).integers(50, 200, (50, 20, 20))
    write_nifti(wide, AFFINE, tmp_path / "c0.nii.gz")
    files = prepared(sources(tmp_path), tmp_path / "cache", smallest_card(), print)
    assert fitted_shape(files, 3) == (64, 32, 64)
    assert count_cut(files, (64, 32, 64)) == 0 and count_cut(files, (48, 32, 64)) == 1
    healthy = CachedVolumes(files, CardGrid(4.0, (32, 32, 32)))[0]
    assert healthy.channels.shape == (1, 32, 32, 32) and healthy.brain.sum() == 32 * 20 * 20


def test_a_volume_that_cannot_be_used_is_named_in_one_sentence(tmp_path: Path) -> None:
    data = flat_cohort(tmp_path / "data", 1)
    (data / "c1.nii.gz").write_bytes(b"this is no volume")
    with pytest.raises(UserError, match=r"c1\.nii\.gz cannot be read as NIfTI") as refused:
        prepared(sources(data), tmp_path / "cache", smallest_card(), print)
    assert "\n" not in str(refused.value)


def test_of_several_cohorts_as_many_are_learned_from() -> None:
    alike = AlikeCohorts(("abcde", "xy"))
    assert len(alike) == 10 and sorted(alike[i] for i in range(10)) == sorted("abcdexyxyx")
