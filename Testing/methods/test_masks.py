"""Random masks: how much of the brain they cover, and where."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.methods.itermask3d.masks import MaskPlan, blob, sample_mask, scattered


def ellipsoid(shape: tuple[int, int, int] = (80, 96, 80)) -> NDArray[np.bool_]:
    """At 2 mm a brain of 1.4 litres, as adults have."""
    middle, radii = (np.array(shape) - 1) / 2, np.array([32, 41, 32])
    i, j, k = (np.indices(shape) - middle[:, None, None, None]) / radii[:, None, None, None]
    return i**2 + j**2 + k**2 <= 1


@pytest.mark.parametrize(
    ("millimetres", "mean", "lowest", "highest"),
    [(2, 0.0105, 0.002, 0.023), (4, 0.071, 0.016, 0.183), (8, 0.40, 0.066, 0.895)],
)
def test_blobs_cover_the_share_of_the_brain_measured_on_the_published_code(
    millimetres: int, mean: float, lowest: float, highest: float
) -> None:
    brain = ellipsoid()
    shares = [blob(brain, millimetres // 2, np.random.default_rng(seed)).sum() / brain.sum() for seed in range(240)]
    assert np.mean(shares) == pytest.approx(mean, rel=0.12)
    # The extremes of 240 draws vary more than their mean.
    assert (min(shares), max(shares)) == (pytest.approx(lowest, rel=0.3), pytest.approx(highest, rel=0.3))


def test_half_of_the_blobs_are_of_the_middle_size() -> None:
    brain = ellipsoid()
    shares = np.array([sample_mask(brain, 2.0, np.random.default_rng(seed)).sum() / brain.sum() for seed in range(400)])
    # By the measured ranges: below 0.016 only the small blobs, above 0.183 only the large ones.
    assert 0.18 < (shares < 0.016).mean() < 0.32
    assert 0.16 < (shares > 0.19).mean() < 0.32


def test_a_blob_near_one_end_of_the_grid_does_not_come_back_at_the_other() -> None:
    brain = np.zeros((40, 40, 40), dtype=bool)
    brain[0:3] = True
    brain[37:40] = True
    for seed in range(30):
        mask = blob(brain, 1, np.random.default_rng(seed))
        assert not (mask[:3].any() and mask[37:].any())


def test_masks_stay_in_the_brain_and_each_kind_comes_as_often_as_asked() -> None:
    brain = ellipsoid((40, 48, 40))
    whole = dust = 0
    for seed in range(300):
        mask = sample_mask(brain, 4.0, np.random.default_rng(seed), MaskPlan(full_brain=0.3, scattered=0.5))
        assert mask.any() and not (mask & ~brain).any()
        whole += bool((mask == brain).all())
        dust += ndimage.label(mask)[1] > 20
    # Whole brains are one piece, and the clouds of points behind blobs have few stray cells.
    assert 68 <= whole <= 112
    assert 100 <= dust <= 170


def test_as_published_the_whole_brain_is_never_hidden() -> None:
    brain = ellipsoid()
    assert all(sample_mask(brain, 2.0, np.random.default_rng(seed)).sum() < brain.sum() for seed in range(100))


def test_scattered_masks_cover_every_share_of_the_brain_alike() -> None:
    brain = ellipsoid()
    shares = np.array([scattered(brain, 2.0, np.random.default_rng(seed)).sum() / brain.sum() for seed in range(200)])
    assert 0.02 <= shares.min() < 0.06 and 0.94 < shares.max() <= 0.98
    counts = np.histogram(shares, bins=4, range=(0.02, 0.98))[0]
    assert counts.min() > 30


def test_scattered_masks_reach_from_dust_to_clumps() -> None:
    brain = ellipsoid()
    neighbours = []
    for seed in range(40):
        mask = scattered(brain, 2.0, np.random.default_rng(seed))
        share = mask.sum() / brain.sum()
        both = (mask[1:] & mask[:-1]).sum() / (brain[1:] & brain[:-1]).sum()
        # Correlation of neighbouring voxels: 0 for white dust, towards 1 for clumps.
        neighbours.append((both - share**2) / (share - share**2))
    assert min(neighbours) < 0.1 and max(neighbours) > 0.5
