"""From a finished run to a model folder, with gamma chosen on healthy validation volumes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.card import Card, CardGrid
from IterMask3DLib.runtime.device import DeviceName, Runner, choose_place
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.models.store import save_model
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.runtime.distributed import position
from IterMask3DLib.methods.itermask3d.loop import Case, Settings
from IterMask3DLib.training.augment import described
from IterMask3DLib.training.checkpoint import BEST, CHECKPOINT, load_checkpoint
from IterMask3DLib.training.data import Volumes
from IterMask3DLib.training.healthy import GAMMA_LIMIT, shares_by_gamma, smallest_within, told
from IterMask3DLib.training.recipe import Recipe
from IterMask3DLib.training.validate import KINDS, validation_errors

_RECORDED = ("full_brain_share", "scattered_share", "loss_region", "learning_rate", "final_learning_rate", "schedule", "ema")


@dataclass(frozen=True)
class Weights:
    """The weights a model gets, where in the run they come from, and what they were computed in."""

    tensors: Mapping[str, torch.Tensor]
    step: int
    description: str
    precision: str


def chosen_weights(run: Path, recipe: Recipe) -> Weights:
    """The best weights on validation or the last ones, as the recipe says; the moving average of either where it has one."""
    checkpoint = load_checkpoint(run / CHECKPOINT)
    if checkpoint is None:
        raise UserError(f"{run / CHECKPOINT} is gone; train again.")
    average = f", moving average with decay {recipe.ema:g}" if recipe.ema else ""
    if recipe.packed == "best" and (run / BEST).exists():
        best = torch.load(run / BEST, map_location="cpu", weights_only=True)
        return Weights(best["network"], best["step"], f"best on validation, step {best['step']}{average}", checkpoint.precision)
    step = checkpoint.progress.step
    return Weights(checkpoint.average or checkpoint.network, step, f"last, step {step}{average}", checkpoint.precision)


def pack(
    run: Path,
    weights: Weights,
    recipe: Recipe,
    shape: tuple[int, ...],
    healthy: Volumes,
    facts: Mapping[str, Any],
    device: DeviceName,
) -> Card:
    """Writes `run`/model; its gamma is the smallest that leaves on average at most 2 % of the `healthy` brains masked.

    `facts`: what the card says of the training data and the command. Every process takes its share of the volumes; the first one writes.
    """
    network = UNet3D(recipe.widths, recipe.dropout)
    network.load_state_dict(weights.tensors)
    network.eval()
    figures: dict[str, Any] = {"command": facts["command"], "volumes": len(healthy)}
    gamma = Card.gamma
    if len(healthy):
        runner = Runner(InferenceUNet(network), choose_place(device))
        errors = validation_errors(healthy, recipe, lambda given: runner(given)[None, None])
        masked = shares_by_gamma(runner, len(healthy), lambda number: _case(healthy, number, recipe.spacing), Settings())
        gamma = smallest_within(masked, GAMMA_LIMIT)
        figures |= {
            "mean squared error in the mask, validation": {kind: round(errors[kind], 5) for kind in KINDS},
            "share of healthy validation brains left masked": told(masked, "gamma"),
            "chosen gamma": gamma,
        }
    card = Card(
        name=recipe.name or run.resolve().name,
        title=recipe.title or f"Healthy brain, {recipe.modality}, {recipe.spacing:g} mm",
        modality=recipe.modality,
        grid=CardGrid(recipe.spacing, (shape[0], shape[1], shape[2])),
        widths=tuple(recipe.widths),
        dropout=recipe.dropout,
        gamma=gamma,
        options={
            **{key: getattr(recipe, key) for key in _RECORDED},
            "augmentation": described(recipe.augmentation),
            "precision": weights.precision,
            "weights": weights.description,
        },
        training={**recipe.about, **facts, "steps": weights.step, "batch": recipe.batch, "seed": recipe.seed},
        figures=figures,
        created=datetime.now(timezone.utc).date().isoformat(),
    )
    return _write(run, network, card) if position().rank == 0 else card


def _case(healthy: Volumes, number: int, spacing: float) -> Case:
    volume, brain = healthy[number]
    return Case(volume, high_frequency(volume, (spacing,) * 3), brain, (spacing,) * 3)


def _write(run: Path, network: UNet3D, card: Card) -> Card:
    beside, target = run / ".model.new", run / "model"
    shutil.rmtree(beside, ignore_errors=True)
    signed = save_model(beside, network, card)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(beside, target)
    return signed
