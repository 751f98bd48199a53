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
from IterMask3DLib.training.cohort import Source, find_cohort
from IterMask3DLib.training.drawn_brains import DrawnBrains, LabelledBrains
from IterMask3DLib.training.model_folder import with_calibration
from IterMask3DLib.training.patients import LESION_MARGIN_MM, patient_brains
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
        before = f"{card.name}, sha256 {card.sha256}"
        about = {**card.training, "calibrated from": before, **self.about}
        inputs = (self.contrast,) if self.contrast else card.inputs
        intensity = self.intensity or card.intensity
        kept = [each for each in card.figures if inputs == card.inputs and not each.name.startswith("calibration: ")]
        # What an earlier calibration measured no longer holds, and on another scale only what the network learned.
        if intensity != card.intensity:
            kept = [each for each in kept if each.name.startswith("validation error")]
        changed = replace(
            card,
            name=self.name or card.name,
            title=self.title or card.title,
            intensity=intensity,
            inputs=inputs,
            training={name: text for name, text in about.items() if text != ""},
            figures=tuple(kept),
        )
        return replace(model, card=changed)


@dataclass(frozen=True)
class CalibrationRequest:
    """A calibration that is asked for.

    Attributes:
        model: name or folder; data: folders of healthy volumes, one a scanner; out: the new model folder.
        settings: the method's `CalibrationSettings`.
        command: what was typed, for the card; card: what is otherwise on it.
        brains: training volumes of each folder at the most, evenly taken from all; None: all.
        patients: folder of labelled scans of the model's own inputs: what is healthy of them is one more cohort to
            choose with; None: no other.
        masks, cache, device, split: as of a training; without a cache nothing that was prepared is kept.
    """

    model: str
    data: tuple[Path, ...]
    out: Path
    settings: Any
    command: str = ""
    card: NewCard = field(default_factory=NewCard)
    brains: int | None = None
    patients: Path | None = None
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
    names = _cohort_names(request)
    facts = [
        Figure("calibration: command", request.command),
        Figure("calibration: cohort", ", ".join(names[: len(request.data)])),
        Figure("calibration: training volumes", len(training)),
        Figure("calibration: validation volumes", len(validation)),
    ]
    if request.patients is not None:
        where = f"{names[-1]}, farther than {LESION_MARGIN_MM:g} mm from every lesion"
        facts.append(Figure("calibration: healthy tissue of patients", where))
    card = with_calibration(model.card, replace(found, figures=(*facts, *found.figures)))
    if not current_rank().is_first:
        return card
    states = {name: network.state_dict() for name, network in model.networks.items()}
    assets = {**model.assets, **found.assets}
    return save_model(request.out, card, states, {name: assets[name] for name in method.assets(card)})


def _cohort_names(request: CalibrationRequest) -> list[str]:
    """The names of the folders, that of patients last; numbered where several are alike: each is its own cohort."""
    folders = request.data if request.patients is None else (*request.data, request.patients)
    names = [folder.resolve().name for folder in folders]
    numbered = [f"{name} {names[:place].count(name) + 1}" for place, name in enumerate(names)]
    return [new if names.count(name) > 1 else name for name, new in zip(names, numbered, strict=True)]


def _cohorts(
    request: CalibrationRequest, card: ModelCard, cache: Path, report: Report
) -> tuple[LabelledBrains, LabelledBrains]:
    """The brains to learn from and to choose with. Raises `UserError` where there are none to choose with."""
    contrast, grid = request.card.contrast, card.grid
    channels = (DRAWN_FROM,) if contrast else card.inputs
    names = _cohort_names(request)
    splits = [
        (name, find_cohort(data, channels, _VALIDATION_SHARE, 0, request.masks, request.split))
        for name, data in zip(names, request.data, strict=False)
    ]
    if not any(split.validation for _, split in splits):
        raise UserError(f"{request.data[0]} leaves no volume for validation; a threshold cannot be chosen.")
    smallest = replace(card, grid=replace(grid, shape=(grid.multiple,) * len(grid.shape)))
    if contrast:
        # Tissue maps are the same whatever is drawn from them.
        smallest = replace(smallest, inputs=(DRAWN_FROM,), intensity=ModelCard.intensity)

    def brains(sources: Sequence[Source], seed: int) -> Sequence[Healthy]:
        files = prepared(sources, cache, smallest, report, tissue_maps if contrast else scaled_volume)
        if contrast:
            return DrawnBrains(CachedTissueMaps(files, grid), contrast, card.intensity, seed)
        return CachedVolumes(files, grid)

    training = [(name, brains(_evenly(split.training, request.brains), 0)) for name, split in splits]
    validation = [(name, brains(split.validation, 1)) for name, split in splits if split.validation]
    if request.patients is not None:
        validation.append((names[-1], patient_brains(request.patients, card, report)))
    return LabelledBrains(tuple(training)), LabelledBrains(tuple(validation))


def _evenly(sources: Sequence[Source], count: int | None) -> Sequence[Source]:
    if count is None or count >= len(sources):
        return sources
    return [sources[number * len(sources) // count] for number in range(count)]
