"""How the masked auto-encoder learns: patches from other patches, then residuals from those of pseudo-anomalies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from IterMask3DLib.core.card import Figure, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume, FloatVolume
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
from IterMask3DLib.methods.mae.loss import patch_loss
from IterMask3DLib.methods.mae.network import (
    ABNORMAL,
    AUTOENCODER,
    CLASSIFIER,
    NORMAL,
    ResidualClassifier,
    built,
    config_of,
    pasted,
    patches_of,
)
from IterMask3DLib.methods.mae.pseudo_anomalies import box_factors
from IterMask3DLib.methods.mae.reconstruction import degraded
from IterMask3DLib.methods.mae.settings import MAETrainingSettings
from IterMask3DLib.methods.mae.windows import enlarged, erased, random_erasure, random_window
from IterMask3DLib.methods.slices import as_slices, slices_with_brain
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.distributed import map_shards
from IterMask3DLib.runtime.runner import Runtime

_LABEL_SMOOTHING = 0.1
_FINAL_RATE = 1e-6
_TRIES = 100


class MAETask(TrainingTask):
    """Two stages: the auto-encoder, then the classifier of the residuals that the first one leaves.

    The best classifier is chosen by its error on pseudo-anomalies in healthy brains, not on real ones as in the paper.
    """

    def __init__(self, card: ModelCard, settings: MAETrainingSettings) -> None:
        """Raises `UserError` for a card that makes no model."""
        if len(card.inputs) != 1:
            raise UserError(f"A masked auto-encoder learns from one modality, not from {card.modality}.")
        if card.grid.multiple % settings.patch:
            raise UserError(f"patch is {settings.patch}; it must divide {card.grid.multiple}; change --patch.")
        self.settings, self.shape = settings, card.grid.shape
        options = {
            "steps": settings.classifier_steps,
            "learning_rate": settings.classifier_learning_rate,
            "final_learning_rate": _FINAL_RATE,
        }
        self.stages = (Stage(AUTOENCODER, ("masked",)), Stage(CLASSIFIER, ("normal", "abnormal"), options=options))

    def networks(self, stage: str, earlier: Networks) -> Networks:
        network = built(self.shape, self.settings, self.settings.drop_path)[stage]
        if isinstance(network, ResidualClassifier):
            network.begin_with(earlier[AUTOENCODER])
        return {stage: network}

    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        """`slice`: float32 [1, x, y]; `brain`: bool likewise; `noise`: float32 [patches], one a pass in stage two.

        In stage two also `factors`: float32 [1, x, y], what its reconstruction is multiplied by, and `target`: its
        class. `window` and `erasure`: of what is shown, where the settings ask for them.
        """
        x, y = healthy.brain.shape
        tokens = (x // self.settings.patch) * (y // self.settings.patch)
        known = {"slice": healthy.channels, "brain": healthy.brain[None]}
        if kind is None:
            # Validation shows whole slices.
            known |= self._augmented(stage, (x, y), rng)
        if stage == AUTOENCODER:
            return {**known, "noise": rng.random(tokens, dtype=np.float32)}
        noise = rng.random((self.settings.averaged_passes, tokens), dtype=np.float32)
        abnormal = rng.random() < 0.5 if kind is None else kind == "abnormal"
        factors = self._factors(healthy.brain, healthy.spacing[0], rng) if abnormal else np.ones((x, y), np.float32)
        target = np.array(ABNORMAL if abnormal else NORMAL)
        return {**known, "noise": noise, "factors": factors[None], "target": target}

    def _augmented(self, stage: str, shape: tuple[int, int], rng: np.random.Generator) -> Example:
        settings, found = self.settings, dict[str, Any]()
        smallest = settings.smallest_window if stage == AUTOENCODER else settings.classifier_smallest_window
        if smallest < 1:
            found["window"] = random_window(shape, smallest, rng)
        if stage == CLASSIFIER and settings.erased_share > 0:
            found["erasure"] = random_erasure(shape, settings.erased_share, rng)[None]
        return found

    def _factors(self, brain: BoolVolume, spacing: float, rng: np.random.Generator) -> FloatVolume:
        """Boxes that change a part of the brain."""
        sides = self.settings.smallest_box_mm / spacing, self.settings.largest_box_mm / spacing
        low = max(1, round(sides[0]))
        for _ in range(_TRIES):
            factors = box_factors(brain.shape, (low, max(low, round(sides[1])) + 1), rng)
            if (factors[brain] < 1).any():
                break
        return factors

    def loss(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        settings = self.settings
        if stage == CLASSIFIER:
            logits = networks[CLASSIFIER](self._residual(networks[AUTOENCODER], batch)).float()
            return functional.cross_entropy(logits, batch["target"], label_smoothing=_LABEL_SMOOTHING)
        shown = _shown(batch["slice"], batch)
        predicted, hidden = networks[AUTOENCODER](shown, batch["noise"], settings.training_mask_ratio)
        target = patches_of(shown, settings.patch)
        return patch_loss(predicted.float(), target, hidden, settings.norm_pix_loss, settings.loss_on_all)

    def validation_error(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        """Of the classifier the cross entropy without smoothing."""
        if stage == AUTOENCODER:
            return self.loss(stage, networks, batch)
        logits = networks[CLASSIFIER](self._residual(networks[AUTOENCODER], batch)).float()
        return functional.cross_entropy(logits, batch["target"])

    def _residual(self, autoencoder: nn.Module, batch: Batch) -> Tensor:
        """What the classifier sees: [b, 1, x, y]."""
        slices, ratio, side = batch["slice"], self.settings.training_mask_ratio, self.settings.patch
        total = torch.zeros_like(slices)
        for noise in batch["noise"].unbind(dim=1):
            patches, hidden = autoencoder(slices, noise, ratio)
            total = total + pasted(slices, patches.float(), hidden, side)
        mean = total / batch["noise"].shape[1]
        return _shown((slices - degraded(mean, batch["factors"])).abs(), batch)

    def pictures(self, stage: str, networks: Networks, batch: Batch) -> Mapping[str, Layer]:
        slices = batch["slice"]
        if stage == CLASSIFIER:
            return pictured({"slice": slices}, {"residual": self._residual(networks[AUTOENCODER], batch)})
        patches, hidden = networks[AUTOENCODER](slices, batch["noise"], self.settings.training_mask_ratio)
        whole = pasted(slices, patches.float(), hidden, self.settings.patch)
        return pictured({"slice": slices, "reconstructed": whole})

    def optimiser(self, stage: str, networks: Networks, learning_rate: float) -> Optimizer:
        """AdamW; of the classifier a block learns slower the further in front it lies. Vectors do not decay."""
        (network,) = networks.values()
        groups: dict[tuple[float, bool], dict[str, Any]] = {}
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                scale = 1.0 if stage == AUTOENCODER else self.settings.layer_decay ** self._layers_behind(name)
                decays = parameter.ndim > 1
                decay = self.settings.weight_decay if decays else 0.0
                group = groups.setdefault((scale, decays), {"params": [], "scale": scale, "weight_decay": decay})
                group["params"].append(parameter)
        betas = (0.9, 0.95) if stage == AUTOENCODER else (0.9, 0.999)
        return AdamW(list(groups.values()), lr=learning_rate, betas=betas)

    def _layers_behind(self, name: str) -> int:
        """How many layers of the classifier lie behind the one of a parameter."""
        if name.startswith("blocks."):
            return self.settings.depth - int(name.split(".")[1])
        return 0 if name.startswith(("fc_norm.", "head.")) else self.settings.depth + 1

    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: config_of(self.settings, name) for name in (AUTOENCODER, CLASSIFIER)}

    @torch.no_grad()
    def finish(self, model: Model, validation: Sequence[Healthy], runtime: Runtime, report: Report) -> Calibration:
        """How well slices with pseudo-anomalies are told from the same ones without, in the validation volumes."""
        settings = {"mask_ratio": self.settings.training_mask_ratio, "masked_passes": self.settings.averaged_passes}
        if not len(validation):
            return Calibration(settings)
        # Imported here: a run does without.
        from scipy.stats import mannwhitneyu

        report("measuring how well pseudo-anomalies are detected in the validation volumes")
        everyone = map_shards(lambda n: self._scores(model, validation[n], n), len(validation))
        normal, abnormal = (np.concatenate([scores[kind] for scores in everyone]) for kind in (0, 1))
        area = mannwhitneyu(abnormal, normal).statistic / (len(normal) * len(abnormal))
        on = f"{len(normal)} slices of {len(validation)} validation volumes, with pseudo-anomalies and without"
        return Calibration(settings, (Figure("slice AUROC, pseudo-anomalies", round(float(area), 4), on),))

    def _scores(self, model: Model, healthy: Healthy, number: int) -> tuple[list[float], list[float]]:
        """Probabilities of the slices of a volume, without and with pseudo-anomalies."""
        rng, found = np.random.default_rng(number), ([], [])  # type: ignore[var-annotated]
        for index in slices_with_brain(as_slices(healthy.brain), self.smallest_slice):
            slice_ = Healthy(healthy.channels[..., index], healthy.brain[..., index], healthy.spacing[:2])
            for scores, kind in zip(found, ("normal", "abnormal"), strict=True):
                example = self.example(CLASSIFIER, slice_, rng, kind)
                batch = {name: torch.from_numpy(np.ascontiguousarray(each))[None] for name, each in example.items()}
                logits = model.networks[CLASSIFIER](self._residual(model.networks[AUTOENCODER], batch))
                scores.append(float(logits.softmax(dim=1)[0, ABNORMAL]))
        return found


def _shown(images: Tensor, batch: Batch) -> Tensor:
    """Images [b, 1, x, y] as their window and their erasure leave them."""
    if "window" in batch:
        images = enlarged(images, batch["window"])
    return erased(images, batch["erasure"]) if "erasure" in batch else images
