"""The lesions of a case, measured once for everything that tells of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.lesion import Lesion, find_lesions
from IterMask3DLib.core.result import ANOMALY, HEATMAP, CaseResult


@dataclass(frozen=True)
class CaseLesions:
    """Lesions, largest first, with their numbers as a label volume [i, j, k]."""

    lesions: tuple[Lesion, ...]
    labels: NDArray[np.int32]

    @property
    def total_ml(self) -> float:
        return sum(lesion.volume_ml for lesion in self.lesions)

    @classmethod
    def of(cls, result: CaseResult) -> CaseLesions:
        """Of the anomaly of a case; none where the method outlines nothing."""
        anomaly = result.array(ANOMALY)
        if anomaly is None:
            return cls((), np.zeros(result.brain.shape, dtype=np.int32))
        return cls(*find_lesions(anomaly, result.array(HEATMAP), result.case.reference.affine))
