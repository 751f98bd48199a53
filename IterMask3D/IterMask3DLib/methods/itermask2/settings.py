"""The numbers of IterMask2: of a run, of a training and of a calibration."""

from __future__ import annotations

from dataclasses import dataclass

from IterMask3DLib.core.settings import setting

PUBLISHED_CUTOFF = 15.0 / 240.0
"""Cycles per mm: radius 15 bins on the published slices of 240 mm."""

PUBLISHED_SHAPE = (128, 128)
"""Pixels of the published slices."""

PUBLISHED_SPACING, PUBLISHED_SLICE_SPACING = 1.875, 1.0
"""Voxel size in mm within the published slices, and between them."""

PUBLISHED_WIDTH = 32
"""Channels of the finest level as published."""

PUBLISHED_EXCEEDING_SHARE = 0.2
"""Share of the masked pixels of healthy slices whose errors lie above the published threshold."""


@dataclass(frozen=True)
class IterMask2Settings:
    """The numbers of a run. `threshold`: the model's, from its validation; there is no run without one."""

    threshold: float | None = setting(
        "number",
        None,
        "Threshold",
        "error above which a pixel stays masked; from healthy validation slices",
        unit="squared scaled intensity",
        least=0,
        most=1e6,
        optional=True,
        advanced=False,
    )
    first_share: float = setting(
        "number",
        0.6,
        "First mask",
        "share of a slice's brain that the first pass leaves masked",
        least=1e-6,
        most=1,
        published=0.6,
    )
    stop_ratio: float = setting(
        "number", 0.01, "Stop ratio", "shrinking ends when a pass unmasks less than this share", least=1e-6, most=1
    )
    max_shrink: int = setting(
        "whole", 100, "Most shrink passes", "shrinking ends at the latest after", least=1, most=1000
    )
    smallest_slice: float = setting(
        "number",
        0.1,
        "Smallest slice",
        "slices with less brain than this share of the largest one are left alone",
        least=0,
        most=1,
    )


@dataclass(frozen=True)
class IterMask2TrainingSettings:
    """The choices of a training that are IterMask2's own."""

    width: int = setting(
        "whole",
        8,
        "Width",
        "channels of the finest level; the coarser ones have up to four times as many",
        least=1,
        most=512,
        published=PUBLISHED_WIDTH,
    )
    dropout: float = setting(
        "number", 0.1, "Dropout", "share of activations dropped", least=0, most=0.99, published=0.1
    )
    exceeding_share: float = setting(
        "number",
        PUBLISHED_EXCEEDING_SHARE,
        "Exceeding share",
        "share of the masked pixels of healthy slices whose errors lie above the threshold",
        least=0,
        most=1,
        published=PUBLISHED_EXCEEDING_SHARE,
    )


@dataclass(frozen=True)
class IterMask2CalibrationSettings:
    """The choice of a calibration."""

    exceeding_share: float = setting(
        "number",
        PUBLISHED_EXCEEDING_SHARE,
        "Exceeding share",
        "share of the masked pixels of healthy slices whose errors lie above the threshold",
        least=0,
        most=1,
        published=PUBLISHED_EXCEEDING_SHARE,
    )
