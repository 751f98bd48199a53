"""The records that travel from a door through the engine and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatVolume = NDArray[np.float32]
BoolVolume = NDArray[np.bool_]
Affine = NDArray[np.float64]
Phase = Literal["sweep", "shrink"]


@dataclass(frozen=True)
class Volume:
    """A 3D image in physical space.

    `array`: [i, j, k], any numeric type, in the axis order of the file; `affine`: 4x4 float64, voxel index (i, j, k) to RAS mm;
    `name`: case name, without folder or extension; `source`: the path as given.
    """

    array: NDArray[Any]
    affine: Affine
    name: str
    source: str = ""

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size along i, j, k in mm."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)


@dataclass(frozen=True)
class PackedMask:
    """A boolean volume as one bit a voxel."""

    bits: NDArray[np.uint8]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, mask: BoolVolume) -> PackedMask:
        return cls(np.packbits(mask), (mask.shape[0], mask.shape[1], mask.shape[2]))

    def unpack(self) -> BoolVolume:
        """Boolean [x, y, z]."""
        return np.unpackbits(self.bits, count=int(np.prod(self.shape))).reshape(self.shape).view(np.bool_)


@dataclass(frozen=True)
class Step:
    """One network pass.

    `number`: 1, 2, … over the whole run; `threshold`: error above which a voxel stays masked; `mask`: the mask that
    threshold left, i.e. what the next pass would hide; `masked_fraction`: its share of the brain, 0 to 1; `seconds`: of this pass;
    `ratio`: share of the mask that this shrink pass lifted (None in the sweep). `reconstruction` and `error_map` give the float32 [x, y, z]
    result of this pass until the next step is asked for, and raise `RuntimeError` after that.
    """

    number: int
    phase: Phase
    threshold: float
    mask: PackedMask
    masked_fraction: float
    seconds: float
    ratio: float | None
    reconstruction: Callable[[], FloatVolume] = field(repr=False, compare=False)
    error_map: Callable[[], FloatVolume] = field(repr=False, compare=False)


def up_to_pole(fit: NDArray[np.float64]) -> NDArray[np.float64]:
    """A fitted tangent [passes] as it is to be drawn: NaN behind its pole, where it begins again from below."""
    rising = np.cumprod(np.diff(fit, prepend=fit[:1]) >= 0).astype(bool)
    return np.where(rising, fit, np.nan)


@dataclass(frozen=True)
class Curve:
    """The threshold curve of a sweep and the point chosen on it.

    `thresholds`, `fit`, `derivative`: float64 [passes], entry t-1 belongs to pass t; `fit` is a·tan(b·t), NaN where no fit was possible;
    `chosen`: index into them; `used_fit`: False where the smoothed differences replaced the fit's derivative; `median`: the error that
    half of the brain does not exceed in the first pass, which hides all of it; `fixed`: the threshold, where it is a multiple of that and no
    point of the curve (then `chosen` is the first point that reaches it).
    """

    thresholds: NDArray[np.float64]
    fit: NDArray[np.float64]
    derivative: NDArray[np.float64]
    r_squared: float
    used_fit: bool
    gamma: float
    chosen: int
    median: float = 0.0
    fixed: float | None = None

    @property
    def threshold(self) -> float:
        return float(self.thresholds[self.chosen]) if self.fixed is None else self.fixed


@dataclass(frozen=True)
class Result:
    """What a run found, on the model grid; all volumes [x, y, z].

    `heatmap`: error of the last pass inside the brain (squared, smoothed and scaled as the case and the settings say); `mask`: voxels of
    `heatmap` above the chosen threshold, so that mask, heatmap and reconstruction belong to the same pass, and regrown where the settings say
    so; `shrink`: (voxels masked, ratio lifted) after each shrink pass; `mask_size`: voxels in `mask`; `mean_error`: mean of `heatmap` over
    the brain.
    """

    mask: BoolVolume
    heatmap: FloatVolume
    reconstruction: FloatVolume
    curve: Curve
    shrink: tuple[tuple[int, float], ...]
    mask_size: int
    mean_error: float
    warnings: tuple[str, ...] = ()
