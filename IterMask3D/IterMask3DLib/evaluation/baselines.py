"""What every method has to beat: thresholds on intensity, and on a z-score against a mean healthy brain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation

from IterMask3DLib.core.image import FloatVolume
from IterMask3DLib.evaluation.cases import COHORT_CHANNEL, LoadedCase, contrast_of
from IterMask3DLib.evaluation.detectors import Detection, Detector
from IterMask3DLib.evaluation.mean_brain import z_score
from IterMask3DLib.preprocessing.mean_brain import MeanBrain


class Intensity(Detector):
    """Dark or bright voxels after histogram equalisation inside the brain.

    Source: Meissen et al., "Challenging current semi-supervised anomaly segmentation methods for brain MRI", 2021.
    Their FLAIR lesions are bright; strokes and multiple sclerosis on T1 are dark. As there, the smallest components go.
    """

    name, title = "intensity", "Dark (T1w) or bright voxels"
    thresholds = np.linspace(0, 1, 501)
    smallest_voxels = 20

    def identity(self) -> Mapping[str, Any]:
        return {}

    def detect(self, case: LoadedCase) -> Detection:
        """Scored by the share of the brain's voxels that are less dark (or less bright), ties counting half."""
        values = case.reference.array[case.brain]
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        below = (np.cumsum(counts) - counts / 2) / len(values)
        rank = below[inverse.reshape(-1)]
        return Detection(score=_on_brain(1 - rank if is_dark(case) else rank, case))


class RobustZScore(Detector):
    """Distance of each voxel from the median of its own brain, dark on T1w, bright elsewhere; no training.

    In robust standard deviations: 1.4826 medians of the absolute deviation, as of a normal distribution.
    """

    name, title = "robust_z_score", "Robust z-score of the volume"
    thresholds = np.linspace(0, 12, 601)

    def identity(self) -> Mapping[str, Any]:
        return {}

    def detect(self, case: LoadedCase) -> Detection:
        values = case.reference.array[case.brain].astype(np.float64)
        away = (values - np.median(values)) / max(float(median_abs_deviation(values, scale="normal")), 1e-9)
        return Detection(score=_on_brain(np.maximum(-away if is_dark(case) else away, 0), case))


def is_dark(case: LoadedCase) -> bool:
    """Whether lesions are dark: strokes and multiple sclerosis are on T1w, on other contrasts they are bright."""
    return contrast_of(tuple(case.images)) == COHORT_CHANNEL


def _on_brain(values: NDArray[np.float64], case: LoadedCase) -> FloatVolume:
    score = np.zeros(case.brain.shape, dtype=np.float32)
    score[case.brain] = values
    return score


class ZScore(Detector):
    """Distance of each voxel from the mean of healthy brains, in their standard deviations, after an affine fit."""

    name, title = "z_score", "Z-score against the mean healthy brain"
    thresholds = np.linspace(0, 12, 601)

    def __init__(self, healthy: MeanBrain) -> None:
        self.healthy = healthy

    def accepts(self, channels: Sequence[str]) -> bool:
        return contrast_of(channels) == COHORT_CHANNEL

    def identity(self) -> Mapping[str, Any]:
        return {"mean_brain": self.healthy.digest}

    def detect(self, case: LoadedCase) -> Detection:
        """Scored by |z|."""
        return Detection(score=np.abs(z_score(case.reference, case.brain, self.healthy)))
