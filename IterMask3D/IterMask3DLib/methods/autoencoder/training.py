"""How the auto-encoder learns: to give back the brains it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.result import Layer
from IterMask3DLib.methods.autoencoder.network import NETWORK, AutoEncoder
from IterMask3DLib.methods.autoencoder.settings import AutoEncoderTrainingSettings
from IterMask3DLib.methods.base import Batch, Example, Healthy, Networks, Stage, TrainingTask, pictured


class AutoEncoderTask(TrainingTask):
    """One stage: the squared error over the brains."""

    stages = (Stage(NETWORK, validation=("brain",)),)

    def __init__(self, card: ModelCard, settings: AutoEncoderTrainingSettings) -> None:
        """Raises `UserError` for a card that makes no model."""
        if len(card.inputs) != 1:
            raise UserError(f"An auto-encoder learns from one modality, not from {card.modality}; change --modality.")
        self.settings = settings

    def networks(self, stage: str, earlier: Networks) -> Networks:
        return {NETWORK: AutoEncoder(self.settings.widths)}

    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        """`volume`: float32 [1, x, y, z]; `brain`: bool likewise."""
        return {"volume": healthy.channels, "brain": healthy.brain[None]}

    def loss(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        residual = networks[NETWORK](batch["volume"]).float() - batch["volume"]
        return residual[batch["brain"]].square().mean()

    def pictures(self, stage: str, networks: Networks, batch: Batch) -> Mapping[str, Layer]:
        output = networks[NETWORK](batch["volume"]).float()
        error = torch.where(batch["brain"], (output - batch["volume"]).square(), 0)
        return pictured({"target": batch["volume"], "reconstructed": output}, {"error": error})

    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        return {NETWORK: {"widths": list(self.settings.widths)}}
