"""What every method has to beat: thresholds on intensity, and on a z-score against a mean healthy brain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from IterMask3DLib.evaluation.cases import LoadedCase
from IterMask3DLib.evaluation.detectors import Detection, Detector
from IterMask3DLib.evaluation.mean_brain import MeanBrain, z_score


class Intensity(Detector):
    """Dark or bright voxels after histogram equalisation inside the brain.

    Source: Meissen et al., "Challenging current semi-supervised anomaly segmentation methods for brain MRI", 2021.
    Their FLAIR lesions are bright; strokes and multiple sclerosis on T1 are dark. As there, the smallest components go.

    Args:
        side: dark or bright.
    """

    thresholds = np.linspace(0, 1, 501)
    smallest_voxels = 20

    def __init__(self, side: str) -> None:
        self.side, self.name = side, f"intensity_{side}"
        self.title = f"{side.capitalize()} voxels (histogram-equalised)"

    def identity(self) -> Mapping[str, Any]:
        return {"side": self.side}

    def detect(self, case: LoadedCase) -> Detection:
        """Scored by the share of the brain's voxels that are less dark (or less bright), ties counting half."""
        values = case.reference.array[case.brain]
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        below = (np.cumsum(counts) - counts / 2) / len(values)
        rank = below[inverse.reshape(-1)]
        score = np.zeros(case.brain.shape, dtype=np.float32)
        score[case.brain] = 1 - rank if self.side == "dark" else rank
        return Detection(score=score)


class ZScore(Detector):
    """Distance of each voxel from the mean of healthy brains, in their standard deviations, after an affine fit."""

    name, title = "z_score", "Z-score against the mean healthy brain"
    thresholds = np.linspace(0, 12, 601)

    def __init__(self, healthy: MeanBrain) -> None:
        self.healthy = healthy

    def identity(self) -> Mapping[str, Any]:
        return {"mean_brain": self.healthy.digest}

    def detect(self, case: LoadedCase) -> Detection:
        """Scored by |z|."""
        return Detection(score=np.abs(z_score(case.reference, case.brain, self.healthy)))
