"""The toy's network, run and training."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.result import ANOMALY, ERROR_MAP, HEATMAP, MASK, RECONSTRUCTION, Layer, Result, Step
from IterMask3DLib.methods.base import Example, Healthy, Method, Stage, TrainingTask
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.runner import Runtime
from toy_reconstruction import ToySettings, ToyTrainingSettings


def filler(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, width, 3, padding=1), nn.ReLU(), nn.Conv3d(width, 1, 3, padding=1))


class ToyReconstruction(Method):
    def build(self, card: ModelCard) -> Mapping[str, nn.Module]:
        return {"filler": filler(int(card.networks["filler"].config["width"]))}

    def infer(
        self, case: Prepared, model: Model, settings: ToySettings, runtime: Runtime
    ) -> Generator[Step, None, Result]:
        volume, mask = case.channels[0], case.brain
        network = runtime.runner(model.networks["filler"])
        for number in range(1, settings.rounds + 1):
            begun = time.perf_counter()
            hidden = np.where(mask, np.float32(0), volume)
            filled = network(torch.from_numpy(hidden)[None, None])[0, 0].cpu().numpy()
            errors = np.square(filled - volume) * case.brain
            mask = errors > settings.cut
            layers = {ANOMALY: Layer.mask(mask), HEATMAP: Layer.score(errors), RECONSTRUCTION: Layer.intensity(filled)}
            result = Result(layers, case_score=float(errors[case.brain].mean()))
            shown = {MASK: layers[ANOMALY], ERROR_MAP: layers[HEATMAP], RECONSTRUCTION: layers[RECONSTRUCTION]}
            left = {"masked_fraction": float(mask.sum() / case.brain.sum())}
            seconds = time.perf_counter() - begun
            yield Step(number, settings.rounds, "fill", seconds, left, shown, lambda result=result: result)
        return result

    def training_task(self, card: ModelCard, settings: ToyTrainingSettings) -> TrainingTask:
        return FillingTask(settings)


class FillingTask(TrainingTask):
    stages = (Stage("filler"),)

    def __init__(self, settings: ToyTrainingSettings) -> None:
        self.settings = settings

    def networks(self, stage: str, earlier: Mapping[str, nn.Module]) -> Mapping[str, nn.Module]:
        return {"filler": filler(4)}

    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        hidden = healthy.brain & (rng.random(healthy.brain.shape) < self.settings.hidden_share)
        return {"given": np.where(hidden, np.float32(0), healthy.channels), "target": healthy.channels}

    def loss(self, stage: str, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> Tensor:
        return (networks["filler"](batch["given"]).float() - batch["target"]).square().mean()

    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        return {"filler": {"width": 4}}
