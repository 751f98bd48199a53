"""How IterMask2 learns: a slice from its high frequencies alone, and a slice behind a random mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from IterMask3DLib.methods.itermask2.calibration import calibrate
from IterMask3DLib.methods.itermask2.masks import sample_slice_mask
from IterMask3DLib.methods.itermask2.network import FIRST, MASKED, network
from IterMask3DLib.methods.itermask2.settings import PUBLISHED_CUTOFF, IterMask2TrainingSettings
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.runner import Runtime


class IterMask2Task(TrainingTask):
    """Two stages that do not depend on each other; both learn the whole slice."""

    stages = (Stage(FIRST, ("high_frequency",)), Stage(MASKED, ("masked",)))

    def __init__(self, card: ModelCard, settings: IterMask2TrainingSettings) -> None:
        """Raises `UserError` for a card that makes no model."""
        if len(card.inputs) != 1:
            raise UserError(f"IterMask2 learns from one modality, not from {card.modality}; change --modality.")
        self.settings = settings

    def networks(self, stage: str, earlier: Networks) -> Networks:
        return {stage: network(stage, self.settings.width, self.settings.dropout)}

    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        """`given`: float32 [1 or 2, x, y]; `target`: float32 [1, x, y]; of the second stage `mask`; `brain`."""
        values, brain = healthy.channels[0], healthy.brain
        details = high_frequency(values, healthy.spacing, PUBLISHED_CUTOFF)
        known = {"target": values[None], "brain": brain[None]}
        if stage == FIRST:
            return {**known, "given": details[None]}
        mask = sample_slice_mask(brain, healthy.spacing[0], rng)
        noise = rng.standard_normal(values.shape, dtype=np.float32)
        return {**known, "given": np.stack((np.where(mask, noise, values), details)), "mask": mask[None]}

    def loss(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        """Mean squared error over all pixels, as published."""
        return (networks[stage](batch["given"]).float() - batch["target"]).square().mean()

    def validation_error(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        """Mean squared error in the brain, of the second stage behind the mask."""
        squared = (networks[stage](batch["given"]).float() - batch["target"]).square()
        return squared[batch["brain" if stage == FIRST else "mask"]].mean()

    def pictures(self, stage: str, networks: Networks, batch: Batch) -> Mapping[str, Layer]:
        output = networks[stage](batch["given"]).float()
        error = torch.where(batch["brain"], (output - batch["target"]).square(), 0)
        shown = {"given": batch["given"], "reconstructed": output, "target": batch["target"]}
        return pictured(shown, {"error": error})

    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        config = {"width": self.settings.width, "dropout": self.settings.dropout}
        return {FIRST: config, MASKED: config}

    def finish(self, model: Model, validation: Sequence[Healthy], runtime: Runtime, report: Report) -> Calibration:
        """The threshold, from the validation volumes."""
        if not len(validation):
            report("no validation volumes: the model has no threshold until itermask3d calibrate is run")
            return Calibration()
        return calibrate(model, (), validation, self.settings, runtime, report)
