"""How MMCCD learns: to give one channel of a healthy slice from another and back, and to do so by masked diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.result import Layer
from IterMask3DLib.methods.base import (
    Batch,
    Calibration,
    Example,
    Healthy,
    Networks,
    Report,
    Stage,
    TrainingTask,
    pictured,
)
from IterMask3DLib.methods.mmccd.bands import bands_of, pixels
from IterMask3DLib.methods.mmccd.diffusion import TRAINED_STEPS, Schedule, noised
from IterMask3DLib.methods.mmccd.network import BACKWARD, DIFFUSION, FORWARD, untrained
from IterMask3DLib.methods.mmccd.settings import PUBLISHED_BAND_MM, PUBLISHED_BAND_STEP_MM, MMCCDTrainingSettings
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.runner import Runtime

CYCLE = "cycle"
"""The stage of the two translators."""


class TranslationTask(TrainingTask):
    """First the translators there and back, each from real pairs; then the diffusion, which knows nothing of them."""

    stages = (Stage(CYCLE), Stage(DIFFUSION))

    def __init__(self, card: ModelCard, settings: MMCCDTrainingSettings) -> None:
        """Raises `UserError` for a card that makes no model."""
        if len(card.inputs) != 2:
            needs = "MMCCD learns from two modalities, that of its runs and what it is translated to"
            raise UserError(f"{needs}, not from {card.modality}; change --modality.")
        self.settings = settings
        self._schedule = Schedule.of(TRAINED_STEPS)

    def inputs(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        return channels if self.settings.both_channels else channels[:1]

    def networks(self, stage: str, earlier: Networks) -> Networks:
        parts = (FORWARD, BACKWARD) if stage == CYCLE else (DIFFUSION,)
        return {part: untrained(part, self.settings.width, self.settings.dropout) for part in parts}

    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        """Both channels of a slice.

        `given`, `target`: float32 [1, x, y]. For the diffusion also `condition`, what is given with a band of noise;
        `noisy`, the target with the noise of a time; `time`: float32, a scalar.
        """
        given, target = healthy.channels[:1], healthy.channels[1:]
        if stage == CYCLE:
            return {"given": given, "target": target}
        spacing, shape = healthy.spacing[0], healthy.brain.shape
        width, step = pixels(self.settings.band_mm, spacing), pixels(PUBLISHED_BAND_STEP_MM, spacing)
        bands = bands_of((shape[0], shape[1]), width, step)
        place = bands[int(rng.integers(len(bands)))].place
        time = int(rng.integers(TRAINED_STEPS))
        noise, behind = rng.standard_normal((2, *given.shape), dtype=np.float32)
        condition = given.copy()
        condition[0][place] = behind[0][place]
        noisy = noised(torch.from_numpy(target), torch.from_numpy(noise), float(self._schedule.kept[time])).numpy()
        return {"given": given, "target": target, "condition": condition, "noisy": noisy, "time": np.float32(time)}

    def loss(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        given, target = batch["given"], batch["target"]
        if stage == CYCLE:
            return _error(networks[FORWARD](given), target) + _error(networks[BACKWARD](target), given)
        return _error(denoised(networks[DIFFUSION], batch), target)

    def pictures(self, stage: str, networks: Networks, batch: Batch) -> Mapping[str, Layer]:
        target = batch["target"]
        if stage == CYCLE:
            there, back = networks[FORWARD](batch["given"]).float(), networks[BACKWARD](target).float()
            shown = {"given": batch["given"], "target": target, "there": there, "back": back}
        else:
            there = denoised(networks[DIFFUSION], batch).float()
            shown = {"condition": batch["condition"], "noisy": batch["noisy"], "target": target, "there": there}
        return pictured(shown, {"error": (there - target).square()})

    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        config = {"width": self.settings.width, "dropout": self.settings.dropout}
        return dict.fromkeys((FORWARD, BACKWARD, DIFFUSION), config)

    def finish(self, model: Model, validation: Sequence[Healthy], runtime: Runtime, report: Report) -> Calibration:
        """The width of the bands, where a run would not take it from itself."""
        width = self.settings.band_mm
        return Calibration({} if width == PUBLISHED_BAND_MM else {"band_mm": width})


def denoised(network: nn.Module, batch: Batch) -> Tensor:
    """What the diffusion's network takes the target for: float [b, 1, x, y]."""
    output: Tensor = network(torch.cat((batch["noisy"], batch["condition"]), dim=1), batch["time"])
    return output


def _error(output: Tensor, wanted: Tensor) -> Tensor:
    return (output.float() - wanted).square().mean()
