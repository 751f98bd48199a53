"""What a user may choose, in one record, and the ways to go on from a run that was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from IterMask3DLib.core.image import PackedMask
from IterMask3DLib.core.settings import about, checked, setting

DEVICES = ("auto", "cuda", "mps", "cpu")
PRECISIONS = ("auto", "half", "single")
BACKENDS = ("auto", "pytorch", "openvino")
QUALITIES = ("auto", "fast", "full", "published")
STRIPPINGS = ("auto", "hd-bet", "synthstrip", "deepbet", "built-in")


@dataclass(frozen=True)
class Request:
    """The choices of a run. `settings`: those of the model's method that differ from the model card, by name."""

    model: str | None = setting("text", None, "Model", "name or folder (default: the bundled one)", optional=True)
    device: str = setting("choice", "auto", "Device", "where the network runs", choices=DEVICES)
    precision: str = setting("choice", "auto", "Precision", "of the network; auto: half on CUDA", choices=PRECISIONS)
    backend: str = setting("choice", "auto", "Backend", "what executes the network on the CPU", choices=BACKENDS)
    quality: str = setting(
        "choice",
        "auto",
        "Quality",
        "fast: the passes that decide; full: every pass; published: every pass, and nothing that goes beyond the "
        "paper; auto: fast where the result is the same, else full",
        choices=QUALITIES,
    )
    skull_stripping: str = setting(
        "choice",
        "auto",
        "Skull stripping",
        "of a volume with a skull and without a brain mask; auto: the first of these that is installed",
        choices=STRIPPINGS,
    )
    seed: int = setting("whole", 0, "Seed", "of the noise", least=0, most=2**31 - 1)
    save_iterations: bool = setting("truth", False, "Save iterations", "also write the mask of every iteration")
    dicom_seg: bool = setting(
        "truth", False, "DICOM SEG", "also write the anomaly as a DICOM segmentation of the series (DICOM input)"
    )
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, where: str = "request") -> Request:
        """The request itself, once every choice was found to be a possible one. Raises `UserError`."""
        for name, (_, one) in about(self).items():
            checked(name, getattr(self, name), one, where)
        return self


@dataclass(frozen=True)
class ByGamma:
    """The threshold is the first point of the curve that is steeper than gamma; None: as the model says."""

    gamma: float | None = None


@dataclass(frozen=True)
class ByPoint:
    """The threshold is that of one point of the curve, counted from 0."""

    point: int


@dataclass(frozen=True)
class FromMask:
    """The loop goes on from a mask that a person drew, on the model grid.

    Attributes:
        mask: what is hidden from the network first.
        choice: how the threshold is chosen.
        passes_before: shrink passes that were made before, which decides the noise of the next one.
    """

    mask: PackedMask
    choice: ByGamma | ByPoint
    passes_before: int


@dataclass(frozen=True)
class BySettings:
    """The result again, from what the run has found, as the settings are now."""


Edit = ByGamma | ByPoint | FromMask | BySettings
