"""The subcommands `segment` and `demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from IterMask3DLib.batch import (
    DONE,
    FAILED,
    RUNNING,
    BatchProgress,
    CaseFiles,
    cases_of,
    check_summary,
    found_text,
    segment_cases,
    write_summary,
)
from IterMask3DLib.cli.model_choice import by_model
from IterMask3DLib.cli.parser import OWN_OPTIONS
from IterMask3DLib.cli.progress import ProgressBar
from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import one_line
from IterMask3DLib.core.options import flag
from IterMask3DLib.core.progress import clock
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.result import Step
from IterMask3DLib.core.settings import about
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.methods.request_options import request_from
from IterMask3DLib.models.catalogue import find_model, read_card
from IterMask3DLib.run import Phase
from IterMask3DLib.runtime.distributed import all_gather, current_rank, shard


def segment(parsed: argparse.Namespace) -> int:
    """Segments this process's shard of the inputs; a failing case is told and does not stop the others.

    Returns 1 where any failed, in any process. Raises `UserError`.
    """
    request = request_from(parsed, parsed.command, OWN_OPTIONS)
    card = read_card(find_model(request.model))
    cases = _cases(parsed, card)
    chosen = request.model is None and parsed.command == "segment" and not parsed.channel
    groups = by_model(cases) if chosen else {find_model(request.model): list(cases)}
    for folder in groups:
        _check_settings(request, read_card(folder))
    if len(cases) > 1:
        check_summary(parsed.out)
    rows: list[BatchProgress] = []
    for folder, members in groups.items():
        model = load_model(folder)
        work = segment_cases(shard(members), model, request, parsed.out, overwrite=parsed.overwrite)
        for progress in _with_bar(work):
            if progress.status == DONE:
                _tell(progress)
            elif progress.status == FAILED:
                print(f"error: {progress.message}", file=sys.stderr, flush=True)
            rows.append(replace(progress, event=None, result=None, lesions=None))
    everything = [row for shards in all_gather(rows) for row in shards]
    done = sum(row.status == DONE for row in everything)
    if len(cases) > 1 and current_rank().is_first:
        order = [case.name for case in cases]
        write_summary(parsed.out, sorted(everything, key=lambda row: order.index(row.files.name)))
        print(f"{done} of {len(cases)} cases done.")
    return 0 if done == len(cases) else 1


def _check_settings(request: Request, card: ModelCard) -> None:
    """Raises `UserError` for a setting that only other methods have, and for one that the method refuses."""
    spec = find_method(card.method)
    others = [name for name in request.settings if name not in about(spec.Settings)]
    if others:
        flags = " and ".join(map(flag, others))
        raise UserError(f"{flags} cannot be set for model {card.name}: its method, {spec.title}, has no such setting.")
    spec.settings(card, request)


def _cases(parsed: argparse.Namespace, card: ModelCard) -> Sequence[CaseFiles]:
    if parsed.command == "demo":
        return cases_of([sample_volume()])
    if not parsed.channel:
        cases = cases_of(parsed.input, parsed.brain_mask)
        # That other channels are missing is told of each case.
        return cases if len(card.inputs) == 1 else [replace(case, images={card.inputs[0]: case.path}) for case in cases]
    images = dict(parsed.channel)
    if parsed.input:
        # An INPUT beside channels is the first one that has no file yet.
        free = [name for name in card.inputs if name not in images]
        if not free:
            raise UserError(f"{parsed.input[0]} is one image too many: model {card.name} needs {card.modality} alone.")
        images = {free[0]: Path(parsed.input[0]), **images}
    (first,) = cases_of([next(iter(images.values()))], parsed.brain_mask)
    return [replace(first, images=images)]


def _with_bar(batch: Generator[BatchProgress, bool | None, None]) -> Iterator[BatchProgress]:
    """The end of each case of a batch; what happens on the way is drawn."""
    bar: ProgressBar | None = None
    try:
        for progress in batch:
            if progress.status != RUNNING:
                if bar is not None:
                    bar.close()
                yield progress
            elif progress.event is None:
                # The lines of several processes on one terminal would write over each other.
                live = sys.stderr.isatty() and current_rank().world_size == 1
                bar = ProgressBar(sys.stderr, progress.files.name, live)
            elif bar is not None and isinstance(progress.event, Step):
                bar.step(progress.event)
            elif bar is not None and isinstance(progress.event, Phase):
                bar.phase(progress.event.text)
    finally:
        if bar is not None:
            bar.close()
        batch.close()


def _tell(progress: BatchProgress) -> None:
    result, found, folder = progress.result, progress.lesions, progress.folder
    assert result is not None and found is not None and folder is not None
    name, seconds = result.case.name, clock(float(result.provenance["seconds"]))
    print(f"{name}: {found_text(result, found)}; brain {result.brain_ml:.0f} ml ({result.brain_source}); {seconds}")
    for warning in result.warnings:
        print(f"  warning: {one_line(warning)}")
    print(f"  {folder / (name + '_report.html')}", flush=True)
