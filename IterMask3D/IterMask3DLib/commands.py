"""What each subcommand of `itermask3d` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from IterMask3DLib.methods.itermask3d.convert import convert
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import Model, find_model, install, list_models, load_model, verify
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.runtime.distributed import position, share, together
from IterMask3DLib.preprocessing.read import case_name, read_image
from IterMask3DLib.evaluation.cli import run_evaluate
from IterMask3DLib.run import Request, segment, settings_of
from IterMask3DLib.core.progress import ProgressBar, clock
from IterMask3DLib.results.lesions import find_lesions
from IterMask3DLib.results.outcome import CaseOutcome
from IterMask3DLib.results.writer import check_writable, write_case
from IterMask3DLib.training.calibrate_cli import run_calibrate
from IterMask3DLib.training.cli import run_train


def run(options: argparse.Namespace) -> int:
    """Does what the parsed command line asks; returns the exit code. Raises `UserError`."""
    if options.command == "segment":
        return segment_all(options.input, options)
    if options.command == "demo":
        return segment_all([str(sample_volume())], options)
    if options.command == "train":
        return run_train(options)
    if options.command == "calibrate":
        return run_calibrate(options)
    if options.command == "evaluate":
        return run_evaluate(options)
    if options.command == "convert":
        card = convert(
            options.checkpoint,
            options.out,
            name=options.out.name,
            modality=options.modality,
            spacing=options.spacing,
            shape=tuple(options.shape),
            gamma=options.gamma,
        )
        print(f"{options.out}: model {card.name}, sha256 {card.sha256}")
        return 0
    return _models(options)


def segment_all(inputs: Sequence[str], options: argparse.Namespace) -> int:
    """Segments this process's share of the inputs; a failing case is told and does not stop the others. Returns 1 if any failed."""
    model = load_model(find_model(options.model))
    names = [case_name(path) for path in inputs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"Several inputs would write the case {name}; give them different file names.")
    failed = 0
    for path, name in share(list(zip(inputs, names, strict=True))):
        try:
            _segment_one(path, name, model, options)
        except UserError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    failed = sum(together(failed))
    if len(inputs) > 1 and position().rank == 0:
        print(f"{len(inputs) - failed} of {len(inputs)} cases done.")
    return 1 if failed else 0


def _segment_one(path: str, name: str, model: Model, options: argparse.Namespace) -> None:
    check_writable(options.out, name, options.overwrite)
    volume = read_image(path)
    brain_mask = read_image(options.brain_mask) if getattr(options, "brain_mask", None) else None
    request = Request(
        device=options.device,
        backend=options.backend,
        quality=options.quality,
        gamma=options.gamma,
        start=options.start,
        seed=options.seed,
        save_iterations=options.save_iterations,
    )
    bar = ProgressBar(sys.stderr, name, settings_of(model, request).sweep_passes)
    try:
        outcome = segment(volume, model, request, brain_mask, bar.phase, bar.step)
        bar.phase("writing the results")
        folder = write_case(options.out, outcome, overwrite=options.overwrite)
    finally:
        bar.close()
    _tell(outcome, folder)


def _tell(outcome: CaseOutcome, folder: Path) -> None:
    lesions = find_lesions(outcome.anomaly, outcome.heatmap, outcome.volume.affine)[0]
    total = sum(lesion.volume_ml for lesion in lesions)
    seconds = clock(float(str(outcome.provenance["seconds"])))
    print(
        f"{outcome.case}: anomaly {total:.1f} ml in {len(lesions)} lesions; brain {outcome.brain_ml:.0f} ml ({outcome.brain_source}); {seconds}"
    )
    for warning in outcome.warnings:
        print(f"  warning: {warning}")
    print(f"  {folder / (outcome.case + '_report.html')}")


def _models(options: argparse.Namespace) -> int:
    if options.action == "list":
        return _list(options.folder)
    if options.action == "install":
        print(install(options.source, overwrite=options.overwrite))
        return 0
    folder = find_model(options.model)
    if options.action == "show":
        print((folder / "card.json").read_text(encoding="utf-8").strip())
    else:
        card = verify(folder)
        print(f"{card.name}: the card, the checksum and the tensors are right.")
    return 0


def _list(folder: Path | None) -> int:
    problems = 0
    for entry in list_models(folder):
        problems += entry.problem is not None
        about = entry.problem or (f"{entry.card.title} ({entry.card.modality}, {entry.card.grid.spacing:g} mm)" if entry.card else "")
        print(f"{entry.name:20} {entry.origin:10} {about}\n{'':20} {entry.folder}")
    return 1 if problems else 0
