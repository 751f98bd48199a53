"""What a method finds beside layers and scores.

Each kind has one CSV, one figure and one place in the scene, found by its `kind`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.files import plain

FloatVector = NDArray[np.float64]


class Artifact(Protocol):
    """A named finding that can be told as JSON."""

    kind: ClassVar[str]

    def to_record(self) -> dict[str, Any]:
        """Plain JSON values; what is not finite is None."""
        ...


@dataclass(frozen=True)
class _Recorded:
    """What its fields say as JSON, and back."""

    def to_record(self) -> dict[str, Any]:
        return {each.name: plain(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Any:
        """What `to_record` gave. Raises `KeyError` or `ValueError` for anything else."""
        values = {each.name: record[each.name] for each in fields(cls)}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


@dataclass(frozen=True)
class ThresholdCurve(_Recorded):
    """The threshold curve of a sweep and the point chosen on it.

    Attributes:
        thresholds, fit, derivative: float64 [points], entry t-1 belongs to point t; `fit` is a·tan(b·t), NaN where no
            fit was possible.
        r_squared: of the fit; used_fit: False where smoothed differences replaced the derivative of the fit.
        gamma: slope above which the curve is taken to climb into the anomaly.
        chosen: index of the chosen point.
        median: error that half of the brain does not exceed in the first pass, which hides all of it.
        fixed: the threshold, where it is a multiple of the median and no point of the curve (then `chosen` is the first
            point that reaches it).
        steps: for each point the number of the step whose mask belongs to it.
        by_hand: whether a person chose the point.
    """

    kind: ClassVar[str] = "curve"

    thresholds: FloatVector
    fit: FloatVector
    derivative: FloatVector
    r_squared: float
    used_fit: bool
    gamma: float
    chosen: int
    median: float = 0.0
    fixed: float | None = None
    steps: tuple[int, ...] = ()
    by_hand: bool = False

    @property
    def threshold(self) -> float:
        return float(self.thresholds[self.chosen]) if self.fixed is None else self.fixed

    @property
    def drawn_fit(self) -> FloatVector:
        """The fit as it is to be drawn: NaN behind its pole, where it begins again from below."""
        rising = np.cumprod(np.diff(self.fit, prepend=self.fit[:1]) >= 0).astype(bool)
        return np.where(rising, self.fit, np.nan)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ThresholdCurve:
        vectors = {name: _vector(record[name]) for name in ("thresholds", "fit", "derivative")}
        r_squared = -math.inf if record["r_squared"] is None else record["r_squared"]
        curve: ThresholdCurve = super().from_record({**record, **vectors, "r_squared": r_squared})
        return curve


@dataclass(frozen=True)
class MaskHistory(_Recorded):
    """How the mask shrank.

    Attributes:
        sizes: after each shrink pass the voxels still masked, on the model grid; ratios: the share it unmasked.
    """

    kind: ClassVar[str] = "shrink"

    sizes: tuple[int, ...]
    ratios: tuple[float, ...]


@dataclass(frozen=True)
class SensitivityTable(_Recorded):
    """What each step of the sensitivity outlines.

    Attributes:
        sensitivities: the steps, from most specific to most sensitive.
        thresholds: on the heatmap, of each; healthy_shares: of a healthy brain that each outlines, as it was measured
            when the model was calibrated (empty: not known).
        volumes_ml: what each outlines in this case, on the model grid.
        chosen: the step of this result.
        extent: level of the heatmap that its regions reach down to.
    """

    kind: ClassVar[str] = "sensitivity"

    sensitivities: tuple[int, ...]
    thresholds: tuple[float, ...]
    healthy_shares: tuple[float, ...]
    volumes_ml: tuple[float, ...]
    chosen: int
    extent: float

    @property
    def threshold(self) -> float:
        return self.thresholds[self.sensitivities.index(self.chosen)]


KINDS: dict[str, Any] = {each.kind: each for each in (ThresholdCurve, MaskHistory, SensitivityTable)}
"""Every kind that can be read back, by its name."""


def artifact_from(kind: str, record: Mapping[str, Any]) -> Artifact | None:
    """An artifact from what `to_record` gave; None for a kind that is not known here."""
    found: Artifact | None = KINDS[kind].from_record(record) if kind in KINDS else None
    return found


def _vector(values: list[float | None]) -> FloatVector:
    return np.array([math.nan if v is None else v for v in values], dtype=np.float64)
