"""What the worker tells the main thread. Arrays are already in VTK's order [k, j, i] and in their final type, so that writing them is a copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.image import Affine
from IterMask3DLib.scene.records import BatchCase, CurveInfo, LesionRow


@dataclass(frozen=True)
class PhaseMessage:
    """What is being done now."""

    phase: str
    text: str


@dataclass(frozen=True)
class GridMessage:
    """The model grid of a run. `passes`: of the sweep, about; `brainMl`: on the model grid."""

    affine: Affine
    passes: int
    brainMl: float


@dataclass(frozen=True)
class StepMessage:
    """One pass. `mask`: uint8; `error`, `reconstruction`: None where this pass is left out to spare memory; `elapsed`: seconds without pauses."""

    phase: str
    threshold: float
    fraction: float
    seconds: float
    ratio: float | None
    elapsed: float
    mask: NDArray[np.uint8]
    error: NDArray[np.float32] | None = None
    reconstruction: NDArray[Any] | None = None


@dataclass(frozen=True)
class CurveMessage:
    """The threshold curve with its chosen point."""

    curve: CurveInfo


@dataclass(frozen=True)
class OutcomeMessage:
    """What was found, on the grid of the input. `peak`: largest error; `record`: the rest of the outcome, JSON-able."""

    affine: Affine
    anomaly: NDArray[np.uint8]
    heatmap: NDArray[np.float32]
    reconstruction: NDArray[Any]
    brain: NDArray[np.uint8]
    peak: float
    lesions: tuple[LesionRow, ...]
    record: Mapping[str, Any]
    provenance: Mapping[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class CaseMessage:
    """A case of a batch went on. `done`, `total`: cases; `share`: of the present case that is done, 0 to 1."""

    case: BatchCase
    done: int
    total: int
    share: float = 0.0


@dataclass(frozen=True)
class EndMessage:
    """The job ended, by itself or because it was cancelled."""

    cancelled: bool
    seconds: float


@dataclass(frozen=True)
class FailMessage:
    """The job failed. `trace`: empty where the sentence says all there is to know."""

    sentence: str
    trace: str


Message = PhaseMessage | GridMessage | StepMessage | CurveMessage | OutcomeMessage | CaseMessage | EndMessage | FailMessage
