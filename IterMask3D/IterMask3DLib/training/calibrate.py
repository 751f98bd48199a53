"""A trained model measures how well it knows healthy brains, and gets numbers that fit."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import Figure, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.methods.base import Calibratable, Report
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.models.store import save_model
from IterMask3DLib.runtime.distributed import current_rank
from IterMask3DLib.runtime.runner import Runtime
from IterMask3DLib.training.cache import CachedVolumes, prepared
from IterMask3DLib.training.cohort import find_cohort
from IterMask3DLib.training.model_folder import with_calibration

_VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class CalibrationRequest:
    """A calibration that is asked for.

    Attributes:
        model: name or folder; data: folder of healthy volumes; out: the new model folder.
        settings: the method's `CalibrationSettings`.
        command: what was typed, for the card.
        masks, cache, device: as of a training; without a cache nothing that was prepared is kept.
    """

    model: str
    data: Path
    out: Path
    settings: Any
    command: str = ""
    masks: Path | None = None
    cache: Path | None = None
    device: str = "auto"


def calibrate(request: CalibrationRequest, report: Report) -> ModelCard:
    """Writes a copy of a model with the settings that fit healthy brains, and returns its card.

    Raises:
        UserError: also where `request.out` exists.
    """
    if request.out.exists():
        raise UserError(f"{request.out} exists; give a folder that does not, so that no model is overwritten.")
    model = load_model(find_model(request.model))
    card, method = model.card, find_method(model.card.method).load()
    if not isinstance(method, Calibratable):
        raise UserError(f"{request.model}: the method {card.method} has nothing to calibrate.")
    split = find_cohort(request.data, card.inputs, _VALIDATION_SHARE, 0, request.masks)
    if not split.validation:
        raise UserError(f"{request.data} leaves no volume for validation; a threshold cannot be chosen.")
    with ExitStack() as stack:
        cache = request.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        smallest = replace(card.grid, shape=(card.grid.multiple,) * len(card.grid.shape))
        files = prepared((*split.training, *split.validation), cache, replace(card, grid=smallest), report)
        count = len(split.training)
        training, validation = CachedVolumes(files[:count], card.grid), CachedVolumes(files[count:], card.grid)
        runtime = Runtime.of(Request(device=request.device))
        found = method.calibrate(model, training, validation, request.settings, runtime, report)
    # What an earlier calibration measured no longer holds.
    card = replace(card, figures=tuple(each for each in card.figures if not each.name.startswith("calibration: ")))
    cohort = [
        Figure("calibration: command", request.command),
        Figure("calibration: cohort", request.data.resolve().name),
        Figure("calibration: training volumes", len(training)),
        Figure("calibration: validation volumes", len(validation)),
    ]
    card = with_calibration(card, replace(found, figures=(*cohort, *found.figures)))
    if not current_rank().is_first:
        return card
    states = {name: network.state_dict() for name, network in model.networks.items()}
    return save_model(request.out, card, states, {**model.assets, **found.assets})
