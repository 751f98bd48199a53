"""How IterMask3D learns: a brain behind a random mask is to be reconstructed."""

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
from IterMask3DLib.methods.itermask3d.calibration import choose_gamma
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.itermask3d.masks import MaskPlan, sample_mask
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.itermask3d.settings import TrainingSettings
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.runner import Runtime

VALIDATION = {"blob": MaskPlan(), "whole_brain": MaskPlan(full_brain=1.0), "scattered": MaskPlan(scattered=1.0)}
"""Masks of the validation: the published blobs, the whole brain as a run begins, scattered voxels as it goes on."""


class ReconstructionTask(TrainingTask):
    """One stage; the mean error under blobs and whole-brain masks decides which weights are best."""

    stages = (Stage(NETWORK, tuple(VALIDATION), selected_by=("blob", "whole_brain")),)

    def __init__(self, card: ModelCard, settings: TrainingSettings) -> None:
        """Raises `UserError` for a card that makes no model."""
        if len(card.inputs) != 1 or card.grid.is_2d:
            raise UserError(
                f"IterMask3D learns from volumes of one modality, not from {card.modality}; change --modality."
            )
        self.settings = settings

    def networks(self, stage: str, earlier: Networks) -> Networks:
        return {NETWORK: UNet3D(self.settings.widths, self.settings.dropout)}

    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        """A brain with a mask behind noise; the high-frequency image is of the unmasked brain.

        Where the brain has synthetic anomalies, they are what is given and the healthy brain is the target.

        `given`: float32 [2, x, y, z]; `target`: float32 [1, x, y, z]; `region`: [1, x, y, z], how much the error of
        each voxel counts, if not all alike; of a validation also `mask` and `brain`.
        """
        brain, settings = healthy.brain, self.settings
        volume = (healthy.channels if healthy.given is None else healthy.given)[0]
        plan = MaskPlan(settings.full_brain_share, settings.scattered_share) if kind is None else VALIDATION[kind]
        mask = sample_mask(brain, healthy.spacing[0], rng, plan)
        noise = rng.standard_normal(volume.shape, dtype=np.float32)
        given = np.stack((np.where(mask, noise, volume), high_frequency(volume, healthy.spacing)))
        example: dict[str, np.ndarray[Any, Any]] = {"given": given, "target": healthy.channels[:1]}
        if settings.loss_region != "volume":
            example["region"] = (brain if settings.loss_region == "brain" else mask)[None]
        if healthy.anomalous is not None:
            weight = 1 + np.float32(settings.anomaly_weight) * healthy.anomalous[None]
            example["region"] = weight * example.get("region", np.True_)
        return example if kind is None else {**example, "mask": mask[None], "brain": brain[None]}

    def loss(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        return regional_loss(networks[NETWORK](batch["given"]), batch["target"], batch.get("region"))

    def validation_error(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        """Mean squared error in the mask."""
        return regional_loss(networks[NETWORK](batch["given"]), batch["target"], batch["mask"])

    def pictures(self, stage: str, networks: Networks, batch: Batch) -> Mapping[str, Layer]:
        output = networks[NETWORK](batch["given"]).float()
        error = torch.where(batch["brain"], (output - batch["target"]).square(), 0)
        shown = {"masked": batch["given"], "reconstructed": output, "target": batch["target"]}
        return pictured(shown, {"error": error})

    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        return {NETWORK: {"widths": list(self.settings.widths), "dropout": self.settings.dropout}}

    def finish(self, model: Model, validation: Sequence[Healthy], runtime: Runtime, report: Report) -> Calibration:
        """Gamma, chosen on the validation volumes."""
        if not self.settings.choose_gamma:
            return Calibration()
        return choose_gamma(model, validation, runtime, report)


def regional_loss(output: Tensor, target: Tensor, region: Tensor | None) -> Tensor:
    """Mean squared error over the region of each volume, averaged over the volumes, so that each volume counts alike.

    Args:
        output, target: [b, 1, x, y, z]; region: likewise, bool or how much each voxel counts; None: all alike.
    """
    squared = (output.float() - target).square()
    if region is None:
        return squared.mean()
    inside = region.flatten(1)
    return ((squared.flatten(1) * inside).sum(1) / inside.sum(1)).mean()
