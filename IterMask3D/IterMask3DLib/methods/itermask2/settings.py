"""The numbers of IterMask2: of a run, of a training and of a calibration."""

from __future__ import annotations

from dataclasses import dataclass

from IterMask3DLib.core.settings import like, setting
from IterMask3DLib.methods.itermask3d.settings import Settings
from IterMask3DLib.methods.shared_settings import PUBLISHED_WIDTH, dropout, smallest_slice

PUBLISHED_CUTOFF = 15.0 / 240.0
"""Cycles per mm: radius 15 bins on the published slices of 240 mm."""

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
    stop_ratio: float = like(Settings, "stop_ratio", when=None)
    max_shrink: int = like(Settings, "max_shrink", when=None)
    smallest_slice: float = smallest_slice()


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


@dataclass(frozen=True)
class IterMask2TrainingSettings(IterMask2CalibrationSettings):
    """The choices of a training, which ends with a calibration, that are IterMask2's own."""

    width: int = setting(
        "whole",
        8,
        "Width",
        "channels of the finest level; the coarser ones have up to four times as many",
        least=1,
        most=512,
        published=PUBLISHED_WIDTH,
    )
    dropout: float = dropout(0.1, published=0.1)
