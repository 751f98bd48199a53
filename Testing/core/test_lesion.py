"""Lesions are what another library finds: their voxels, sizes, places and scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from IterMask3DLib.core.lesion import find_lesions

AFFINE = np.array([[0, -2.0, 0, 11], [1.5, 0, 0, -7], [0, 0, 3.0, 5], [0, 0, 0, 1]])


@settings(max_examples=60, deadline=None)
@given(st.tuples(*(st.integers(1, 12),) * 3), st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.8, 1.0]), st.integers(0, 10_000))
def test_lesions_are_the_components_that_scipy_finds(shape: tuple[int, int, int], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    anomaly, heatmap = rng.random(shape) < share, rng.random(shape).astype(np.float32)
    expected, count = ndimage.label(anomaly, np.ones((3, 3, 3)))
    lesions, labels = find_lesions(anomaly, heatmap, AFFINE)
    assert [lesion.number for lesion in lesions] == list(range(1, count + 1))
    assert [lesion.voxels for lesion in lesions] == sorted(np.bincount(expected.ravel())[1:], reverse=True)
    np.testing.assert_array_equal(labels > 0, anomaly)
    for lesion in lesions:
        here = labels == lesion.number
        (number,) = set(expected[here])
        np.testing.assert_array_equal(here, expected == number)
        centre = np.argwhere(here).mean(axis=0) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
        assert lesion.centroid_ras == pytest.approx(centre) and lesion.volume_ml == pytest.approx(here.sum() * 0.009)
        assert lesion.mean_score == pytest.approx(heatmap[here].mean(), rel=1e-5)
        assert lesion.peak_score == heatmap[here].max()


def test_equally_large_lesions_are_numbered_by_their_place_and_a_negative_score_is_kept() -> None:
    anomaly = np.zeros((6, 6, 6), dtype=bool)
    anomaly[4, 0, 0] = anomaly[0, 4, 4] = True
    lesions, labels = find_lesions(anomaly, np.full(anomaly.shape, -2.0, np.float32), np.eye(4))
    assert labels[0, 4, 4] == 1 and labels[4, 0, 0] == 2
    assert [lesion.peak_score for lesion in lesions] == [-2.0, -2.0]
    assert [lesion.mean_score for lesion in find_lesions(anomaly, None, np.eye(4))[0]] == [0.0, 0.0]
