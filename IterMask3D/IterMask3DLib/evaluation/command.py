"""What `itermask3d evaluate` does: cases, finders, the run, the table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import Model, find_model, load_model
from IterMask3DLib.runtime.distributed import position, together
from IterMask3DLib.evaluation import autoencoder
from IterMask3DLib.evaluation.baselines import AutoEncoderError, Intensity, ZScore
from IterMask3DLib.evaluation.finders import Finder, IterMask3D, Scorer, one_passes
from IterMask3DLib.evaluation.labelled import find_labelled
from IterMask3DLib.evaluation.mean_brain import mean_brain
from IterMask3DLib.evaluation.protocols import (
    Cohort,
    Trial,
    artefact_trials,
    calibration_trials,
    healthy_trials,
    labelled_trials,
    read_cohort,
    stroke_trials,
)
from IterMask3DLib.evaluation.results import Run, write_results
from IterMask3DLib.evaluation.run import calibrated, run_trials
from IterMask3DLib.evaluation.store import Store
from IterMask3DLib.evaluation.tally import Tally
from IterMask3DLib.run import Request


@dataclass(frozen=True)
class Sources:
    """The parts of a data folder."""

    cohort: Path
    shapes: Path
    labelled: Path

    @classmethod
    def of(cls, data: Path) -> Sources:
        if not data.is_dir():
            raise UserError(f"{data} is not a folder; give the data folder with ixi/, stroke_shapes/ and open_ms/.")
        return cls(data / "ixi", data / "stroke_shapes", data / "open_ms")


def evaluate(options: argparse.Namespace) -> int:
    """Runs a protocol and writes the table. Raises `UserError`."""
    model = load_model(find_model(options.model))
    request = Request(device=options.device, gamma=options.gamma, seed=options.seed, quality=options.quality, backend=options.backend)
    options.out.mkdir(parents=True, exist_ok=True)
    data = options.data
    sources = None if data is None else Sources.of(data)
    cohort = None if sources is None else read_cohort(sources.cohort)
    trials = _trials(options, model, sources, cohort)
    store, tally = Store(options.out), Tally(sys.stderr, quiet=position().rank > 0)
    finders: list[Finder] = [IterMask3D(model, request)]
    try:
        if sources is not None and cohort is not None:
            scorers = _baselines(options, model, request, cohort, tally)
            tally.begin("Choosing the baselines' thresholds")
            finders += calibrated(scorers, calibration_trials(cohort.val, sources.shapes, options.seed), store, tally.case)
        tally.begin("Evaluating")
        run_trials(trials, finders, store, tally.case)
    finally:
        tally.close()
    if position().rank == 0:
        print(write_results(options.out, Run(trials, finders, store, model, request, options.protocol)))
    together(None)
    return 0


def train_autoencoder(options: argparse.Namespace) -> int:
    """Trains the auto-encoder on the training split of the healthy cohort. Raises `UserError`."""
    settings = autoencoder.Settings()
    settings = settings if options.steps is None else replace(settings, steps=options.steps)
    tally = Tally(sys.stderr, quiet=position().rank > 0)
    _autoencoder(options.out, read_cohort(Sources.of(options.data).cohort), settings, tally)
    if position().rank == 0:
        print(options.out / autoencoder.WEIGHTS)
    return 0


def _trials(options: argparse.Namespace, model: Model, sources: Sources | None, cohort: Cohort | None) -> list[Trial]:
    """The cases of the protocol; problems of any of them are told before the first is computed."""
    trials: list[Trial] = []
    if options.protocol in ("all", "synthetic") and sources is not None and cohort is not None:
        brains = cohort.test[: options.brains]
        trials += healthy_trials(brains) + stroke_trials(brains, sources.shapes, options.seed) + artefact_trials(brains, options.seed)
    if options.protocol == "all" and sources is not None:
        trials += labelled_trials(find_labelled(sources.labelled, model.card.modality))
    if options.protocol == "labelled":
        trials += labelled_trials(find_labelled(options.folder, options.modality or model.card.modality))
    return trials


def _baselines(options: argparse.Namespace, model: Model, request: Request, cohort: Cohort, tally: Tally) -> Sequence[Scorer]:
    """Every baseline, trained on the training split where it learns."""
    folder = options.autoencoder
    if folder is None:
        folder = options.out / "autoencoder"
        _autoencoder(folder, cohort, autoencoder.Settings(), tally)
    tally.begin("Laying healthy brains over each other")
    healthy = mean_brain(cohort.train, options.out / "mean_brain.npz", lambda done, count: tally.case(done, count, ""))
    return [
        *one_passes(model, request),
        AutoEncoderError.read(folder, request.device),
        ZScore(healthy),
        # On T1 strokes and multiple sclerosis are dark, on other contrasts bright.
        Intensity("dark" if model.card.modality.startswith("T1") else "bright"),
    ]


def _autoencoder(folder: Path, cohort: Cohort, settings: autoencoder.Settings, tally: Tally) -> None:
    """Trains in the first process; the others wait."""
    if position().rank == 0 and not autoencoder.trained(folder):
        tally.begin("Training the auto-encoder")
        autoencoder.train(cohort.train, folder, settings, on_step=lambda step, steps, loss: tally.case(step, steps, f"loss {loss:.3f}"))
    together(None)
