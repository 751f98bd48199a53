"""The numbers of the auto-encoder: of a run, and of a training."""

from __future__ import annotations

from dataclasses import dataclass

from IterMask3DLib.core.settings import setting
from IterMask3DLib.methods.shared_settings import voxel_threshold


@dataclass(frozen=True)
class AutoEncoderSettings:
    """The numbers of a run."""

    threshold: float | None = voxel_threshold()


@dataclass(frozen=True)
class AutoEncoderTrainingSettings:
    """The choices of a training that are the auto-encoder's own."""

    widths: tuple[int, ...] = setting(
        "wholes",
        (12, 24, 48, 64),
        "Widths",
        "channels at 1/2, 1/4, 1/8 and 1/16 of the grid, the last the code",
        length=4,
        most=2048,
    )
