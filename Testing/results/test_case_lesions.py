"""The lesions of a case, as everything that tells of them gets them; how they are measured is tested in `core`."""

from __future__ import annotations

import numpy as np
import pytest

from IterMask3DLib.results.case_lesions import CaseLesions
from Testing.results.case_results import a_result, an_anomaly, healthy, score_alone


def test_they_are_measured_on_the_grid_of_the_case() -> None:
    found = CaseLesions.of(a_result())
    assert [(x.voxels, x.mean_score, x.peak_score) for x in found.lesions] == [(24, 0.5, 0.5), (1, 2.0, 2.0)]
    assert found.total_ml == pytest.approx(25 * 1 * 1.5 * 3 / 1000)
    np.testing.assert_array_equal(found.labels > 0, an_anomaly())
    # The middle voxel is (7.5, 11, 8.5): 7.5 mm, 16.5 mm and 25.5 mm along the axes, tilted by 20 degrees.
    cos, sin = np.cos(np.pi / 9), np.sin(np.pi / 9)
    expected = (11.25 - 7.5, -20.125 + 16.5 * cos - 25.5 * sin, -31.7 + 16.5 * sin + 25.5 * cos)
    assert found.lesions[0].centroid_ras == pytest.approx(expected)


@pytest.mark.parametrize("result", [healthy(), score_alone()], ids=["no anomaly", "a method without anomalies"])
def test_where_nothing_is_outlined_there_are_none(result) -> None:
    found = CaseLesions.of(result)
    assert found.lesions == () and found.total_ml == 0
    assert found.labels.shape == result.brain.shape and not found.labels.any()
