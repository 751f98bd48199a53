"""The toy's two networks, one learned after the other, its run and its training."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.result import Result, Step
from IterMask3DLib.methods.base import Example, Healthy, Method, Stage, TrainingTask
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.runner import Runtime
from toy_case_score import ScoreSettings, ScoreTrainingSettings

NAMES = ("translator", "scale")
SMALLEST_SCALE = 0.1


def network() -> nn.Module:
    """One channel of slices from another."""
    return nn.Conv2d(1, 1, 3, padding=1)


class ToyCaseScore(Method):
    def build(self, card: ModelCard) -> Mapping[str, nn.Module]:
        if len(card.inputs) != 2 or not card.grid.is_2d:
            raise UserError(f"model {card.name}: two channels of slices are needed.")
        return {name: network() for name in NAMES}

    def infer(
        self, case: Prepared, model: Model, settings: ScoreSettings, runtime: Runtime
    ) -> Generator[Step, None, Result]:
        begun = time.perf_counter()
        given, target = (torch.from_numpy(np.moveaxis(channel, -1, 0))[:, None] for channel in case.channels)
        translated, scale = (runtime.runner(model.networks[name])(given).cpu() for name in NAMES)
        errors = ((translated - target).abs() / scale.abs().clamp_min(SMALLEST_SCALE))[:, 0].numpy() ** settings.power
        brain = np.moveaxis(case.brain, -1, 0)
        scores = tuple(float(e[b].mean()) if b.any() else 0.0 for e, b in zip(errors, brain, strict=True))
        result = Result({}, case_score=float(errors[brain].mean()), slice_scores=scores)
        yield Step(1, 1, "score", time.perf_counter() - begun, {"score": result.case_score or 0.0}, stop=lambda: result)
        return result

    def training_task(self, card: ModelCard, settings: ScoreTrainingSettings) -> TrainingTask:
        if len(card.inputs) != 2:
            raise UserError(f"Two modalities are needed, not {card.modality}; change --modality.")
        return TranslationTask(settings)


class TranslationTask(TrainingTask):
    """First the second channel from the first, then how far off that is."""

    def __init__(self, settings: ScoreTrainingSettings) -> None:
        self.stages = (Stage("translator"), Stage("scale", options={"steps": settings.scale_steps}))

    def networks(self, stage: str, earlier: Mapping[str, nn.Module]) -> Mapping[str, nn.Module]:
        return {stage: network()}

    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        given, target = healthy.channels[:1], healthy.channels[1:]
        return {"given": given, "target": target, "brain": healthy.brain[None]}

    def loss(self, stage: str, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> Tensor:
        error = (networks["translator"](batch["given"]).float() - batch["target"]).abs()
        if stage == "scale":
            error = (networks["scale"](batch["given"]).float() - error).square()
        return error[batch["brain"]].mean()

    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: {} for name in NAMES}
