"""Lesions: counted, ordered and measured."""

from __future__ import annotations

import numpy as np
import pytest

from IterMask3DLib.core.lesion import find_lesions
from Testing.results.outcomes import oblique_affine, outcome


def test_volume_is_voxels_times_the_size_of_an_oblique_voxel() -> None:
    made = outcome()
    lesions, _ = find_lesions(made.anomaly, made.heatmap, made.volume.affine)
    assert [lesion.voxels for lesion in lesions] == [24, 1]
    assert [lesion.volume_ml for lesion in lesions] == pytest.approx([24 * 1 * 1.5 * 3 / 1000, 1 * 1.5 * 3 / 1000])


def test_centroid_is_the_middle_of_the_lesion_in_ras_millimetres() -> None:
    made = outcome()
    lesions, _ = find_lesions(made.anomaly, made.heatmap, made.volume.affine)
    # The middle voxel is (7.5, 11, 8.5): 7.5 mm, 16.5 mm and 25.5 mm along the axes, tilted by 20 degrees.
    cos, sin = np.cos(np.pi / 9), np.sin(np.pi / 9)
    expected = (11.25 - 7.5, -20.125 + 16.5 * cos - 25.5 * sin, -31.7 + 16.5 * sin + 25.5 * cos)
    assert lesions[0].centroid_ras == pytest.approx(expected)


def test_errors_are_read_from_the_heatmap_inside_the_lesion() -> None:
    made = outcome()
    heatmap = made.heatmap.copy()
    heatmap[6, 10, 8] = 0.5 + 2.4
    large, small = find_lesions(made.anomaly, heatmap, made.volume.affine)[0]
    assert (large.mean_error, large.peak_error) == pytest.approx((0.6, 2.9))
    assert (small.mean_error, small.peak_error) == pytest.approx((2.0, 2.0))


def test_labels_number_the_largest_lesion_one() -> None:
    anomaly = np.zeros((9, 9, 9), dtype=bool)
    anomaly[0, 0, 0] = True
    anomaly[4:7, 4:7, 4:7] = True
    anomaly[0, 8, 7:9] = True
    lesions, labels = find_lesions(anomaly, anomaly.astype(np.float32), np.eye(4))
    assert [lesion.number for lesion in lesions] == [1, 2, 3]
    assert (labels[5, 5, 5], labels[0, 8, 8], labels[0, 0, 0]) == (1, 2, 3)
    assert np.array_equal(labels > 0, anomaly)


@pytest.mark.parametrize("other", [(3, 2, 2), (3, 3, 2), (3, 3, 3), (1, 3, 1)])
def test_voxels_that_touch_by_a_face_an_edge_or_a_corner_are_one_lesion(other: tuple[int, int, int]) -> None:
    anomaly = np.zeros((6, 6, 6), dtype=bool)
    anomaly[2, 2, 2] = anomaly[other] = True
    assert len(find_lesions(anomaly, anomaly.astype(np.float32), np.eye(4))[0]) == 1


def test_voxels_two_apart_are_two_lesions() -> None:
    anomaly = np.zeros((6, 6, 6), dtype=bool)
    anomaly[2, 2, 2] = anomaly[4, 2, 2] = True
    assert len(find_lesions(anomaly, anomaly.astype(np.float32), np.eye(4))[0]) == 2


def test_no_anomaly_has_no_lesion() -> None:
    lesions, labels = find_lesions(np.zeros((4, 5, 6), dtype=bool), np.ones((4, 5, 6), dtype=np.float32), oblique_affine())
    assert lesions == () and labels.shape == (4, 5, 6) and not labels.any()
