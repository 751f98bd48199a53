"""The numbers of IterMask3D: of a run, and of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import setting

PUBLISHED_CUTOFF = 15.0 / 192.0
"""Cycles per mm: radius 15 bins on the published grid of 192 voxels of 1 mm."""

PUBLISHED_WIDTHS = (16, 32, 64, 128, 256)
"""Output channels of the five encoder stages as published."""

PUBLISHED_SHAPE = (192, 192, 192)
"""Voxels of the published grid."""

_FAST_PERCENTS = (1, 10, 20, 30, 40, 50, 60, 70, 75, 80, 84, 88, 91, 94, 96, 98, 99, 100)


@dataclass(frozen=True)
class Settings:
    """The numbers of a run. `visited`: the points of the sweep that a pass is spent on; None: all, as published."""

    gamma: float = setting(
        "number",
        0.05,
        "Gamma",
        "slope of the threshold curve at the chosen point",
        unit="error per pass",
        least=1e-9,
        most=1e6,
        published=0.05,
        advanced=False,
    )
    start: str = setting(
        "choice",
        "brain",
        "Start mask",
        "mask the shrink phase begins with: the whole brain, or that of the chosen point",
        choices=("brain", "best"),
    )
    sweep_passes: int = setting("whole", 100, "Sweep passes", "points of the threshold curve", least=1, most=1000)
    stop_ratio: float = setting(
        "number", 0.01, "Stop ratio", "shrinking ends when a pass unmasks less than this share", least=1e-6, most=1
    )
    max_shrink: int = setting(
        "whole", 100, "Most shrink passes", "shrinking ends at the latest after", least=1, most=1000
    )
    y_limit: float = setting(
        "number", 10.0, "Limit of the fit", "points from the first above it on are left out", least=1e-9
    )
    r_squared_limit: float = setting(
        "number", 0.85, "Least R²", "a fit below it is replaced by smoothed differences", least=-1e6, most=1
    )
    high_frequency_cutoff: float = setting(
        "number", PUBLISHED_CUTOFF, "Cutoff of the high frequencies", unit="cycles per mm", least=1e-6, most=10
    )
    smoothing_mm: float = setting(
        "number",
        0.0,
        "Smoothing",
        "residuals are averaged over this before they are squared",
        unit="mm",
        least=0,
        most=50,
        published=0.0,
    )
    normative_error: bool = setting(
        "truth",
        False,
        "Normative error",
        "errors are divided by those of healthy brains at the same place",
        published=False,
    )
    median_multiple: float | None = setting(
        "number",
        None,
        "Multiple of the median",
        "threshold in medians of the first pass's error, instead of by gamma",
        least=1e-6,
        most=1e6,
        optional=True,
        published=None,
    )
    region_growing: float | None = setting(
        "number",
        None,
        "Region growing",
        "what stays masked is grown to the regions above this many thresholds in the first shrink pass",
        least=1e-6,
        most=1e6,
        optional=True,
        published=None,
    )
    visited: tuple[int, ...] | None = None

    def resolved(self, request: Request) -> Settings:
        """What follows from other choices: who asks for a gamma wants the curve to choose; fast visits few points."""
        by_gamma = "gamma" in request.settings and "median_multiple" not in request.settings
        median_multiple = None if by_gamma else self.median_multiple
        fast = request.quality == "fast" or (request.quality == "auto" and median_multiple is not None)
        return replace(self, median_multiple=median_multiple, visited=fast_points(self.sweep_passes) if fast else None)

    @property
    def expected_sweep(self) -> int:
        """How many forward passes the sweep takes."""
        return len(self.visited) if self.visited else self.sweep_passes


def fast_points(passes: int) -> tuple[int, ...]:
    """The points of a sweep that tell the whole curve, closer together where it bends."""
    return tuple(sorted({1, *(-(-percent * passes // 100) for percent in _FAST_PERCENTS)}))


@dataclass(frozen=True)
class TrainingSettings:
    """The choices of a training that are IterMask3D's own."""

    widths: tuple[int, ...] = setting(
        "wholes",
        (8, 16, 32, 64, 128),
        "Widths",
        "channels of the five stages",
        length=5,
        most=2048,
        published=PUBLISHED_WIDTHS,
    )
    dropout: float = setting(
        "number", 0.0, "Dropout", "share of activations dropped", least=0, most=0.99, published=0.2
    )
    full_brain_share: float = setting(
        "number", 0.2, "Whole-brain masks", "probability of hiding the whole brain", least=0, most=1, published=0.0
    )
    scattered_share: float = setting(
        "number", 0.0, "Scattered masks", "probability of a mask of scattered voxels", least=0, most=1, published=0.0
    )
    loss_region: str = setting(
        "choice",
        "volume",
        "Loss region",
        "where the squared error counts",
        choices=("volume", "brain", "mask"),
        published="volume",
    )

    def check(self, where: str) -> None:
        """Raises `UserError` for choices that do not go together."""
        if self.full_brain_share + self.scattered_share > 1:
            raise UserError(f"{where}: full_brain_share and scattered_share add up to more than 1.")
        # A residual unit adds its input, two channels at first, to the first channels of its output.
        if any(narrow > wide for narrow, wide in pairwise((2, *self.widths))):
            raise UserError(
                f"{where}: widths is {list(self.widths)}; it must start at 2 or more and never get smaller."
            )


@dataclass(frozen=True)
class CalibrationSettings:
    """The choices of a calibration: how errors are scored, and how much of a healthy brain may be found anomalous."""

    smoothing_mm: float = setting(
        "number", 2.0, "Smoothing", "standard deviation of the Gaussian over residuals", unit="mm", least=0, most=50
    )
    region_growing: float | None = setting(
        "number",
        1.5,
        "Region growing",
        "regions above this many thresholds at first are found whole; none: not",
        least=0,
        most=1000,
        optional=True,
        former="regrow",
    )
    limit: float = setting(
        "number", 0.0005, "Limit", "mean share of a healthy brain that may be found anomalous", least=0, most=1
    )
