"""A trained model measures how well it knows healthy brains, and gets numbers that fit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import Figure, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.methods.base import Calibratable, Healthy, Report
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.models.store import Model, save_model
from IterMask3DLib.preprocessing.intensity import scale_named
from IterMask3DLib.runtime.distributed import current_rank
from IterMask3DLib.runtime.runner import Runtime
from IterMask3DLib.training.cache import CachedVolumes, prepared, scaled_volume
from IterMask3DLib.training.cohort import Source, Split, find_cohort
from IterMask3DLib.training.drawn_brains import DrawnBrains, LabelledBrains
from IterMask3DLib.training.model_folder import with_calibration
from IterMask3DLib.training.tissue_maps import CachedTissueMaps, tissue_maps

DRAWN_FROM = "T1w"
"""What a contrast is drawn from."""

_VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class NewCard:
    """What a calibrated model has otherwise than the one it was made from; what is empty stays as it was.

    Attributes:
        name, title, intensity: as on the card.
        contrast: the input channel; healthy volumes of it are drawn from those of DATA, which are T1w.
        about: texts on the training, by name; an empty one takes what was there away.
    """

    name: str = ""
    title: str = ""
    intensity: str = ""
    contrast: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    def of(self, model: Model) -> Model:
        """The model with it. Raises `UserError`."""
        card = model.card
        scale_named(self.intensity or card.intensity)
        if self.contrast and len(card.inputs) != 1:
            raise UserError(f"Model {card.name} has the inputs {card.modality}; a contrast is drawn of one alone.")
        about = {
            **card.training,
            "calibrated from": f"{card.name}, sha256 {', '.join(card.files.values())}",
            **self.about,
        }
        changed: dict[str, Any] = {
            "name": self.name or card.name,
            "title": self.title or card.title,
            "intensity": self.intensity or card.intensity,
            "inputs": (self.contrast,) if self.contrast else card.inputs,
        }
        kept = card.figures if changed["inputs"] == card.inputs else ()
        # What an earlier calibration measured no longer holds, and on another scale only what the network learned.
        if changed["intensity"] != card.intensity:
            kept = tuple(each for each in kept if each.name.startswith("validation error"))
        kept = tuple(each for each in kept if not each.name.startswith("calibration: "))
        return replace(
            model,
            card=replace(
                card, **changed, training={name: text for name, text in about.items() if text != ""}, figures=kept
            ),
        )


@dataclass(frozen=True)
class CalibrationRequest:
    """A calibration that is asked for.

    Attributes:
        model: name or folder; data: folders of healthy volumes, one a scanner; out: the new model folder.
        settings: the method's `CalibrationSettings`.
        command: what was typed, for the card; card: what is otherwise on it.
        brains: training volumes of each folder at the most, evenly taken from all; None: all.
        masks, cache, device, split: as of a training; without a cache nothing that was prepared is kept.
    """

    model: str
    data: tuple[Path, ...]
    out: Path
    settings: Any
    command: str = ""
    card: NewCard = field(default_factory=NewCard)
    brains: int | None = None
    masks: Path | None = None
    cache: Path | None = None
    device: str = "auto"
    split: Path | None = None


def calibrate(request: CalibrationRequest, report: Report) -> ModelCard:
    """Writes a copy of a model with the settings that fit healthy brains, and returns its card.

    Raises:
        UserError: also where `request.out` exists.
    """
    if request.out.exists():
        raise UserError(f"{request.out} exists; give a folder that does not, so that no model is overwritten.")
    before = load_model(find_model(request.model))
    method = find_method(before.card.method).load()
    if not isinstance(method, Calibratable):
        raise UserError(f"{request.model}: the method {before.card.method} has nothing to calibrate.")
    model = request.card.of(before)
    with ExitStack() as stack:
        cache = request.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        training, validation = _cohorts(request, model.card, cache, report)
        runtime = Runtime.of(Request(device=request.device))
        found = method.calibrate(model, training, validation, request.settings, runtime, report)
    facts = [
        Figure("calibration: command", request.command),
        Figure("calibration: cohort", ", ".join(data.resolve().name for data in request.data)),
        Figure("calibration: training volumes", len(training)),
        Figure("calibration: validation volumes", len(validation)),
    ]
    card = with_calibration(model.card, replace(found, figures=(*facts, *found.figures)))
    if not current_rank().is_first:
        return card
    states = {name: network.state_dict() for name, network in model.networks.items()}
    assets = {**model.assets, **found.assets}
    return save_model(request.out, card, states, {name: assets[name] for name in method.assets(card)})


def _cohorts(
    request: CalibrationRequest, card: ModelCard, cache: Path, report: Report
) -> tuple[LabelledBrains, LabelledBrains]:
    """The brains to learn from and to choose with. Raises `UserError` where there are none to choose with."""
    splits = [(data.resolve().name, _split(request, data, card)) for data in request.data]
    if not any(split.validation for _, split in splits):
        raise UserError(f"{request.data[0]} leaves no volume for validation; a threshold cannot be chosen.")
    brains = _Preparing(request, card, cache, report)
    training = [(name, brains.of(_evenly(split.training, request.brains), 0)) for name, split in splits]
    validation = [(name, brains.of(split.validation, 1)) for name, split in splits if split.validation]
    return LabelledBrains(tuple(training)), LabelledBrains(tuple(validation))


def _split(request: CalibrationRequest, data: Path, card: ModelCard) -> Split:
    channels = (DRAWN_FROM,) if request.card.contrast else card.inputs
    return find_cohort(data, channels, _VALIDATION_SHARE, 0, request.masks, request.split)


def _evenly(sources: Sequence[Source], count: int | None) -> Sequence[Source]:
    if count is None or count >= len(sources):
        return sources
    return [sources[number * len(sources) // count] for number in range(count)]


@dataclass(frozen=True)
class _Preparing:
    """Prepares brains for a model: as they are, or drawn in its contrast."""

    request: CalibrationRequest
    card: ModelCard
    cache: Path
    report: Report

    def of(self, sources: Sequence[Source], seed: int) -> Sequence[Healthy]:
        card, contrast = self.card, self.request.card.contrast
        smallest = replace(card, grid=replace(card.grid, shape=(card.grid.multiple,) * len(card.grid.shape)))
        making = tissue_maps if contrast else scaled_volume
        if contrast:
            # Tissue maps are the same whatever is drawn from them.
            smallest = replace(smallest, inputs=(DRAWN_FROM,), intensity=ModelCard.intensity)
        files = prepared(sources, self.cache, smallest, self.report, making)
        if contrast:
            return DrawnBrains(CachedTissueMaps(files, card.grid), contrast, card.intensity, seed)
        return CachedVolumes(files, card.grid)
