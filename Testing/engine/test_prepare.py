"""To the model's grid and back: every orientation, oblique and anisotropic grids, odd sizes, brains at the border."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff

from IterMask3DLib.preprocessing.prepare import Grid, Prepared, prepare
from IterMask3DLib.core.image import Image
from Testing.brains import phantom
from Testing.engine.test_volumes import oblique

GRID = Grid(4.0, (48, 48, 48), "zscore_clip3")
ORIENTATIONS = [
    np.array([[axis, flip] for axis, flip in zip(order, flips, strict=True)])
    for order in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


def turned(volume: Image, orientation: np.ndarray) -> Image:
    """The same physical volume with its axes permuted and flipped."""
    affine = volume.affine @ inv_ornt_aff(orientation, volume.array.shape)
    return Image(np.ascontiguousarray(apply_orientation(volume.array, orientation)), affine, volume.name)


def a_phantom(shape: tuple[int, int, int] = (40, 48, 40), spacing: float = 4.0) -> Image:
    return Image(*phantom(shape, spacing), "phantom")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


def centroid(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


def bright(prepared: Prepared) -> np.ndarray:
    """Where the input is above 405, as the scaled volume shows it."""
    return (prepared.volume > (405 - prepared.scaled.offset) / prepared.scaled.factor) & prepared.brain


def test_there_are_48_orientations() -> None:
    assert len({orientation.tobytes() for orientation in ORIENTATIONS}) == 48


@pytest.mark.parametrize("number", range(48))
def test_every_orientation_gives_the_same_model_volume_and_masks_come_home_whole(number: int) -> None:
    reference = prepare(a_phantom((41, 48, 39)), GRID)
    volume = turned(a_phantom((41, 48, 39)), ORIENTATIONS[number])
    prepared = prepare(volume, GRID)
    np.testing.assert_allclose(prepared.volume, reference.volume, atol=1e-5)
    np.testing.assert_allclose(prepared.affine, reference.affine, atol=1e-6)
    assert prepared.mapping.exact
    np.testing.assert_array_equal(prepared.restore_mask(prepared.brain) > 0, volume.array > 0)
    lesion = bright(prepared)
    home = prepared.restore_mask(lesion) > 0
    assert dice(home, volume.array > 405) == 1.0
    np.testing.assert_allclose(centroid(home, volume.affine), centroid(lesion, prepared.affine), atol=1e-6)
    np.testing.assert_allclose(prepared.restore_map(prepared.volume)[volume.array > 0], reference_values(volume), atol=1e-4)


def reference_values(volume: Image) -> np.ndarray:
    values = volume.array[volume.array > 0].astype(float)
    return np.clip((values - values.mean()) / values.std(), -3, 3)


def grids() -> dict[str, Image]:
    """Volumes on awkward grids: the same formula-made brain, sampled elsewhere."""
    thick = np.eye(4)
    thick[:3, :3] = np.diag([-1.7, 2.3, 5.9])
    fine = np.diag([1.6, 1.6, 1.6, 1.0])
    slanted = oblique() @ np.diag([2.2, 2.0, 1.4, 1.0])
    sheared = np.diag([3.0, 3.0, 3.0, 1.0])
    sheared[0, 1] = 0.4
    return {name: sampled(affine) for name, affine in (("thick", thick), ("fine", fine), ("oblique", slanted), ("sheared", sheared))}


def sampled(affine: np.ndarray) -> Image:
    """An ellipsoid brain of 1.2 l around the origin of RAS with a ball at (25, -15, 10) mm, on a grid of odd sizes around it."""
    corners = np.array(list(itertools.product((-75, 75), (-90, 90), (-70, 70))))
    steps = np.linalg.solve(affine[:3, :3], corners.T).T
    low, high = np.floor(steps.min(axis=0)) - 1, np.ceil(steps.max(axis=0)) + 1
    shape = (high - low + 1).astype(int) | 1
    affine = affine.copy()
    affine[:3, 3] = affine[:3, :3] @ low
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    r, a, s = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    values = 300 + 40 * np.sin(r / 20) + 30 * np.cos(a / 17)
    values[ball(r, a, s)] = 600
    brain = (r / 62) ** 2 + (a / 80) ** 2 + (s / 58) ** 2 <= 1
    return Image(np.where(brain, values, 0).astype(np.float32), affine, "sampled")


def ball(r: np.ndarray, a: np.ndarray, s: np.ndarray) -> np.ndarray:
    return (r - 25) ** 2 + (a + 15) ** 2 + (s - 10) ** 2 <= 15**2


@pytest.mark.parametrize("name", ["thick", "fine", "oblique", "sheared"])
def test_on_awkward_grids_a_place_stays_within_half_a_voxel(name: str) -> None:
    volume = grids()[name]
    prepared = prepare(volume, Grid(2.0, (80, 96, 80), "zscore_clip3"))
    half = 0.5 * max(2.0, *volume.spacing)
    lesion = bright(prepared)
    wanted = np.array([25, -15, 10])
    assert np.linalg.norm(centroid(lesion, prepared.affine) - wanted) < half
    home = prepared.restore_mask(lesion) > 0
    assert np.linalg.norm(centroid(home, volume.affine) - wanted) < half
    assert dice(home, volume.array == 600) > 0.85
    assert prepared.restore_mask(prepared.brain).shape == prepared.restore_map(prepared.volume).shape == volume.array.shape
    assert dice(prepared.restore_mask(prepared.brain) > 0, volume.array > 0) > 0.95


@pytest.mark.parametrize("name", ["thick", "fine", "oblique", "sheared"])
def test_both_grids_name_the_same_points_of_space(name: str) -> None:
    volume = grids()[name]
    prepared = prepare(volume, Grid(2.0, (80, 96, 80), "zscore_clip3"))
    rng = np.random.default_rng(0)
    places = rng.integers(10, 70, size=(40, 3))
    for place in places:
        single = np.zeros(prepared.brain.shape, dtype=np.float32)
        single[tuple(place)] = 1
        home = np.argwhere(prepared.restore_map(single) > 0)
        if len(home) == 0 or max(volume.spacing) > 2:
            continue
        weights = prepared.restore_map(single)[tuple(home.T)]
        back = volume.affine[:3, :3] @ np.average(home, axis=0, weights=weights) + volume.affine[:3, 3]
        there = prepared.affine[:3, :3] @ place + prepared.affine[:3, 3]
        assert np.linalg.norm(back - there) < 0.5 * max(volume.spacing)


def test_a_map_comes_home_by_linear_interpolation() -> None:
    volume = grids()["fine"]
    prepared = prepare(volume, Grid(2.0, (80, 96, 80), "zscore_clip3"))
    index = np.indices(prepared.brain.shape)
    ramp = np.tensordot([0.3, -0.2, 0.5], index, axes=1).astype(np.float32)
    home = prepared.restore_map(ramp)
    there = np.linalg.inv(prepared.affine) @ volume.affine
    for place in ((40, 50, 40), (33, 61, 47), (50, 45, 38)):
        assert home[place] == pytest.approx([0.3, -0.2, 0.5] @ (there @ [*place, 1])[:3], abs=1e-3)


def test_a_brain_at_the_border_is_kept_whole() -> None:
    array, affine = phantom()
    hits = [np.flatnonzero((array > 0).any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    tight = tuple(slice(h[0], h[-1] + 1) for h in hits)
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*(h[0] for h in hits), 1])[:3]
    volume = Image(array[tight], moved, "tight")
    prepared = prepare(volume, GRID)
    np.testing.assert_array_equal(prepared.restore_mask(prepared.brain) > 0, volume.array > 0)


def test_a_brain_larger_than_the_grid_makes_it_grow() -> None:
    prepared = prepare(a_phantom(), Grid(4.0, (16, 32, 32), "zscore_clip3"))
    assert prepared.volume.shape == (32, 48, 32)
    np.testing.assert_array_equal(prepared.restore_mask(prepared.brain) > 0, a_phantom().array > 0)


def test_the_reconstruction_comes_home_in_the_intensities_of_the_input() -> None:
    volume = a_phantom()
    home = prepare(volume, GRID).restore_intensity(prepare(volume, GRID).volume)
    inside = (volume.array > 0) & (np.abs(home - volume.array.mean()) < 1e9)
    unclipped = inside & (volume.array < 405)
    np.testing.assert_allclose(home[unclipped], volume.array[unclipped], rtol=1e-3)
    assert not home[volume.array == 0].any()


def test_thick_slices_are_told() -> None:
    assert any("5.9 mm" in warning for warning in prepare(grids()["thick"], Grid(2.0, (80, 96, 80), "zscore_clip3")).warnings)
