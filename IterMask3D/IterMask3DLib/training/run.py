"""A whole training: from a folder of healthy volumes to a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason
from IterMask3DLib.core.locks import sole
from IterMask3DLib.core.request import Request
from IterMask3DLib.methods.base import Healthy, Report, Trainable, TrainingTask
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.device import choose_device
from IterMask3DLib.runtime.distributed import current_rank
from IterMask3DLib.runtime.runner import Runtime, is_too_small
from IterMask3DLib.training.cache import (
    AlikeCohorts,
    CachedSlices,
    CachedVolumes,
    count_cut,
    fitted_shape,
    prepared,
    scaled_volume,
)
from IterMask3DLib.training.checkpoint import CHECKPOINT
from IterMask3DLib.training.cohort import Split, find_cohort
from IterMask3DLib.training.devices import fast_precision, processes_here, start_fabric
from IterMask3DLib.training.examples import StageExamples, explaining_killed_workers, usual_workers
from IterMask3DLib.training.loop import StageSetup, StageTrainer
from IterMask3DLib.training.model_folder import MODEL, Trained, card_of, write_model
from IterMask3DLib.training.monitor import Monitor, OnEvent
from IterMask3DLib.training.options import SYNTHETIC, TrainingOptions, command_of, options_of_stage
from IterMask3DLib.training.tissue_maps import CachedTissueMaps, tissue_maps
from IterMask3DLib.training.validation import validation_errors
from IterMask3DLib.training.weights import ChosenWeights, chosen_weights, initial_model


@dataclass(frozen=True)
class TrainingRequest:
    """A training that is asked for.

    Attributes:
        data: folders of healthy volumes, one a scanner; run: folder of the run, and of the model in the end.
        options: how; preset: what they are based on.
        masks: folder of brain masks; cache: of prepared volumes (None: in `run`).
        device: auto, cuda, mps or cpu; workers: processes that make batches (None: as many as help).
        split: table that says who trains and who validates, before those of `data`.
    """

    data: tuple[Path, ...]
    run: Path
    options: TrainingOptions
    preset: str = "default"
    masks: Path | None = None
    cache: Path | None = None
    device: str = "auto"
    workers: int | None = None
    split: Path | None = None


def nothing(event: object) -> None:
    """Hears nothing."""


def train(request: TrainingRequest, on_event: OnEvent = nothing) -> ModelCard:
    """Prepares the volumes, trains or goes on, and writes `request.run`/model; returns its card.

    Args:
        on_event: hears sentences for the user and `TrainingProgress`, in the first process alone.

    Raises:
        UserError: for everything that can go wrong on the way, an interrupt included.
    """
    try:
        return _train(request, on_event if current_rank().is_first else nothing)
    except KeyboardInterrupt:
        raise UserError(f"{request.run}: interrupted; the same command goes on from the last checkpoint.") from None
    except OSError as error:
        where = error.filename or request.run
        raise UserError(
            f"{where} cannot be read or written ({reason(error)}); the same command goes on once that is mended."
        ) from None


def _train(request: TrainingRequest, report: OnEvent) -> ModelCard:
    options, spec = request.options, find_method(request.options.method)
    _check_places(request)
    method = spec.load()
    if not isinstance(method, Trainable):
        raise UserError(f"The method {spec.name} cannot be trained here; choose another --method.")
    initial = initial_model(options) if options.initial else None
    grid = CardGrid(options.spacing, (spec.side_multiple,) * spec.dimensions, spec.side_multiple, options.slice_spacing)
    name = options.name or request.run.resolve().name
    card = ModelCard(name, "", spec.name, options.modality, grid, {}, spec.intensity)
    # Made once before the volumes are prepared, so that what cannot be trained is refused at once.
    _check_batches(method.training_task(card, options.settings), options)
    splits = _splits(request, report)
    precision = fast_precision(choose_device(request.device).kind, options.precision)
    fabric = start_fabric(request.device, precision)
    request.run.mkdir(parents=True, exist_ok=True)
    with sole(request.run, "training") if current_rank().is_first else nullcontext():
        files = _prepared_files(request, splits, card, report)
        card = replace(card, grid=replace(card.grid, shape=_grid_shape(files, options, card, report)))
        task = method.training_task(card, options.settings)
        brains = _brains(files, card.grid, options, task)
        report(f"{_sizes(brains)}, {precision}, {fabric.device}")
        trained = _train_stages(request, task, brains, fabric, precision, initial, report)
        facts: dict[str, Any] = {
            "subjects": sum(len({source.subject for source in split.training}) for split in splits),
            "volumes": len(brains.training),
            "command": command_of(options, request.preset, request.data, request.run, request.masks, request.split),
        }
        if initial is not None:
            facts["initial weights"] = f"{initial.card.name}, sha256 {initial.card.sha256}"
        card = card_of(trained, card, facts, len(brains.validation))
        runtime = Runtime.of(Request(device=request.device))
        return write_model(request.run / MODEL, method, card, trained, brains.validation, runtime, report)


@dataclass(frozen=True)
class _Brains:
    """The volumes of the cohorts, and what is learned from and validated with: they themselves, or their slices.

    Where scans are synthetic, tissue maps are learned from, and `training` counts their files alone.
    """

    training: CachedVolumes
    validation: CachedVolumes
    learned_from: Sequence[Any]
    validated_with: Sequence[Healthy]


def _train_stages(
    request: TrainingRequest,
    task: TrainingTask,
    brains: _Brains,
    fabric: Any,
    precision: str,
    initial: Model | None,
    report: OnEvent,
) -> Trained:
    networks: dict[str, Any] = {}
    chosen: list[ChosenWeights] = []
    errors = {}
    for number, stage in enumerate(task.stages):
        folder = request.run / stage.name if len(task.stages) > 1 else request.run
        folder.mkdir(exist_ok=True)
        options = options_of_stage(request.options, stage)
        setup = StageSetup(
            task,
            number,
            options,
            brains.learned_from,
            brains.validated_with,
            brains.training.key,
            folder,
            precision,
            request.workers or usual_workers(fabric.device.type, processes_here()),
            networks,
            "+".join(weights.key for weights in chosen),
            initial,
        )
        trainer = StageTrainer(setup, fabric)
        begun = trainer.progress.step
        report(f"{stage.name}: {f'going on from step {begun}' if begun else 'beginning'}")
        monitor = Monitor(folder, stage.name, begun, trainer.total, report) if fabric.is_global_zero else None
        try:
            with explaining_killed_workers():
                trainer.run(monitor)
        except (RuntimeError, ValueError) as error:
            if not is_too_small(error):
                raise
            sides = _sides(brains.training.grid.shape)
            raise UserError(
                f"{sides} voxels are too few for the network; give --shape or a smaller --spacing."
            ) from None
        finally:
            if monitor is not None:
                monitor.close()
        # The first process reads for all, so that machines need not share the folder of the run.
        weights = fabric.broadcast(chosen_weights(folder, options) if fabric.is_global_zero else None)
        chosen.append(weights)
        networks = {**networks, **trainer.trained(weights.networks)}
        if len(brains.validated_with):
            examples = StageExamples(task, number, brains.validated_with, options)
            errors[stage.name] = validation_errors(task, examples, networks, fabric.device)
    return Trained(task, request.options, chosen, networks, errors)


def _check_places(request: TrainingRequest) -> None:
    """Raises `UserError` where the run would write over what it is given, or over a model it did not make."""
    run, model = request.run.resolve(), (request.run / MODEL).resolve()
    for folder in filter(None, (*request.data, request.masks)):
        if run == folder.resolve() or folder.resolve() in run.parents:
            raise UserError(
                f"{request.run} lies in {folder}, where nothing may be overwritten; choose another with -o."
            )
    initial = [Path(request.options.initial)] if request.options.initial else []
    for given in filter(None, (*request.data, request.masks, *initial)):
        if model == given.resolve() or model in given.resolve().parents:
            raise UserError(f"{given} lies in {model}, which the training replaces; choose another folder with -o.")
    begun = [path for pattern in (CHECKPOINT, f"*/{CHECKPOINT}") for path in request.run.glob(pattern)]
    if model.exists() and not begun:
        raise UserError(f"{model} exists already, and no training that began in {request.run}; choose another with -o.")


def _check_batches(task: TrainingTask, options: TrainingOptions) -> None:
    processes = current_rank().world_size
    for batch in (options.batch, *(options_of_stage(options, stage).batch for stage in task.stages)):
        if batch % processes:
            raise UserError(
                f"A batch of {batch} cannot be shared by {processes} processes; give --batch a multiple of them."
            )


def _splits(request: TrainingRequest, report: Report) -> list[Split]:
    """Who is learned from and who validates, by cohort. Raises `UserError`."""
    options, splits = request.options, []
    for data in request.data:
        share, seed = options.validation_share, options.seed
        split = find_cohort(data, options.modality, share, seed, request.masks, request.split)
        if split.left_out:
            report(f"warning: {len(split.left_out)} brains lack one of {', '.join(options.modality)} and are left out")
        splits.append(split)
    if options.augmentation == SYNTHETIC and not any(split.validation for split in splits):
        raise UserError("Synthetic scans are validated with real volumes, but none is left for that; check the split.")
    return splits


@dataclass(frozen=True)
class _Files:
    """Prepared files of the training, by cohort, and of the validation."""

    training: tuple[tuple[Path, ...], ...]
    validation: tuple[Path, ...]


def _prepared_files(request: TrainingRequest, splits: Sequence[Split], card: ModelCard, report: Report) -> _Files:
    folder = request.cache or request.run / "cache"
    making = tissue_maps if request.options.augmentation == SYNTHETIC else scaled_volume
    training = tuple(prepared(split.training, folder, card, report, making) for split in splits)
    validation = prepared([source for split in splits for source in split.validation], folder, card, report)
    return _Files(training, validation)


def _grid_shape(files: _Files, options: TrainingOptions, card: ModelCard, report: Report) -> tuple[int, ...]:
    every = [file for cohort in (*files.training, files.validation) for file in cohort]
    shape = options.shape or fitted_shape(every, len(card.grid.shape))
    if options.augmentation == "published" and shape[0] != shape[-1]:
        raise UserError(
            f"Quarter turns need a grid with its first side as long as its last, not {_sides(shape)}; change --shape."
        )
    cut = count_cut(every, shape)
    if cut:
        report(
            f"warning: {cut} of {len(every)} brains do not fit into {_sides(shape)} voxels and are cut; enlarge --shape"
        )
    return tuple(shape)


def _brains(files: _Files, grid: CardGrid, options: TrainingOptions, task: TrainingTask) -> _Brains:
    """Raises `UserError`."""

    def examples(volumes: CachedVolumes) -> Sequence[Any]:
        if options.augmentation == SYNTHETIC:
            return CachedTissueMaps(volumes.files, grid)
        return CachedSlices(volumes, task.smallest_slice) if grid.is_2d else volumes

    cohorts = tuple(examples(CachedVolumes(cohort, grid)) for cohort in files.training)
    learned_from = cohorts[0] if len(cohorts) == 1 else AlikeCohorts(cohorts)
    training = CachedVolumes(tuple(file for cohort in files.training for file in cohort), grid)
    validation = CachedVolumes(files.validation, grid)
    validated_with = CachedSlices(validation, task.smallest_slice) if grid.is_2d else validation
    return _Brains(training, validation, learned_from, validated_with)


def _sizes(brains: _Brains) -> str:
    volumes = f"{len(brains.training)} training and {len(brains.validation)} validation volumes"
    if brains.training.grid.is_2d:
        volumes += f" ({len(brains.learned_from)} and {len(brains.validated_with)} slices)"
    return f"{volumes} of {_sides(brains.training.grid.shape)} voxels"


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
