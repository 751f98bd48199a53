"""What each subcommand of `itermask3d` does."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from IterMask3DLib.core.card import CARD_FILE
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import one_line
from IterMask3DLib.core.progress import clock
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.models.catalogue import find_model, list_models


def run(parsed: argparse.Namespace) -> int:
    """Does what the parsed command line asks; returns the exit code. Raises `UserError`."""
    if parsed.command == "segment":
        return _segment(parsed)
    if parsed.command == "demo":
        parsed.input, parsed.channel, parsed.brain_mask = [str(sample_volume())], [], None
        return _segment(parsed)
    if parsed.command == "train":
        from IterMask3DLib.training.cli import run_train

        return run_train(parsed)
    if parsed.command == "calibrate":
        from IterMask3DLib.training.calibrate_cli import run_calibrate

        return run_calibrate(parsed)
    if parsed.command == "evaluate":
        from IterMask3DLib.evaluation.cli import run_evaluate

        return run_evaluate(parsed)
    if parsed.command == "convert":
        return _convert(parsed)
    return _models(parsed)


def _segment(parsed: argparse.Namespace) -> int:
    """Segments this process's shard of the inputs; a failing case is told and does not stop the others."""
    from IterMask3DLib.batch import DONE, FAILED, CaseFiles, cases_of, segment_cases
    from IterMask3DLib.cli import OWN
    from IterMask3DLib.methods.loading import load_model
    from IterMask3DLib.methods.request_options import request_from
    from IterMask3DLib.runtime.distributed import all_gather, current_rank, shard

    request = request_from(parsed, parsed.command, OWN)
    model = load_model(find_model(request.model))
    cases: Sequence[CaseFiles] = cases_of(parsed.input, parsed.brain_mask)
    if parsed.channel:
        first = cases_of([parsed.channel[0][1]])[0]
        cases = [CaseFiles(first.name, dict(parsed.channel), parsed.brain_mask)]
    bar = _Bar()
    failed = 0
    try:
        for progress in segment_cases(shard(cases), model, request, parsed.out, overwrite=parsed.overwrite):
            bar.follow(progress)
            if progress.status == DONE:
                bar.close()
                _tell(progress)
            elif progress.status == FAILED:
                bar.close()
                failed += 1
                print(f"error: {progress.message}", file=sys.stderr)
    finally:
        bar.close()
    failed = sum(all_gather(failed))
    if len(cases) > 1 and current_rank().is_first:
        print(f"{len(cases) - failed} of {len(cases)} cases done.")
    return 1 if failed else 0


def _tell(progress: object) -> None:
    from IterMask3DLib.batch import BatchProgress, found_text

    assert isinstance(progress, BatchProgress) and progress.result and progress.lesions and progress.folder
    result = progress.result
    seconds = clock(float(str(result.provenance["seconds"])))
    name, found = result.case.name, found_text(result, progress.lesions)
    print(f"{name}: {found}; brain {result.brain_ml:.0f} ml ({result.brain_source}); {seconds}")
    for warning in result.warnings:
        print(f"  warning: {one_line(warning)}")
    print(f"  {progress.folder / (name + '_report.html')}")


class _Bar:
    """The progress of one case after another: a bar on a terminal, one line in ten passes elsewhere."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._make = tqdm
        self._bar: tqdm[None] | None = None
        self._begun = time.perf_counter()

    def follow(self, progress: object) -> None:
        from IterMask3DLib.batch import RUNNING, BatchProgress
        from IterMask3DLib.core.progress import Pace
        from IterMask3DLib.core.result import Step
        from IterMask3DLib.run import Phase

        assert isinstance(progress, BatchProgress)
        name = progress.files.name
        if progress.status != RUNNING:
            return
        if progress.event is None:
            self._begun, self._pace = time.perf_counter(), Pace()
        elif isinstance(progress.event, Phase):
            self._show(f"{name}: {progress.event.text}")
        elif isinstance(progress.event, Step):
            step = progress.event
            to_come = step.expected_total - step.number
            done = self._pace.after(time.perf_counter() - self._begun, step.seconds, to_come)
            masked = step.scalars.get("masked_fraction")
            share = "" if masked is None else f", {100 * masked:5.1f} % masked"
            left = clock(done.remaining or 0.0)
            text = f"{step.phase:6} pass {step.number} of about {step.expected_total}{share}, {left} left"
            if self._live:
                self._draw(f"{name}: {text}", step.number, step.expected_total)
            elif step.number % 10 == 0:
                self._show(f"{name}: {text}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, text: str, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = self._make(
                total=total, leave=False, file=sys.stderr, bar_format="{desc} {bar}", dynamic_ncols=True
            )
        self._bar.total, self._bar.n = max(total, done), done
        self._bar.set_description_str(text)

    def _show(self, text: str) -> None:
        self.close()
        if sys.stderr is not None:
            print(f"{text} ...", file=sys.stderr, flush=True)


def _convert(parsed: argparse.Namespace) -> int:
    from IterMask3DLib.methods.base import Convertible
    from IterMask3DLib.methods.registry import find_method

    spec = find_method(parsed.method)
    method = spec.load()
    if not isinstance(method, Convertible):
        raise UserError(f"{spec.title} has no published checkpoints that could be converted.")
    options = {"inputs": parsed.modality, "spacing": parsed.spacing, "shape": parsed.shape, "gamma": parsed.gamma}
    card = method.convert(parsed.checkpoint, parsed.out, options)
    print(f"{parsed.out}: model {card.name}, sha256 {', '.join(card.files.values())}")
    return 0


def _models(parsed: argparse.Namespace) -> int:
    if parsed.action == "list":
        return _list(parsed.folder)
    if parsed.action == "show":
        print((find_model(parsed.model) / CARD_FILE).read_text(encoding="utf-8").strip())
        return 0
    from IterMask3DLib.methods.loading import install, verify

    if parsed.action == "install":
        print(install(parsed.source, overwrite=parsed.overwrite))
    else:
        card = verify(find_model(parsed.model))
        print(f"{card.name}: the card, the checksums and the tensors are right.")
    return 0


def _list(folder: Path | None) -> int:
    problems = 0
    for entry in list_models(folder):
        problems += entry.problem is not None
        card = entry.card
        about = entry.problem or (f"{card.title} ({card.modality}, {card.grid.spacing:g} mm)" if card else "")
        print(f"{entry.name:20} {entry.origin:10} {about}\n{'':20} {entry.folder}")
    return 1 if problems else 0
