"""Synthetic strokes: where a shape lands, what it changes, and which shapes may be reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Image
from IterMask3DLib.core.resources import resource
from IterMask3DLib.evaluation.strokes import SyntheticLesion, paint, place_shape, plan_lesions, shape_files, size_class
from IterMask3DLib.preprocessing.nifti import write_nifti
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.preprocessing.registration import mni_to_brain, template_to_brain
from Testing.brains import data_file, phantom


def brain_volume() -> tuple[Image, np.ndarray]:
    array, affine = phantom()
    return Image(array, affine, "phantom"), array > 0


def ball(volume: Image, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    points = np.moveaxis(np.indices(volume.array.shape), 0, -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return np.linalg.norm(points - centre, axis=-1) <= radius


def shape_folder(folder: Path, count: int) -> Path:
    """Cubes in MNI space, the n-th with n + 1 ml."""
    for number in range(count):
        cube = np.zeros((40, 40, 40), np.uint8)
        cube[:10, :10, : 10 * (number + 1)] = 1
        write_nifti(cube, np.eye(4), folder / f"shape{number:02d}.nii.gz")
    return folder


def test_only_the_mask_changes_and_all_of_it_does() -> None:
    volume, brain = brain_volume()
    mask = ball(volume, (-25, 0, 10), 20) & brain
    painted = paint(volume, brain, mask, SyntheticLesion("ball", contrast=0.6))
    assert painted.array.dtype == volume.array.dtype
    changed = painted.array != volume.array
    assert not changed[~mask].any()
    assert changed[mask].mean() > 0.97
    assert (painted.array > 0).sum() == brain.sum()


def test_more_contrast_is_darker_and_full_contrast_is_fluid() -> None:
    volume, brain = brain_volume()
    mask = ball(volume, (-25, 0, 10), 20) & brain
    core = ball(volume, (-25, 0, 10), 12)
    means = [
        float(paint(volume, brain, mask, SyntheticLesion("ball", contrast=c, texture=0)).array[core].mean())
        for c in (0, 0.3, 0.6, 1.0)
    ]
    assert means == sorted(means, reverse=True)
    assert means[-1] == pytest.approx(np.percentile(volume.array[brain], 2), abs=1)
    assert np.diff(means) == pytest.approx(
        [0.3 * (means[-1] - means[0]), 0.3 * (means[-1] - means[0]), 0.4 * (means[-1] - means[0])], abs=1
    )


def test_the_border_is_softer_than_the_core() -> None:
    volume, brain = brain_volume()
    mask = ball(volume, (-25, 0, 10), 24) & brain
    painted = paint(volume, brain, mask, SyntheticLesion("ball", contrast=0.9, flattening=0, texture=0, edge_mm=12))
    difference = volume.array.astype(float) - painted.array
    border = mask & ~ndimage.binary_erosion(mask)
    core = ndimage.binary_erosion(mask, iterations=3)
    # The middle of a voxel of 4 mm lies 2 mm deep in an edge of 12 mm, of which 4 mm are outside: half the way.
    way = 0.9 * (volume.array - np.percentile(volume.array[brain], 2))
    assert (difference[border] / way[border]).mean() == pytest.approx(1 / 2, abs=0.02)
    assert (difference[core] / way[core]).mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("side", [0.5, 1.0, 2.0])
def test_a_stroke_is_the_same_on_any_grid(side: float) -> None:
    """What a flat brain loses along a line through a slab of 8 mm, by the depth that a voxel has in millimetres."""
    shape = (round(48 / side), round(24 / side), round(24 / side))
    volume = Image(np.full(shape, 100, np.float32), np.diag([side] * 3 + [1.0]), "flat")
    volume.array[: round(4 / side)] = 10  # Fluid, for the stroke to go to.
    brain, mask = np.ones(shape, bool), np.zeros(shape, bool)
    mask[round(20 / side) : round(28 / side)] = True
    lesion = SyntheticLesion("slab", contrast=0.5, flattening=0, texture=0)
    middle = tuple(n // 2 for n in shape[1:])
    lost = (100 - paint(volume, brain, mask, lesion).array)[(slice(None), *middle)][mask[(slice(None), *middle)]]
    depth = side * (np.minimum(np.arange(len(lost)), np.arange(len(lost))[::-1]) + 0.5)
    np.testing.assert_allclose(lost, 45 * np.clip((depth + 1) / 3, 0, 1), rtol=1e-5)


def test_the_seed_alone_decides_the_texture() -> None:
    volume, brain = brain_volume()
    mask = ball(volume, (-25, 0, 10), 20) & brain
    first, again, other = (paint(volume, brain, mask, SyntheticLesion("ball", seed=seed)).array for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_shape_lands_where_the_affine_says_whatever_the_grid() -> None:
    volume, brain = brain_volume()
    shape = np.zeros((60, 60, 60), np.float32)
    shape[20:40, 20:40, 20:40] = 1
    shape_affine = np.diag([1.0, 1.0, 1.0, 1.0])
    shape_affine[:3, 3] = (-30, -30, -30)
    to_brain = np.diag([1.2, 1.0, 1.0, 1.0])
    to_brain[:3, 3] = (10, -20, 8)
    flipped = volume.affine @ np.diag([1, -1, 1, 1.0])
    flipped[1, 3] = volume.affine[1, 3] + 4.0 * (volume.array.shape[1] - 1)
    straight = place_shape(Image(shape, shape_affine, "cube"), volume, brain, to_brain)
    turned = place_shape(
        Image(shape, shape_affine, "cube"), Image(volume.array[:, ::-1], flipped, "turned"), brain[:, ::-1], to_brain
    )
    np.testing.assert_array_equal(straight, turned[:, ::-1])
    points = np.argwhere(straight) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    # The cube's centre is at -0.5 mm in its own space.
    np.testing.assert_allclose(points.mean(axis=0), np.array([1.2 * -0.5 + 10, -20.5, 7.5]), atol=1.5)
    assert straight.sum() * 64 == pytest.approx(8000 * 1.2, rel=0.15)


def test_a_shape_is_cut_to_the_brain_and_out_of_wide_fluid() -> None:
    volume, brain = brain_volume()
    ventricle = ball(volume, (-20, 0, 0), 14)
    fluid = Image(np.where(ventricle, 10, volume.array).astype(np.int16), volume.affine, "fluid")
    everything = Image(
        np.ones((60, 60, 60), np.float32),
        np.array([[4.0, 0, 0, -120], [0, 4, 0, -120], [0, 0, 4, -120], [0, 0, 0, 1]]),
        "all",
    )
    placed = place_shape(everything, fluid, brain, np.eye(4))
    assert not (placed & ~brain).any()
    assert (placed & ventricle).sum() < 0.3 * ventricle.sum()
    assert (placed | ventricle)[brain].all()


def test_a_shape_that_misses_the_brain_is_told() -> None:
    volume, brain = brain_volume()
    with pytest.raises(UserError, match=r"far\.nii\.gz does not touch the brain"):
        paint(volume, brain, np.zeros_like(brain), SyntheticLesion("far.nii.gz"))


def test_tuning_and_reporting_share_no_shape(tmp_path: Path) -> None:
    folder = shape_folder(tmp_path, 7)
    tune, report = ([path.name for path in shape_files(folder, split)] for split in ("tune", "report"))
    assert tune == ["shape00.nii.gz", "shape02.nii.gz", "shape04.nii.gz", "shape06.nii.gz"]
    assert report == ["shape01.nii.gz", "shape03.nii.gz", "shape05.nii.gz"]
    with pytest.raises(UserError, match="holds too few lesion shapes"):
        shape_files(tmp_path / "nothing", "tune")


def test_every_brain_gets_every_size_and_no_shape_comes_twice(tmp_path: Path) -> None:
    files = sorted(shape_folder(tmp_path, 4).glob("*.nii.gz"))
    pairs = plan_lesions(files, brains=2, per_brain=2, seed=3)
    assert pairs == plan_lesions(files, brains=2, per_brain=2, seed=3)
    assert len({pair.file for pair in pairs}) == len(pairs) == 4
    for brain in range(2):
        names = [pair.file.name for pair in pairs if pair.brain == brain]
        assert names[0] in ("shape00.nii.gz", "shape01.nii.gz") and names[1] in ("shape02.nii.gz", "shape03.nii.gz")
    assert all(0.4 <= pair.lesion.contrast <= 0.9 for pair in pairs)
    assert [size_class(ml) for ml in (4.9, 5, 29.9, 30)] == ["small", "medium", "medium", "large"]


def test_the_fit_finds_an_affine_that_is_known() -> None:
    template = read_image(resource("Templates", "t1w_brain_4mm.nii.gz"))
    moved = np.array([[1.06, 0.05, 0, 6.0], [-0.04, 0.95, 0.06, -9.0], [0.02, -0.05, 1.03, 4.0], [0, 0, 0, 1]])
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (-96, -114, -96)
    back = np.linalg.inv(template.affine) @ np.linalg.inv(moved) @ affine
    array = ndimage.affine_transform(
        template.array.astype(np.float32), back[:3, :3], back[:3, 3], output_shape=(66, 76, 66), order=1
    )
    found = template_to_brain(Image(array * 7, affine, "moved"), array > 20)
    corners = np.array([[x, y, z, 1] for x in (-55, 55) for y in (-70, 70) for z in (-50, 50)])
    assert np.linalg.norm(((found - moved) @ corners.T)[:3], axis=0).max() < 1.0


def test_real_shapes_land_inside_a_real_brain_with_about_their_volume() -> None:
    path = next(data_file("ixi", "sub-IXI092").rglob("*.nii.gz"))
    volume = read_image(path)
    brain = volume.array > 0
    to_brain = mni_to_brain(volume, brain)
    for file in shape_files(data_file("stroke_shapes"), "tune")[:8:2]:
        shape_ml = float((read_image(file).array > 0).sum()) / 1000
        placed = place_shape(read_image(file), volume, brain, to_brain)
        scaled_ml = shape_ml * abs(np.linalg.det(to_brain[:3, :3]))
        assert 0.6 * scaled_ml < placed.sum() * volume.voxel_ml < 1.1 * scaled_ml, file.name
