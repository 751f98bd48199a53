"""What the logic takes and gives: frozen records, without nodes and without torch."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from IterMask3DLib.scene.nodes import ResultNodes


class RunState(enum.Enum):
    """What the worker is doing."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"


class Severity(enum.Enum):
    """How much a finding matters: with an ERROR the input cannot be used."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or odd about an input, in a sentence."""

    severity: Severity
    text: str


@dataclass(frozen=True)
class RunOptions:
    """What a user may choose; None means as the card of the model, or the device, says.

    `model`: name or folder; `start`: "brain" or "best"; `device`: auto, cuda, mps or cpu; `half`: half precision; `passes`: points of the
    threshold curve; `quality`: see `pipeline.Quality`.
    """

    model: str | None = None
    gamma: float | None = None
    start: str = "brain"
    seed: int = 0
    device: str = "auto"
    half: bool | None = None
    passes: int | None = None
    quality: str = "auto"


@dataclass(frozen=True)
class Progress:
    """Where a job is. `fraction`: 0 to 1; `remaining`: seconds, None while unknown; `total` is an estimate; `text`: ready to show."""

    phase: str
    number: int
    total: int
    fraction: float
    remaining: float | None
    text: str


@dataclass(frozen=True)
class StepInfo:
    """One iteration as the scene keeps it.

    `item`: position in the sequence browser; `number`: of the network pass, 0 for a mask the user edited; `phase`: sweep, shrink or edited;
    `maskedFraction`: of the brain, 0 to 1; `ratio`: share of the mask that this pass lifted, None in the sweep.
    """

    item: int
    number: int
    phase: str
    threshold: float
    maskedMl: float
    maskedFraction: float
    seconds: float
    ratio: float | None


@dataclass(frozen=True)
class CurveInfo:
    """The threshold curve: float64 [points].

    `items`: for each point the iteration whose mask belongs to it (a fast sweep spends a pass on some points only); `automatic`: False where the
    user chose the point; `median`: error that half of the brain does not exceed in the first pass; `fixed`: the threshold, where the model makes
    it a multiple of that.
    """

    thresholds: NDArray[np.float64]
    fit: NDArray[np.float64]
    derivative: NDArray[np.float64]
    chosen: int
    gamma: float
    rSquared: float
    usedFit: bool
    items: tuple[int, ...]
    automatic: bool = True
    median: float = 0.0
    fixed: float | None = None

    @property
    def threshold(self) -> float:
        return float(self.thresholds[self.chosen]) if self.fixed is None else self.fixed


@dataclass(frozen=True)
class LesionRow:
    """One lesion; errors are those of the heatmap inside it, the centroid is in mm."""

    number: int
    volumeMl: float
    meanError: float
    peakError: float
    centroidRas: tuple[float, float, float]


@dataclass(frozen=True)
class ModelInfo:
    """A model folder as its card describes it; `origin`: bundled, installed or path; `problem`: why it cannot be used."""

    name: str
    title: str
    modality: str
    folder: Path
    origin: str
    gamma: float
    passes: int
    spacing: float
    training: str
    licence: str
    problem: str | None = None


@dataclass(frozen=True)
class RunSummary:
    """The end of a run.

    `nodes`: None where it was cancelled before its first pass; `anomalyMl`: None where it was cancelled before there was a threshold; `text`: for
    the status line.
    """

    nodes: ResultNodes | None
    cancelled: bool
    anomalyMl: float | None
    lesions: tuple[LesionRow, ...]
    warnings: tuple[str, ...]
    seconds: float
    text: str


@dataclass(frozen=True)
class BatchCase:
    """One case of a batch; `status`: waiting, running, done, skipped, failed or stopped."""

    name: str
    path: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class SaveOptions:
    """Which files `save` writes."""

    segmentation: bool = True
    nifti: bool = True
    heatmap: bool = True
    lesions: bool = True
    iterations: bool = True
    report: bool = True
    scene: bool = False
