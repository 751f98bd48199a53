"""Every choice that decides the weights of a model, beside the volumes; what a YAML file or the command line may set."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import Field, asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from IterMask3DLib.core.errors import UserError


def _option(default: Any, kind: str, about: str, *choices: str, least: float = 0.0, below: float = float("inf")) -> Any:
    return field(default=default, metadata={"kind": kind, "help": about, "choices": choices, "least": least, "below": below})


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Lengths in mm, shares and probabilities from 0 to 1; None means chosen from the cohort.

    The published method is `published()`; every other value is an option that goes beyond the paper and stands on the card.
    """

    name: str = _option("", "text", "name on the card (default: the name of RUN)")
    title: str = _option("", "text", "title on the card")
    modality: str = _option("T1w", "text", "what the volumes are, e.g. T1w, T2w, FLAIR; also the suffix of BIDS files")
    spacing: float = _option(2.0, "number", "voxel size of the model in mm", least=0.1)
    shape: tuple[int, ...] | None = _option(
        None, "counts3", "voxels of the model's grid, multiples of 16 (default: what holds every brain)"
    )
    widths: tuple[int, ...] = _option((8, 16, 32, 64, 128), "counts5", "channels of the five stages (published: 16 32 64 128 256)")
    initial: str = _option("", "text", "model, by name or folder, whose weights training begins with (default: random ones)")
    dropout: float = _option(0.0, "number", "share of activations dropped (published: 0.2)", below=1.0)
    steps: int | None = _option(6000, "count", "optimiser steps", least=1)
    epochs: int | None = _option(None, "count", "visits of every volume, instead of steps", least=1)
    batch: int = _option(2, "count", "volumes a step, over all processes", least=1)
    learning_rate: float = _option(1e-3, "number", "learning rate at the beginning", least=1e-12)
    final_learning_rate: float = _option(1e-5, "number", "learning rate at the end", least=0.0)
    schedule: str = _option("cosine", "choice", "how it gets there; published: one fall after 60 %% of the steps", "cosine", "published")
    full_brain_share: float = _option(0.2, "share", "probability of hiding the whole brain (published: 0)")
    scattered_share: float = _option(0.0, "share", "probability of a mask of scattered voxels (published: 0)")
    loss_region: str = _option("volume", "choice", "where the squared error counts (published: volume)", "volume", "brain", "mask")
    augmentation: str = _option(
        "light", "choice", "none, the published quarter turns, or flips, small turns, sizes, contrast", "none", "published", "light"
    )
    precision: str = _option("auto", "choice", "of the convolutions; auto: bf16 where the hardware has it", "auto", "bf16", "fp32")
    ema: float = _option(0.0, "number", "decay of an exponential moving average of the weights, e.g. 0.999 (0: none)", below=1.0)
    packed: str = _option("best", "choice", "weights of the model: the best on validation or the last", "best", "last")
    patience: int = _option(0, "count", "validations without a better one after which training ends (0: never)")
    validation_share: float = _option(0.1, "share", "share of the subjects kept for validation where no table says which")
    validate_every: int = _option(250, "count", "steps between validations and pictures", least=1)
    checkpoint_every: int = _option(250, "count", "steps between checkpoints", least=1)
    log_every: int = _option(10, "count", "steps between lines of losses", least=1)
    seed: int = _option(0, "count", "of every random draw")
    about: Mapping[str, Any] = field(default_factory=dict)

    def total_steps(self, volumes: int) -> int:
        """Steps of the whole run with so many training volumes."""
        return self.steps if self.steps is not None else -(-(self.epochs or 1) * volumes // self.batch)

    def record(self) -> dict[str, Any]:
        """The recipe as plain values, tuples as lists, as it is kept in checkpoints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def published() -> Recipe:
    """The recipe of the paper and its public code (192^3 voxels of 1 mm, full widths), with the code's faults mended."""
    return Recipe(
        spacing=1.0,
        shape=(192, 192, 192),
        widths=(16, 32, 64, 128, 256),
        dropout=0.2,
        steps=None,
        epochs=500,
        final_learning_rate=1e-4,
        schedule="published",
        full_brain_share=0.0,
        augmentation="published",
        precision="fp32",
        packed="last",
    )


PRESETS = {"default": Recipe, "published": published}

MAY_CHANGE = frozenset({"steps", "epochs", "patience", "packed", "name", "title", "about"})
"""What a run may be gone on with differently: all else would make the second half another training than the first."""

OPTIONS: Mapping[str, Field[Any]] = {each.name: each for each in fields(Recipe) if each.metadata}


def recipe_of(given: Mapping[str, Any], where: str) -> Recipe:
    """The recipe that a mapping of options describes, on top of its `preset`; `where` names the source in the `UserError` raised."""
    preset = given.get("preset", "default")
    if preset not in PRESETS:
        raise UserError(f"{where}: preset is {preset!r}; use one of {', '.join(PRESETS)}.")
    base, chosen = PRESETS[preset](), {key: value for key, value in given.items() if key != "preset"}
    for key in chosen:
        if key not in OPTIONS and key != "about":
            raise UserError(f"{where}: {key} is not an option; known are {', '.join([*OPTIONS, 'about', 'preset'])}.")
    values = {key: _checked(value, OPTIONS[key], where) for key, value in chosen.items() if key != "about"}
    if values.get("steps") is not None and values.get("epochs") is not None:
        raise UserError(f"{where}: give steps or epochs, not both.")
    if values.get("epochs") is not None:
        values["steps"] = None
    elif values.get("steps") is not None:
        values["epochs"] = None
    recipe = replace(base, **values, about=_texts(chosen.get("about", base.about), where))
    if recipe.steps is None and recipe.epochs is None:
        raise UserError(f"{where}: give steps or epochs.")
    if recipe.full_brain_share + recipe.scattered_share > 1:
        raise UserError(f"{where}: full_brain_share and scattered_share add up to more than 1.")
    return recipe


def _checked(value: Any, option: Field[Any], where: str) -> Any:
    """`value` as the type of its option."""
    kind, name, told = option.metadata["kind"], option.name, f"{where}: {option.name} is {value!r}"
    if value is None and (option.default is None or name == "steps"):
        return None
    if kind == "text":
        if isinstance(value, str):
            return value
        raise UserError(f"{told}; it must be a text.")
    if kind == "choice":
        if value in option.metadata["choices"]:
            return value
        raise UserError(f"{told}; use one of {', '.join(option.metadata['choices'])}.")
    if kind.startswith("counts"):
        return _counts(value, int(kind.removeprefix("counts")), name, told)
    whole = kind == "count"
    if isinstance(value, str) and not whole:
        # YAML 1.1 reads 1e-3, which has no point, as a text.
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise UserError(f"{told}; it must be a {'whole ' if whole else ''}number.")
    least, below = option.metadata["least"], 1.0 + 1e-12 if kind == "share" else option.metadata["below"]
    if not least <= value < below:
        limits = "between 0 and 1" if kind == "share" else f"at least {least:g}" + (f" and below {below:g}" if below < 1e9 else "")
        raise UserError(f"{told}; it must be {limits}.")
    return int(value) if whole else float(value)


def _counts(value: Any, length: int, name: str, told: str) -> tuple[int, ...]:
    right = isinstance(value, (list, tuple)) and len(value) == length and all(type(v) is int and v > 0 for v in value)
    if not right:
        raise UserError(f"{told}; it must be {length} positive whole numbers.")
    if name == "shape" and any(v % 16 for v in value):
        raise UserError(f"{told}; its sides must be multiples of 16.")
    if name == "widths" and any(narrow > wide for narrow, wide in pairwise((2, *value))):
        raise UserError(f"{told}; it must start at 2 or more and never get smaller.")
    return tuple(value)


def _texts(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, Mapping) and all(isinstance(key, str) and isinstance(v, (str, int, float)) for key, v in value.items()):
        return dict(value)
    raise UserError(f"{where}: about must hold texts by name, e.g. data, licence, attribution.")
