"""What `itermask3d evaluate` does: cases, detectors, the run, the table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from IterMask3DLib.core.card import CARD_FILE
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason
from IterMask3DLib.core.locks import sole
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import about
from IterMask3DLib.evaluation.baselines import Intensity, RobustZScore, ZScore
from IterMask3DLib.evaluation.cases import (
    CALIBRATION,
    COHORT_CHANNEL,
    LABELLED,
    TUMOURS,
    EvaluationCase,
    artefact_cases,
    calibration_cases,
    healthy_cases,
    held_out_brains,
    labelled_cases,
    read_cohort,
    stroke_cases,
)
from IterMask3DLib.evaluation.detectors import Detector, ModelDetector, lines_of_models, one_passes
from IterMask3DLib.evaluation.mean_brain import mean_brain
from IterMask3DLib.evaluation.records import CASES, RecordStore
from IterMask3DLib.evaluation.results import FILES, write_results
from IterMask3DLib.evaluation.run import calibrated, run_cases
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import BUNDLED, DEFAULT_MODEL, find_model, list_models
from IterMask3DLib.preprocessing.labelled import by_contrast, find_labelled
from IterMask3DLib.results.overwriting import check_target
from IterMask3DLib.runtime.distributed import all_gather, current_rank

AUTOENCODER, MEAN_BRAIN = "autoencoder", "mean_brain.npz"
COHORT, SHAPES, LABELLED_VOLUMES = "ixi", "stroke_shapes", "open_ms"
SECOND_COHORT, TUMOUR_VOLUMES = "ds002748", "tumours"
"""Folders in a data folder; these two may be missing."""
_SECONDS_BETWEEN_LINES = 30


def evaluate(options: argparse.Namespace, request: Request) -> int:
    """Runs a protocol and writes the table. Raises `UserError`."""
    models, data = model_detectors(options.model or _bundled(), request), options.data
    cohort = {} if data is None else read_cohort(_existing(data) / COHORT)
    cases = protocol_cases(options, models, cohort, request.seed)
    inputs = [path for path in (data, getattr(options, "folder", None)) if path is not None]
    inputs += [one.model.folder for line in models for one in line.members]
    check_target(options.out, inputs, overwrite=True, is_ours=_may_be_ours)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{options.out} cannot be written ({reason(error)}); choose another folder with -o.") from None
    with sole(options.out, "evaluation") if current_rank().is_first else nullcontext():
        # What a run leaves that ends before its first case is known as an evaluation's by this folder.
        (options.out / CASES).mkdir(exist_ok=True)
        store, detectors = RecordStore(options.out), list[Detector](models)
        if data is not None:
            detectors += baselines(options, models, cohort["train"])
            tuning = calibration_cases(cohort["val"], data / SHAPES, request.seed)
            # For T1w there are strokes, for other contrasts the tumours.
            tuning += [case for case in tumour_cases(data, models, CALIBRATION) if case.channels != (COHORT_CHANNEL,)]
            detectors = calibrated(detectors, tuning, store, track=_bar("Choosing thresholds"), on_problem=_problem)
        run_cases(cases, detectors, store, _bar("Evaluating"), _problem)
        if current_rank().is_first:
            print(write_results(options.out, options.protocol, request, cases, detectors))
        all_gather(None)
    return 0


def model_detectors(names: Sequence[str | None], request: Request) -> list[ModelDetector]:
    """The models that are compared, each under a name of its own; those for one contrast each share a line.

    Raises `UserError` for a model that cannot be used, or a setting that none of them has.
    """
    found = lines_of_models([ModelDetector(load_model(find_model(name)), request) for name in names])
    for detector in found if len(_channels(found)) > 1 else ():
        # Where there are volumes of several contrasts, none goes to a model of another one.
        detector.is_strict = True
    known = {name for detector in found for name in about(detector.spec.Settings)}
    unknown = ", ".join(name for name in request.settings if name not in known)
    if unknown:
        raise UserError(f"No model here has the setting {unknown}; leave it out.")
    return found


def protocol_cases(
    options: argparse.Namespace, models: Sequence[ModelDetector], cohort: Mapping[str, Sequence[Path]], seed: int
) -> list[EvaluationCase]:
    """The cases of the protocol. Problems of any of them are raised as `UserError` before the first is computed."""
    cases: list[EvaluationCase] = []
    if options.protocol == "labelled":
        channels = [options.modality] if options.modality else _channels(models)
        cases += _labelled(options.folder, channels, models, LABELLED)
    else:
        cases += _healthy_brain_cases(options, cohort["test"], seed)
    if options.protocol == "all":
        cases += _labelled(options.data / LABELLED_VOLUMES, _channels(models), models, LABELLED)
        cases += tumour_cases(options.data, models, TUMOURS)
    if getattr(options, "sections", None):
        cases = [case for case in cases if case.section in options.sections]
    # Of the bundled models those are left out that no case needs; one that the user names must be of use.
    for detector in (one for line in models for one in (line.members if options.model else (line,))):
        if not any(detector.accepts(case.channels) for case in cases):
            wanted = " and ".join(detector.model.card.inputs)
            raise UserError(f"Model {detector.model.card.name} needs the input {wanted}, which no case of these has.")
    return cases


def _healthy_brain_cases(options: argparse.Namespace, test: Sequence[Path], seed: int) -> list[EvaluationCase]:
    """Healthy brains of each scanner, strokes in them, and artefacts in those of the first."""
    scanners = {COHORT: list(test)}
    if (options.data / SECOND_COHORT).is_dir():
        scanners[SECOND_COHORT] = held_out_brains(options.data / SECOND_COHORT)
    if options.scanner is not None:
        if options.scanner not in scanners:
            raise UserError(f"{options.data} has no scanner {options.scanner}; it has {', '.join(scanners)}.")
        scanners = {options.scanner: scanners[options.scanner]}
    cases = []
    for name, brains in scanners.items():
        chosen = brains[: options.brains]
        cases += healthy_cases(chosen) + stroke_cases(chosen, options.data / SHAPES, seed)
        cases += artefact_cases(chosen, seed) if name == next(iter(scanners)) else []
    return cases


def tumour_cases(data: Path, models: Sequence[ModelDetector], section: str) -> list[EvaluationCase]:
    """The tumours of a data folder, none where it has none."""
    folder = data / TUMOUR_VOLUMES
    return _labelled(folder, _channels(models), models, section) if folder.is_dir() else []


def _labelled(
    folder: Path, channels: Sequence[str], models: Sequence[ModelDetector], section: str
) -> list[EvaluationCase]:
    """Labelled cases; where every model takes one channel, each volume is a case."""
    found = find_labelled(folder, channels)
    several = any(len(one.model.card.inputs) > 1 for one in models)
    return labelled_cases(found if several else by_contrast(found), section)


def _channels(models: Sequence[ModelDetector]) -> list[str]:
    """The input channels of all models."""
    return list(dict.fromkeys(name for line in models for one in line.members for name in one.model.card.inputs))


def _bundled() -> list[str]:
    """The bundled models, the default first."""
    return [entry.name for entry in list_models() if entry.origin == BUNDLED and entry.card is not None] or [
        DEFAULT_MODEL
    ]


def baselines(options: argparse.Namespace, models: Sequence[ModelDetector], volumes: Sequence[Path]) -> list[Detector]:
    """Every baseline, the learning ones trained on healthy volumes; one pass is that of the first model."""
    found: list[Detector] = list(one_passes(models[0]))
    if AUTOENCODER not in (detector.spec.name for detector in models):
        found.append(_autoencoder(options, models))
    healthy = mean_brain(volumes, options.out / MEAN_BRAIN, _bar("Mean healthy brain"))
    return [*found, ZScore(healthy), RobustZScore(), Intensity()]


def _autoencoder(options: argparse.Namespace, models: Sequence[ModelDetector]) -> ModelDetector:
    """The model that was given (a folder, or `model` in it), or the one in OUT, trained where it is missing."""
    folder = options.autoencoder or options.out / AUTOENCODER
    if options.autoencoder is None and not (folder / "model" / CARD_FILE).exists():
        _train(options.data, folder, models[0].request.device)
    inside = folder / "model"
    # A single pass does not pay for compiling the network: 0.9 s a brain instead of 6.4 s.
    request = replace(models[0].request, settings={}, backend="pytorch")
    detector = ModelDetector(load_model(inside if inside.is_dir() else folder), request, AUTOENCODER)
    detector.is_strict = len(_channels(models)) > 1
    return detector


def train_autoencoder(options: argparse.Namespace) -> int:
    """Trains the auto-encoder on the training split of the healthy cohort. Raises `UserError`."""
    device = getattr(options, "device", Request().device)
    chosen = {} if options.steps is None else {"steps": options.steps}
    _train(_existing(options.data), options.out, device, chosen)
    if current_rank().is_first:
        print(options.out / "model")
    return 0


def _train(data: Path, folder: Path, device: str, chosen: dict[str, Any] | None = None) -> None:
    try:
        from IterMask3DLib.training.options import training_options
        from IterMask3DLib.training.run import TrainingRequest, train
    except ImportError as error:
        raise UserError(
            f"Training needs {error.name}, which is missing; run: pip install itermask3d[evaluate]"
        ) from None
    options = training_options(AUTOENCODER, chosen or {}, "itermask3d evaluate")
    with tqdm(desc="Training the auto-encoder", unit=" steps", **_bar_options()) as bar:

        def show(event: Any) -> None:
            if isinstance(event, str) and event.startswith("warning"):
                bar.write(event, file=sys.stderr)
            elif isinstance(event, str):
                bar.set_postfix_str(event)
            else:
                bar.total = event.total
                bar.update(event.step - bar.n)

        train(TrainingRequest(data=(data / COHORT,), run=folder, options=options, device=device), show)


def _may_be_ours(out: Path) -> bool:
    """Whether a folder has nothing that an evaluation would replace, or is that of an evaluation."""
    return (out / CASES).is_dir() or not any((out / name).exists() for name in (*FILES, MEAN_BRAIN))


def _existing(data: Path) -> Path:
    if not data.is_dir():
        folders = f"{COHORT}/, {SHAPES}/ and {LABELLED_VOLUMES}/"
        raise UserError(f"{data} is not a folder; give the data folder with {folders}.")
    return data


def _bar(title: str) -> Callable[[Sequence[Any]], Iterable[Any]]:
    return partial(tqdm, desc=title, unit=" cases", **_bar_options())


def _bar_options() -> dict[str, Any]:
    """A bar that moves on a terminal, a line now and then elsewhere; the first of several processes draws it."""
    often = 0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LINES
    return {"file": sys.stderr, "mininterval": often, "disable": not current_rank().is_first}


def _problem(sentence: str) -> None:
    tqdm.write(f"error: {sentence}", file=sys.stderr)
