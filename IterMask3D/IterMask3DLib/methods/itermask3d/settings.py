"""The numbers of IterMask3D: of a run, and of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import like, setting
from IterMask3DLib.methods.shared_settings import dropout

PUBLISHED_CUTOFF = 15.0 / 192.0
"""Cycles per mm: radius 15 bins on the published grid of 192 voxels of 1 mm."""

PUBLISHED_WIDTHS = (16, 32, 64, 128, 256)
"""Output channels of the five encoder stages as published."""

PUBLISHED_SHAPE = (192, 192, 192)
"""Voxels of the published grid."""

ITERATIVE, WHOLE_BRAIN = "iterative", "whole_brain"

SENSITIVITIES = (-2, -1, 0, 1, 2)

_iterative = partial(setting, when=("inference", ITERATIVE))
_scored = partial(setting, when=("inference", WHOLE_BRAIN))
_FAST_PERCENTS = (1, 10, 20, 30, 40, 50, 60, 70, 75, 80, 84, 88, 91, 94, 96, 98, 99, 100)
_DRAWN_PERCENTS = (1, 50, 90, 99, 100)
"""Where the curve is drawn and decides nothing."""


@dataclass(frozen=True)
class Settings:
    """The numbers of a run. `visited`: the points of the sweep that a pass is spent on; None: all, as published."""

    inference: str = setting(
        "choice",
        ITERATIVE,
        "Inference",
        "iterative: a mask that shrinks, as in the paper; whole_brain: a few passes that hide the whole brain, and a "
        "score of what they cannot explain",
        choices=(ITERATIVE, WHOLE_BRAIN),
        published=ITERATIVE,
    )
    sensitivity: int = _scored(
        "whole",
        0,
        "Sensitivity",
        "-2: most specific, 2: most sensitive; the rates in healthy brains are on the model card",
        least=-2,
        most=2,
        advanced=False,
    )
    gamma: float = _iterative(
        "number",
        0.05,
        "Gamma",
        "slope of the threshold curve at the chosen point",
        unit="error per pass",
        least=1e-9,
        most=1e6,
        published=0.05,
    )
    start: str = _iterative(
        "choice",
        "brain",
        "Start mask",
        "mask the shrink phase begins with: the whole brain, or that of the chosen point",
        choices=("brain", "best"),
    )
    sweep_passes: int = _iterative("whole", 100, "Sweep passes", "points of the threshold curve", least=1, most=1000)
    stop_ratio: float = _iterative(
        "number", 0.01, "Stop ratio", "shrinking ends when a pass unmasks less than this share", least=1e-6, most=1
    )
    max_shrink: int = _iterative(
        "whole", 100, "Most shrink passes", "shrinking ends at the latest after", least=1, most=1000
    )
    y_limit: float = _iterative(
        "number", 10.0, "Limit of the fit", "points from the first above it on are left out", least=1e-9
    )
    r_squared_limit: float = _iterative(
        "number", 0.85, "Least R²", "a fit below it is replaced by smoothed differences", least=-1e6, most=1
    )
    high_frequency_cutoff: float = setting(
        "number", PUBLISHED_CUTOFF, "Cutoff of the high frequencies", unit="cycles per mm", least=1e-6, most=10
    )
    smoothing_mm: float = _iterative(
        "number",
        0.0,
        "Smoothing",
        "residuals are averaged over this before they are squared",
        unit="mm",
        least=0,
        most=50,
        published=0.0,
    )
    normative_error: bool = _iterative(
        "truth",
        False,
        "Normative error",
        "errors are divided by those of healthy brains at the same place",
        published=False,
    )
    median_multiple: float | None = _iterative(
        "number",
        None,
        "Multiple of the median",
        "threshold in medians of the first pass's error, instead of by gamma",
        least=1e-6,
        most=1e6,
        optional=True,
        published=None,
    )
    region_growing: float | None = _iterative(
        "number",
        None,
        "Region growing",
        "what stays masked is grown to the regions above this many thresholds in the first shrink pass",
        least=1e-6,
        most=1e6,
        optional=True,
        published=None,
    )
    input_clip: float = setting(
        "number",
        3.0,
        "Input clipped at",
        "of what the network is shown",
        unit="standard deviations",
        least=0.5,
        most=10,
    )
    noises: int = _scored("whole", 2, "Noises", "noises that hide the brain, one after another", least=1, most=50)
    flips: bool = _scored("truth", True, "Flips", "each noise is also shown mirrored left to right")
    side: str = _scored("choice", "dark", "Side", "what counts: too dark or too bright", choices=("dark", "bright"))
    gain_order: int = _scored("whole", 1, "Order of the gain", "degree of its polynomial of place", least=0, most=4)
    offset_order: int = _scored("whole", 2, "Order of the offset", "degree of its polynomial of place", least=0, most=5)
    tukey: float = _scored(
        "number",
        2.5,
        "Tukey's limit",
        "voxels further from the fit have no say in it",
        unit="robust standard deviations",
        least=0.5,
        most=100,
    )
    scales_mm: tuple[float, ...] = _scored(
        "numbers",
        (1.0, 2.0, 4.0),
        "Scales",
        "standard deviations of the Gaussians that average the residual",
        unit="mm",
        least=0.1,
        most=50,
    )
    other_side: bool = _scored(
        "truth", True, "Other hemisphere", "what stands out there at the mirrored place is subtracted"
    )
    other_side_limit: float | None = _scored(
        "number",
        None,
        "Limit of the other hemisphere",
        "of what is subtracted, robust standard deviations; without one lesions on both sides take each other away",
        least=0,
        most=1e6,
        optional=True,
    )
    normative_score: bool = _scored(
        "truth", False, "Normative score", "scores are standardised by those of healthy brains there"
    )
    mean_brain_weight: float = _scored(
        "number",
        0.0,
        "Weight of the mean brain",
        "share that the distance from the mean of healthy brains has in the score",
        least=0,
        most=1,
    )
    intensity_weight: float = _scored(
        "number", 0.0, "Weight of the intensity", "share that the brightness itself has in the score", least=0, most=1
    )
    thresholds: tuple[float, ...] | None = _scored(
        "numbers",
        None,
        "Thresholds",
        "on the score, of sensitivity -2 to 2",
        least=0,
        most=1e6,
        length=len(SENSITIVITIES),
        optional=True,
    )
    healthy_shares: tuple[float, ...] | None = _scored(
        "numbers",
        None,
        "Healthy shares",
        "share of a healthy brain that is outlined with each of them, as measured",
        least=0,
        most=1,
        length=len(SENSITIVITIES),
        optional=True,
    )
    hysteresis: float = _scored(
        "number", 0.5, "Hysteresis", "regions reach down to this share of the threshold", least=0, most=1
    )
    peak_share: float = _scored(
        "number",
        0.0,
        "Share of the peak",
        "regions of up to 1250 voxels reach down to this share of their highest score",
        least=0,
        most=1,
    )
    smallest_voxels: int = _scored("whole", 3, "Smallest region", "in voxels of the model's grid", least=1, most=10**6)
    known_errors: tuple[float, ...] | None = _scored(
        "numbers",
        None,
        "Known errors",
        "lowest and highest error of the first pass among the brains the model was calibrated on",
        least=0,
        most=1e6,
        length=2,
        optional=True,
    )
    visited: tuple[int, ...] | None = None

    def resolved(self, request: Request) -> Settings:
        """What follows from other choices: who asks for a gamma wants the curve to choose; fast visits few points."""
        by_gamma = "gamma" in request.settings and "median_multiple" not in request.settings
        median_multiple = None if by_gamma else self.median_multiple
        fast = request.quality == "fast" or (request.quality == "auto" and median_multiple is not None)
        visited = fast_points(self.sweep_passes, decides=median_multiple is None) if fast else None
        return replace(self, median_multiple=median_multiple, visited=visited)


def fast_points(passes: int, decides: bool = True) -> tuple[int, ...]:
    """The points of a sweep that tell the whole curve, closer together where it bends.

    `decides`: whether a threshold is chosen on the curve; else fewer points draw it.
    """
    percents = _FAST_PERCENTS if decides else _DRAWN_PERCENTS
    return tuple(sorted({1, *(-(-percent * passes // 100) for percent in percents)}))


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
    dropout: float = dropout(0.0, published=0.2)
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
    anomaly_weight: float = setting(
        "number",
        0.0,
        "Anomaly weight",
        "how much more the error counts in synthetic anomalies",
        least=0,
        most=1e3,
        published=0.0,
    )
    choose_gamma: bool = setting(
        "truth", True, "Choose gamma", "on the validation volumes when training is done, instead of the published one"
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
class ConversionSettings:
    """What is said of a published checkpoint beside its inputs and grid."""

    gamma: float = like(Settings, "gamma", when=None)


@dataclass(frozen=True)
class CalibrationSettings:
    """The choices of a calibration: how errors are scored, and how much of a healthy brain may be found anomalous."""

    inference: str = like(Settings, "inference", help="that the numbers are for, see `segment`")
    smoothing_mm: float = like(Settings, "smoothing_mm", default=2.0)
    region_growing: float | None = like(
        Settings,
        "region_growing",
        default=1.5,
        help="regions above this many thresholds at first are found whole; none: not",
        least=0,
        most=1000,
        former="regrow",
    )
    limit: float = _iterative(
        "number", 0.0005, "Limit", "mean share of a healthy brain that may be found anomalous", least=0, most=1
    )
    noises: int = like(Settings, "noises")
    side: str = like(Settings, "side")
    scales_mm: tuple[float, ...] = like(Settings, "scales_mm")
    other_side: bool = like(Settings, "other_side")
    other_side_limit: float | None = like(Settings, "other_side_limit")
    mean_brain_weight: float = like(Settings, "mean_brain_weight")
    intensity_weight: float = like(Settings, "intensity_weight")
    hysteresis: float = like(Settings, "hysteresis")
    peak_share: float = like(Settings, "peak_share")
    healthy_shares: tuple[float, ...] = like(
        Settings,
        "healthy_shares",
        default=(0.0002, 0.0005, 0.002, 0.005, 0.01),
        help="mean share of a healthy brain that may be outlined with sensitivity -2 to 2",
        optional=False,
    )
