"""All that is known when a case is done, on the grid of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from IterMask3DLib.core.image import BoolVolume, Curve, FloatVolume, Phase, Image


@dataclass(frozen=True)
class Iteration:
    """One pass, its mask on the grid of the input: bool [i, j, k]."""

    number: int
    phase: Phase
    threshold: float
    mask: BoolVolume


@dataclass(frozen=True)
class CaseOutcome:
    """The outcome of one case; volumes [i, j, k] on the grid of `volume`.

    `heatmap`: error of the last pass, squared in scaled intensity or as the model scores it; `reconstruction`: in the input's intensity;
    `shrink`: (voxels masked, share lifted) after each shrink pass, `mask_size` (voxels) and `mean_error` (over the brain): on the model grid;
    `provenance`: what made it, JSON-able.
    """

    case: str
    volume: Image
    brain: BoolVolume
    anomaly: BoolVolume
    heatmap: FloatVolume
    reconstruction: FloatVolume
    curve: Curve
    shrink: tuple[tuple[int, float], ...]
    mask_size: int
    mean_error: float
    warnings: tuple[str, ...]
    brain_source: str
    brain_ml: float
    provenance: Mapping[str, object]
    iterations: tuple[Iteration, ...] | None
