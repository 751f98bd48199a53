"""What may be chosen about a training: the general choices, and those of the method, in one flat set of names."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import MOST_GRID_VOXELS
from IterMask3DLib.core.contrast import CONTRASTS
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.options import words_of
from IterMask3DLib.core.settings import about, as_published, changed, setting
from IterMask3DLib.methods.base import MethodSpec, Stage
from IterMask3DLib.methods.registry import find_method

DEFAULT_METHOD = "itermask3d"
SYNTHETIC = "synthetic"
"""The augmentation that makes scans from tissue maps."""
PRESETS = ("default", "published")

MAY_CHANGE = frozenset({"steps", "epochs", "patience", "weights", "name", "title"})
"""What a run may be continued with differently: all else would make the second half another training than the first."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained. What it depends on beside them is the volumes.

    Attributes:
        method: name of the method; settings: its `TrainingSettings`.
        about: texts for the card, e.g. data, licence, attribution.
    """

    method: str
    settings: Any
    about: Mapping[str, Any] = field(default_factory=dict)
    name: str = setting("text", "", "Name", "name on the card (default: the name of RUN)")
    title: str = setting("text", "", "Title", "title on the card")
    modality: tuple[str, ...] = setting(
        "texts", ("T1w",), "Modality", "what the volumes are, e.g. T1w, FLAIR; also the suffix of their files in BIDS"
    )
    spacing: float = setting("number", 2.0, "Spacing", "voxel size of the model", unit="mm", least=0.1, most=20)
    slice_spacing: float | None = setting(
        "number", None, "Slice spacing", "distance of slices", unit="mm", least=0.1, most=20, optional=True
    )
    shape: tuple[int, ...] | None = setting(
        "wholes",
        None,
        "Shape",
        "voxels of the model's grid (default: what holds every brain)",
        most=1024,
        optional=True,
    )
    initial: str = setting(
        "text", "", "Initial model", "name or folder of the model whose weights it begins with (default: random ones)"
    )
    steps: int | None = setting("whole", 6000, "Steps", "optimiser steps", least=1, optional=True)
    epochs: int | None = setting(
        "whole", None, "Epochs", "visits of every volume or slice, instead of steps", least=1, optional=True
    )
    batch: int = setting("whole", 2, "Batch", "examples a step, over all processes", least=1, most=10**6)
    learning_rate: float = setting("number", 1e-3, "Learning rate", "at the beginning", least=1e-12, most=1e3)
    final_learning_rate: float = setting("number", 1e-5, "Final learning rate", "at the end", least=0, most=1e3)
    schedule: str = setting(
        "choice",
        "cosine",
        "Schedule",
        "how the learning rate gets to its end; published: in one fall after 60 % of the steps; constant: it stays",
        choices=("cosine", "published", "constant"),
    )
    warm_up: int = setting(
        "whole", 100, "Warm-up", "steps in which the rate of the cosine schedule rises from 0", least=0
    )
    augmentation: str = setting(
        "choice",
        "light",
        "Augmentation",
        "nothing, left-right flips, the published quarter turns, flips with small turns, sizes and contrast, or scans "
        "made anew each time from T1w volumes: contrast, pose, scanner and anomalies",
        choices=("none", "flip", "published", "light", SYNTHETIC),
    )
    contrasts: tuple[str, ...] = setting(
        "texts", ("T1w",), "Contrasts", "of synthetic scans, each with its share, e.g. T1w=0.5,FLAIR=0.5"
    )
    precision: str = setting(
        "choice",
        "auto",
        "Precision",
        "of the networks; auto: bf16 where the hardware has it",
        choices=("auto", "bf16", "fp32"),
    )
    gradient_limit: float = setting(
        "number", 0.0, "Gradient limit", "a gradient of a larger norm is scaled down to it (0: none)", least=0, most=1e6
    )
    batch_norm_momentum: float | None = setting(
        "number",
        None,
        "Batch norm momentum",
        "weight of a batch in the running statistics (default: what the network has)",
        least=1e-6,
        most=1,
        optional=True,
    )
    batch_norm_steps: int | None = setting(
        "whole",
        None,
        "Batch norm steps",
        "after so many steps batch norms keep their statistics, as in a run (default: never)",
        least=0,
        optional=True,
    )
    ema: float = setting(
        "number",
        0.0,
        "Moving average",
        "decay of an exponential moving average of the weights, e.g. 0.999 (0: none)",
        least=0,
        most=0.99999,
    )
    weights: str = setting(
        "choice",
        "best",
        "Weights",
        "of the model: the best on validation, or the last",
        choices=("best", "last"),
        former="packed",
    )
    patience: int = setting(
        "whole", 0, "Patience", "validations without a better one after which training ends (0: never)", least=0
    )
    validation_share: float = setting(
        "number", 0.1, "Validation share", "of the subjects, where no table says which", least=0, most=1
    )
    validate_every: int = setting("whole", 250, "Validate every", "steps between validations", least=1)
    checkpoint_every: int = setting("whole", 250, "Checkpoint every", "steps between checkpoints", least=1)
    log_every: int = setting("whole", 10, "Log every", "steps between lines of losses", least=1)
    seed: int = setting("whole", 0, "Seed", "of every random draw", least=0, most=2**31 - 1)

    def total_steps(self, count: int) -> int:
        """Steps of a stage with so many volumes or slices to learn from."""
        return self.steps if self.steps is not None else -(-(self.epochs or 1) * count // self.batch)

    def record(self) -> dict[str, Any]:
        """Every choice as a plain value, flat, as it is kept in checkpoints."""
        values = {**{name: getattr(self, name) for name in about(self)}, **asdict(self.settings), "method": self.method}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def training_options(method: str, given: Mapping[str, Any], where: str) -> TrainingOptions:
    """The options that a mapping describes, on top of its `preset`. Raises `UserError`.

    Args:
        given: values by name, of the general choices and of the method's.
        where: names the source of the values in the error.
    """
    spec = find_method(method)
    values = {key: value for key, value in given.items() if key not in ("preset", "method")}
    texts = _texts(values.pop("about", {}), where)
    usual = preset_options(spec, given.get("preset", "default"), where)
    own, general = about(usual.settings), about(usual)
    for name, (_, one) in (general | own).items():
        if one.former in values:
            values.setdefault(name, values.pop(one.former))
    for name in values:
        if name not in own and name not in general:
            known = ", ".join([*general, *own, "about", "preset", "method"])
            raise UserError(f"{where}: {name} is not an option; known are {known}.")
    values = _steps_or_epochs(values, usual, where)
    settings = changed(usual.settings, {name: value for name, value in values.items() if name in own}, where)
    options = changed(usual, {name: value for name, value in values.items() if name not in own}, where)
    if hasattr(settings, "check"):
        settings.check(where)
    _check_grid(options, spec, where)
    _check_contrasts(options, spec, where)
    return replace(options, settings=settings, about=texts)


def preset_options(spec: MethodSpec, preset: str, where: str = "preset") -> TrainingOptions:
    """The options of a method where nothing else is said. Raises `UserError`."""
    if spec.TrainingSettings is None:
        raise UserError(f"{where}: the method {spec.name} cannot be trained here; choose another --method.")
    if preset not in PRESETS:
        raise UserError(f"{where}: preset is {preset!r}; use one of {', '.join(PRESETS)}.")
    settings = spec.TrainingSettings()
    general = dict(spec.presets.get("default", {}))
    if preset == "published":
        settings = as_published(settings)
        general |= spec.presets.get("published", {})
    return changed(TrainingOptions(spec.name, settings), general, f"preset {preset} of {spec.name}")


def contrast_shares(texts: Sequence[str], where: str = "contrasts") -> dict[str, float]:
    """The share of each contrast, from texts such as "FLAIR=0.5"; without numbers all are as frequent. Sum 1.

    Raises `UserError` for other texts.
    """
    shares: dict[str, float] = {}
    for text in texts:
        name, _, share = text.partition("=")
        try:
            shares[name] = float(share or 1)
        except ValueError:
            shares[name] = 0.0
        if name not in CONTRASTS or not 0 < shares[name] < 1e6:
            known = ", ".join(CONTRASTS)
            raise UserError(f"{where}: contrasts has {text!r}; use {known}, each with a share, e.g. T1w=0.5,FLAIR=0.5.")
    return {name: share / sum(shares.values()) for name, share in shares.items()}


def options_of_stage(options: TrainingOptions, stage: Stage) -> TrainingOptions:
    """The options of a run with those of one of its stages."""
    where = f"stage {stage.name} of {options.method}"
    return changed(options, _steps_or_epochs(dict(stage.options), options, where), where)


def command_of(
    options: TrainingOptions, preset: str, data: Sequence[Path], run: Path, masks: Path | None, split: Path | None
) -> str:
    """The command that repeats a training, whatever mixture of file and options it came as; folders by name alone."""
    usual = preset_options(find_method(options.method), preset)
    words = ["itermask3d", "train", *(folder.resolve().name for folder in data), "-o", run.resolve().name]
    if options.method != DEFAULT_METHOD:
        words += ["--method", options.method]
    if preset != "default":
        words += ["--preset", preset]
    if masks is not None:
        words += ["--brain-masks", masks.resolve().name]
    if split is not None:
        words += ["--split", split.name]
    # One of the two is said, and replaces the other.
    usual = replace(usual, epochs=None) if options.epochs is None else replace(usual, steps=None)
    named = replace(options, initial=Path(options.initial).name if options.initial else "")
    return shlex.join([*words, *words_of(named, usual), *words_of(options.settings, usual.settings)])


def _steps_or_epochs(values: dict[str, Any], usual: TrainingOptions, where: str) -> dict[str, Any]:
    """The values where one of the two that is given replaces the other. Raises `UserError`."""
    steps, epochs = values.get("steps"), values.get("epochs")
    if steps is not None and epochs is not None:
        raise UserError(f"{where}: give steps or epochs, not both.")
    if epochs is not None:
        return {**values, "steps": None}
    if steps is not None:
        return {**values, "epochs": None}
    if values.get("steps", usual.steps) is None and values.get("epochs", usual.epochs) is None:
        raise UserError(f"{where}: give steps or epochs.")
    return values


def _check_grid(options: TrainingOptions, spec: MethodSpec, where: str) -> None:
    shape, multiple, sides = options.shape, spec.side_multiple, spec.dimensions
    if options.slice_spacing is not None and sides == 3:
        raise UserError(f"{where}: slice_spacing is given, but models of {spec.name} see volumes; leave it out.")
    if shape is not None and math.prod(shape) > MOST_GRID_VOXELS:
        raise UserError(f"{where}: shape is {list(shape)}; it must hold at most {MOST_GRID_VOXELS:,} voxels.")
    if shape is not None and (len(shape) != sides or any(side % multiple for side in shape)):
        raise UserError(f"{where}: shape is {list(shape)}; it must be {sides} sides that are multiples of {multiple}.")


def _check_contrasts(options: TrainingOptions, spec: MethodSpec, where: str) -> None:
    contrast_shares(options.contrasts, where)
    if options.augmentation == SYNTHETIC and (options.modality != ("T1w",) or spec.dimensions != 3):
        raise UserError(f"{where}: synthetic scans are volumes made from T1w; leave out modality, or the augmentation.")


def _texts(value: Any, where: str) -> dict[str, Any]:
    right = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    if not right or not all(isinstance(each, (str, int, float)) for each in value.values()):
        raise UserError(f"{where}: about must hold texts by name, e.g. data, licence, attribution.")
    return dict(value)
