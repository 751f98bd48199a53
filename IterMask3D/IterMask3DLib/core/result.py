"""What a method yields and returns, and what is known when a case is done."""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.artifacts import Artifact
from IterMask3DLib.core.image import BoolVolume, Case, PackedMask

ANOMALY, HEATMAP, RECONSTRUCTION = "anomaly", "heatmap", "reconstruction"
"""Names that the layers of a result have where a method has them."""

MASK, ERROR_MAP = "mask", "error_map"
"""Names of a step's layers beside its reconstruction."""


class LayerKind(enum.Enum):
    """What the voxels of a layer are: it decides how it is brought to another grid, written and shown."""

    MASK = "mask"
    SCORE = "score"
    INTENSITY = "intensity"


@dataclass(frozen=True)
class Layer:
    """A volume with a kind.

    Attributes:
        kind: mask (0 and 1), score (larger is more anomalous, 0 outside the brain) or intensity (of the images).
        values: the voxels, packed bits, or a function that gives the voxels while they are there.
        unit: what one unit of a score is, in words.
    """

    kind: LayerKind
    values: NDArray[Any] | PackedMask | Callable[[], NDArray[Any]] = field(repr=False, compare=False)
    unit: str = ""

    def read(self) -> NDArray[Any]:
        """The voxels [x, y, z]: bool for a mask, else float32. Raises `RuntimeError` where they are gone."""
        if isinstance(self.values, PackedMask):
            return self.values.unpack()
        return self.values() if callable(self.values) else self.values

    @classmethod
    def mask(cls, values: BoolVolume | PackedMask) -> Layer:
        return cls(LayerKind.MASK, values if isinstance(values, PackedMask) else PackedMask.of(values))

    @classmethod
    def score(cls, values: NDArray[Any] | Callable[[], NDArray[Any]], unit: str = "") -> Layer:
        return cls(LayerKind.SCORE, values, unit)

    @classmethod
    def intensity(cls, values: NDArray[Any] | Callable[[], NDArray[Any]]) -> Layer:
        return cls(LayerKind.INTENSITY, values)


@dataclass(frozen=True)
class Step:
    """One forward pass, or several that are looked at together, on the model grid.

    Attributes:
        number: 1, 2, … over the whole run.
        expected_total: how many passes the run will take, as far as is known.
        phase: the part of the method this pass belongs to.
        seconds: of this step.
        scalars: its numbers, by name.
        layers: its volumes [x, y, z]. Those that are functions give theirs until the next step is asked for.
        stop: the result if the run ended here; None where there is none yet.
    """

    number: int
    expected_total: int
    phase: str
    seconds: float
    scalars: Mapping[str, float] = field(default_factory=dict)
    layers: Mapping[str, Layer] = field(default_factory=dict)
    stop: Callable[[], Result] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Result:
    """What a method found, on the model grid.

    Attributes:
        layers: volumes [x, y, z], by name.
        case_score: how anomalous the whole case is; slice_scores: likewise each slice along z.
        scalars: other numbers, by name.
        artifacts: findings of other kinds.
        state: what the method needs to go on from here.
        warnings: sentences for the user.
    """

    layers: Mapping[str, Layer]
    case_score: float | None = None
    slice_scores: tuple[float, ...] | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    state: Any = field(default=None, repr=False, compare=False)
    warnings: tuple[str, ...] = ()


Steps = Generator[Step, None, Result]
"""A method at work: a step a pass, then its result."""


@dataclass(frozen=True, kw_only=True)
class CaseResult(Result):
    """The result of one case, on the grid of its reference: its volumes are [i, j, k].

    Attributes:
        case: the case it belongs to.
        brain: bool [i, j, k]; brain_source: where it was taken from, in words; brain_ml: its volume.
        provenance: what made it, JSON-able.
        iterations: every step, where they were asked for; of its layers the mask, if it was kept.
    """

    case: Case
    brain: BoolVolume
    brain_source: str
    brain_ml: float
    provenance: Mapping[str, Any]
    iterations: tuple[Step, ...] = ()

    def artifact(self, kind: type[Any]) -> Any:
        """The artifact of a type, or None."""
        return next((each for each in self.artifacts if isinstance(each, kind)), None)

    def array(self, name: str) -> NDArray[Any] | None:
        """The voxels of a layer, or None where there is no such layer."""
        return self.layers[name].read() if name in self.layers else None


def compact(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """Intensities in whole numbers where the input has them: in half the memory, rounded far below what can be seen."""
    whole = like.dtype.kind in "iub" and np.abs(values).max(initial=0) < np.iinfo(np.int16).max
    return np.round(values).astype(np.int16) if whole else values.astype(np.float32, copy=False)
