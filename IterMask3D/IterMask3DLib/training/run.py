"""`itermask3d train`: from a folder of volumes to a model folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import Card
from IterMask3DLib.runtime.device import DeviceName, choose_place
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import find_model, load_model
from IterMask3DLib.runtime.distributed import position
from IterMask3DLib.training.cache import Cached, cut_volumes, fitted_shape, prepared
from IterMask3DLib.training.cohort import Split, find_cohort
from IterMask3DLib.training.fabric import fast_precision, processes_here, start_fabric
from IterMask3DLib.training.feed import usual_workers
from IterMask3DLib.training.loop import Job, Trainer
from IterMask3DLib.training.monitor import Monitor
from IterMask3DLib.training.pack import chosen_weights, pack
from IterMask3DLib.training.recipe import OPTIONS, PRESETS, Recipe

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What a user asks for: the folder of volumes, the folder of the run, the recipe, and how to go about it."""

    data: Path
    run: Path
    recipe: Recipe
    preset: str = "default"
    masks: Path | None = None
    cache: Path | None = None
    device: DeviceName = "auto"
    workers: int | None = None


def train(order: Order) -> Card:
    """Prepares the volumes, trains or goes on, and writes `order.run`/model. Returns its card. Raises `UserError`."""
    recipe, here = order.recipe, position()
    split = find_cohort(order.data, recipe.modality, recipe.validation_share, recipe.seed, order.masks)
    if recipe.batch % here.world:
        raise UserError(f"A batch of {recipe.batch} cannot be shared by {here.world} processes; give --batch a multiple of them.")
    precision = fast_precision(choose_place(order.device).device, recipe.precision)
    fabric = start_fabric(order.device, precision)
    try:
        order.run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{order.run} cannot be written ({error.strerror}); choose another folder with -o.") from None
    say = _say if here.rank == 0 else _silent
    training, validation = _volumes(order, split, say)
    workers = order.workers or usual_workers(fabric.device.type, processes_here())
    trainer = Trainer(Job(training, validation, recipe, order.run, precision, workers), fabric)
    begun = f"going on from step {trainer.progress.step}" if trainer.progress.step else "beginning"
    sizes = f"{len(training)} training and {len(validation)} validation volumes of {_sides(training.shape)} voxels"
    say(f"{sizes}, {precision}, {fabric.device}; {begun}")
    monitor = Monitor(order.run, sys.stderr, trainer.progress.step, trainer.total) if here.rank == 0 else None
    try:
        trainer.run(monitor)
    except KeyboardInterrupt:
        raise UserError(f"{order.run}: interrupted; the same command goes on from the last checkpoint.") from None
    finally:
        if monitor is not None:
            monitor.close()
    return _packed(order, split, training, validation, fabric, say)


def _packed(order: Order, split: Split, training: Cached, validation: Cached, fabric: Any, say: Tell) -> Card:
    # The first process reads for all, so that machines need not share the folder of the run.
    weights = fabric.broadcast(chosen_weights(order.run, order.recipe) if fabric.is_global_zero else None)
    say("choosing gamma on the validation volumes" if len(validation) else "no validation volumes: gamma is the published 0.05")
    facts: dict[str, Any] = {
        "subjects": len({source.subject for source in split.training}),
        "volumes": len(training),
        "command": command_of(order),
    }
    if order.recipe.initial:
        first = load_model(find_model(order.recipe.initial)).card
        facts["initial weights"] = f"{first.name}, sha256 {first.sha256}"
    return pack(order.run, weights, order.recipe, training.shape, validation, facts, order.device)


def _volumes(order: Order, split: Split, say: Tell) -> tuple[Cached, Cached]:
    spacing, folder = order.recipe.spacing, order.cache or order.run / "cache"
    files = prepared((*split.training, *split.validation), folder, spacing, say)
    shape = order.recipe.shape or fitted_shape(files)
    if order.recipe.augmentation == "published" and shape[0] != shape[2]:
        raise UserError(f"Quarter turns need a grid as wide along its first axis as along its last, not {_sides(shape)}; change --shape.")
    cut = cut_volumes(files, shape)
    if cut:
        say(f"warning: {cut} of {len(files)} brains do not fit into {_sides(shape)} voxels and are cut; give a larger --shape")
    count = len(split.training)
    return Cached(files[:count], shape), Cached(files[count:], shape)


def command_of(order: Order) -> str:
    """The command that repeats the run, whatever mixture of file and options it was given as; folders by their names alone."""
    usual, words = PRESETS[order.preset](), ["itermask3d", "train", order.data.resolve().name, "-o", order.run.resolve().name]
    if order.preset != "default":
        words += ["--preset", order.preset]
    if order.masks is not None:
        words += ["--brain-masks", order.masks.resolve().name]
    for name in OPTIONS:
        value = getattr(order.recipe, name)
        if value != getattr(usual, name) and value is not None:
            values = value if isinstance(value, tuple) else (Path(value).name,) if name == "initial" else (value,)
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _silent(text: str) -> None:
    del text
