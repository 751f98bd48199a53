"""What `itermask3d evaluate` does: cases, detectors, the run, the table."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from IterMask3DLib.core.card import CARD_FILE
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import reason
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import about
from IterMask3DLib.evaluation.baselines import Intensity, ZScore
from IterMask3DLib.evaluation.cases import (
    EvaluationCase,
    artefact_cases,
    calibration_cases,
    healthy_cases,
    labelled_cases,
    read_cohort,
    stroke_cases,
)
from IterMask3DLib.evaluation.detectors import Detector, ModelDetector, one_passes
from IterMask3DLib.evaluation.labelled import find_labelled
from IterMask3DLib.evaluation.mean_brain import mean_brain
from IterMask3DLib.evaluation.records import CASES, RecordStore
from IterMask3DLib.evaluation.results import FILES, write_results
from IterMask3DLib.evaluation.run import calibrated, run_cases
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.results.overwriting import check_target
from IterMask3DLib.runtime.distributed import all_gather, current_rank

AUTOENCODER, MEAN_BRAIN = "autoencoder", "mean_brain.npz"
COHORT, SHAPES, LABELLED_VOLUMES = "ixi", "stroke_shapes", "open_ms"
"""Folders in a data folder."""
_SECONDS_BETWEEN_LINES = 30


def evaluate(options: argparse.Namespace, request: Request) -> int:
    """Runs a protocol and writes the table. Raises `UserError`."""
    models, data = model_detectors(options.model or [None], request), options.data
    cohort = {} if data is None else read_cohort(_existing(data) / COHORT)
    cases = protocol_cases(options, models, cohort, request.seed)
    inputs = [path for path in (data, getattr(options, "folder", None)) if path is not None]
    check_target(options.out, [*inputs, *(each.model.folder for each in models)], overwrite=True, is_ours=_may_be_ours)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{options.out} cannot be written ({reason(error)}); choose another folder with -o.") from None
    store, detectors = RecordStore(options.out), list[Detector](models)
    if data is not None:
        detectors += baselines(options, models, cohort["train"])
        strokes = calibration_cases(cohort["val"], data / SHAPES, request.seed)
        detectors = calibrated(detectors, strokes, store, track=_bar("Choosing thresholds"), on_problem=_problem)
    run_cases(cases, detectors, store, _bar("Evaluating"), _problem)
    if current_rank().is_first:
        print(write_results(options.out, options.protocol, request, cases, detectors))
    all_gather(None)
    return 0


def model_detectors(names: Sequence[str | None], request: Request) -> list[ModelDetector]:
    """The models that are compared, each under a name of its own.

    Raises `UserError` for a model that cannot be used, or a setting that none of them has.
    """
    models = [load_model(find_model(name)) for name in names]
    methods = [model.card.method for model in models]
    found: list[ModelDetector] = []
    for model in models:
        detector = ModelDetector(model, request)
        if methods.count(model.card.method) > 1:
            detector.name = re.sub(r"[^\w+-]+", "_", f"{detector.name}_{model.card.name}")
            detector.title = f"{detector.title}, {model.card.name}"
        if detector.name in (other.name for other in found):
            raise UserError(f"Two models are called {model.card.name}; give each its own name, or one of them once.")
        found.append(detector)
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
    channels = list(dict.fromkeys(name for detector in models for name in detector.model.card.inputs))
    if options.protocol == "labelled":
        cases += labelled_cases(find_labelled(options.folder, [options.modality] if options.modality else channels))
    else:
        brains = cohort["test"][: options.brains]
        cases += (
            healthy_cases(brains) + stroke_cases(brains, options.data / SHAPES, seed) + artefact_cases(brains, seed)
        )
    if options.protocol == "all":
        cases += labelled_cases(find_labelled(options.data / LABELLED_VOLUMES, channels))
    for detector in models:
        if not any(detector.accepts(case.channels) for case in cases):
            wanted = " and ".join(detector.model.card.inputs)
            raise UserError(f"Model {detector.model.card.name} needs the input {wanted}, which no case of these has.")
    return cases


def baselines(options: argparse.Namespace, models: Sequence[ModelDetector], volumes: Sequence[Path]) -> list[Detector]:
    """Every baseline, the learning ones trained on healthy volumes; one pass is that of the first model."""
    found: list[Detector] = list(one_passes(models[0]))
    if AUTOENCODER not in (detector.spec.name for detector in models):
        found.append(_autoencoder(options, models[0].request))
    found.append(ZScore(mean_brain(volumes, options.out / MEAN_BRAIN, _bar("Mean healthy brain"))))
    # On T1 strokes and multiple sclerosis are dark, on other contrasts bright.
    side = "dark" if models[0].model.card.inputs[0].startswith("T1") else "bright"
    return [*found, Intensity(side)]


def _autoencoder(options: argparse.Namespace, request: Request) -> ModelDetector:
    """The model that was given (a folder, or `model` in it), or the one in OUT, trained where it is missing."""
    folder = options.autoencoder or options.out / AUTOENCODER
    if options.autoencoder is None and not (folder / "model" / CARD_FILE).exists():
        _train(options.data, folder, request.device)
    inside = folder / "model"
    # A single pass does not pay for compiling the network: 0.9 s a brain instead of 6.4 s.
    request = replace(request, settings={}, backend="pytorch")
    return ModelDetector(load_model(inside if inside.is_dir() else folder), request, AUTOENCODER)


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
