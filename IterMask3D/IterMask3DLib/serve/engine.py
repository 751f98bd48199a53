"""What the engine does for each kind of request. It keeps models, one prepared case and the state of its last run."""

from __future__ import annotations

import gc
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import explained, is_memory
from IterMask3DLib.core.result import Step
from IterMask3DLib.core.wire import VERSION, Message
from IterMask3DLib.methods.base import Resumable
from IterMask3DLib.models.catalogue import clear_installed, find_model, list_models, read_card
from IterMask3DLib.serve.channel import Channel, Interrupted, Work
from IterMask3DLib.serve.description import NEEDED, description, diagnostics
from IterMask3DLib.serve.records import (
    StepLayers,
    artifact_fields,
    batch_fields,
    case_of,
    edit_of,
    outcome_of,
    recalled,
    request_of,
    result_of,
    step_fields,
)

if TYPE_CHECKING:
    from IterMask3DLib.models.store import Model
    from IterMask3DLib.run import CaseRun, Event, Events


@dataclass
class _Kept:
    """The case that was prepared last; `state`: of its run; `brain_source`: told instead of the mask's own."""

    key: str
    run: CaseRun
    brain_source: str | None
    state: Any = None


class Engine:
    """Answers the requests of one door, one after another; nothing that goes wrong with one of them ends it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._models: dict[Path, Model] = {}
        self._kept: _Kept | None = None
        self._handlers: Mapping[str, Callable[[Work, Message], None]] = {
            "hello": _hello,
            "describe": _describe,
            "diagnose": _diagnose,
            "prepare": self._prepare,
            "infer": self._infer,
            "resume": self._resume,
            "recall": self._recall,
            "write": _write,
            "series": self._series,
            "batch": self._batch,
            "install_model": self._install_model,
            "clear_models": self._clear_models,
            "release": self._release,
        }

    def serve(self) -> NoReturn:
        """Works until the process ends."""
        while True:
            message = self._channel.next_request()
            self._answer(Work(self._channel, message.id), message)
            del message  # Its volumes would stay until the next request.

    def _answer(self, work: Work, message: Message) -> None:
        failed = False
        try:
            handler = self._handlers.get(message.kind)
            if handler is None:
                raise UserError(
                    f"The engine does not know the request {message.kind}; use the same version on both sides."
                )
            work.checkpoint()
            handler(work, message)
        except Interrupted:
            work.say("done", {"cancelled": True, "seconds": work.elapsed})
        except UserError as error:
            _say_error(work, str(error))
        except Exception as error:  # The process must live on, and the user must hear of it.
            failed = True
            _say_error(work, *_told(error))
        if failed:  # Not before: the exception held the frames, and with them the memory, of what failed.
            _give_memory_back()

    def _prepare(self, work: Work, message: Message) -> None:
        from IterMask3DLib.run import CaseRun

        fields = message.fields
        self._kept = None  # Before the next one needs its memory.
        # What every step found travels as it comes, and need not be kept here too.
        request = replace(request_of(fields["request"]), save_iterations=False)
        case = case_of(fields, message.arrays)
        model = self._model(request.model, work)
        work.checkpoint()
        work.say("phase", {"name": "prepare", "text": "preparing the volume"})
        run = CaseRun.of(case, model, request)
        work.checkpoint()
        self._kept = _Kept(fields["key"], run, fields.get("brain_source"))
        prepared = run.prepared
        told = {"affine": prepared.affine, "shape": prepared.brain.shape, "brain_ml": prepared.brain_mask.millilitres}
        work.say("prepared", {"key": fields["key"], "method": run.spec.name, **told})

    def _model(self, name: str | None, work: Work) -> Model:
        from IterMask3DLib.methods.loading import load_model

        folder = find_model(name or None)
        if folder not in self._models:
            work.say("phase", {"name": "prepare", "text": "reading the model"})
            self._models[folder] = load_model(folder)
        return self._models[folder]

    def _infer(self, work: Work, message: Message) -> None:
        kept = self._the_kept(message)
        self._finish(work, kept, kept.run.infer())

    def _resume(self, work: Work, message: Message) -> None:
        kept = self._the_kept(message)
        _check_resumable(kept)
        if kept.state is None:
            raise UserError("There is no run to go on from; run Segment first.")
        edit = edit_of(message.fields, message.arrays, kept.run.prepared)
        self._finish(work, kept, kept.run.resume(kept.state, edit, message.fields.get("settings")))

    def _recall(self, work: Work, message: Message) -> None:
        kept = self._the_kept(message)
        method = _check_resumable(kept)
        curve, masks = recalled(message.fields, message.arrays, kept.run.prepared)
        kept.state = method.recall(curve, masks)
        work.say("recalled", {"key": kept.key})

    def _the_kept(self, message: Message) -> _Kept:
        if self._kept is None or self._kept.key != message.fields["key"]:
            raise UserError("The engine does not hold this volume any more; run Segment again.")
        return self._kept

    def _finish(self, work: Work, kept: _Kept, events: Events) -> None:
        """Tells of a run as it goes, and of its result."""
        from IterMask3DLib.run import Cancelled, finish, with_mask

        layers = StepLayers(kept.run.prepared)
        told = stopped = False

        def on_event(event: Event) -> bool:
            nonlocal told, stopped
            if not isinstance(event, Step):
                work.say("phase", {"name": event.name, "text": event.text})
                return False
            if event.stop is not None and not told:
                told = True
                for artifact in event.stop().artifacts:
                    work.say("artifact", artifact_fields(artifact))
            step = with_mask(event, kept.run.prepared.brain)
            kinds, arrays = layers.of(step)
            work.say("step", step_fields(step, work.elapsed, kinds), arrays)
            stopped = work.is_to_stop()
            return stopped

        try:
            outcome = finish(events, on_event)
        except Cancelled:
            raise Interrupted from None
        kept.state = outcome.state if outcome.state is not None else kept.state
        if kept.brain_source is not None:
            outcome = replace(outcome, brain_source=kept.brain_source)
        fields, arrays = result_of(outcome)
        resumable = kept.state is not None and isinstance(kept.run.method, Resumable)
        work.say("result", {**fields, "resumable": resumable}, arrays)
        work.say("done", {"cancelled": stopped, "seconds": work.elapsed})

    def _series(self, work: Work, message: Message) -> None:
        from IterMask3DLib.batch import find_cases, several_series

        work.say("series", {"cases": several_series(find_cases(Path(message.fields["input"])))})

    def _batch(self, work: Work, message: Message) -> None:
        from IterMask3DLib.batch import (
            RUNNING,
            STOPPED,
            WAITING,
            BatchProgress,
            by_inputs,
            check_summary,
            find_cases,
            segment_cases,
            write_summary,
        )

        fields, skip_existing = message.fields, bool(message.fields.get("skip_existing"))
        out, request = Path(fields["output"]), request_of(fields["request"])
        chosen: Mapping[str, str] = fields.get("series", {})
        cases = [
            replace(case, images={"": Path(chosen[case.name])}) if case.name in chosen else case
            for case in find_cases(Path(fields["input"]))
        ]
        check_summary(out)
        out.mkdir(parents=True, exist_ok=True)
        cases = by_inputs(cases, read_card(find_model(request.model or None)).inputs)
        rows = [BatchProgress(files, WAITING, total=len(cases)) for files in cases]
        for row in rows:
            work.say("case", batch_fields(row))
        model, stop, fraction = self._model(request.model, work), None, 0.0
        batch = segment_cases(cases, model, request, out, overwrite=not skip_existing, skip_existing=skip_existing)
        with suppress(StopIteration):
            while True:
                progress = batch.send(stop)
                told = batch_fields(progress)
                # More passes than expected must not turn a bar back.
                fraction = max(fraction, told["fraction"])
                work.say("case", {**told, "fraction": fraction})
                if progress.status != RUNNING:
                    rows[cases.index(progress.files)] = replace(progress, result=None, lesions=None)
                    write_summary(out, rows)
                stop = work.is_to_stop()
        work.say("done", {"cancelled": any(row.status == STOPPED for row in rows), "seconds": work.elapsed})

    def _install_model(self, work: Work, message: Message) -> None:
        from IterMask3DLib.methods.loading import install

        folder = install(Path(message.fields["source"]), overwrite=bool(message.fields.get("overwrite")))
        self._models.clear()
        work.say("installed", {"name": folder.name, "folder": str(folder)})

    def _clear_models(self, work: Work, message: Message) -> None:
        self._models.clear()
        work.say("cleared", {"count": clear_installed()})

    def _release(self, work: Work, message: Message) -> None:
        self._kept = None
        self._models.clear()
        _give_memory_back()
        work.say("done", {"cancelled": False, "seconds": work.elapsed})


def _check_resumable(kept: _Kept) -> Any:
    if not isinstance(kept.run.method, Resumable):
        raise UserError(f"{kept.run.spec.title} cannot go on from a run that was made; run Segment again.")
    return kept.run.method


def _hello(work: Work, message: Message) -> None:
    told = {"itermask3d": __version__, "python": platform.python_version(), "pid": os.getpid()}
    work.say("hello", {"version": VERSION, **told})


def _describe(work: Work, message: Message) -> None:
    work.say("description", description(message.fields.get("model")))


def _diagnose(work: Work, message: Message) -> None:
    work.say("diagnosis", {"text": diagnostics(list_models(), devices=True)})


def _write(work: Work, message: Message) -> None:
    from IterMask3DLib.results.case_writer import case_files

    outcome = outcome_of(message)
    with tempfile.TemporaryDirectory() as folder:
        for path in case_files(outcome, Path(folder), message.fields["what"]):
            work.checkpoint()
            work.say("file", {"name": path.name}, {"bytes": np.fromfile(path, np.uint8)})
    work.say("done", {"cancelled": False, "seconds": work.elapsed})


def _say_error(work: Work, sentence: str, trace: str = "") -> None:
    work.say("error", {"sentence": sentence, "trace": trace})


def _told(error: Exception) -> tuple[str, str]:
    """An exception as a sentence for the user and, where nobody foresaw it, its trace."""
    if isinstance(error, ModuleNotFoundError) and error.name in NEEDED:
        return f"The Python package {NEEDED[error.name]} is missing; install the packages IterMask3D needs first.", ""
    sentence = explained(error)
    foreseen = isinstance(error, OSError) or is_memory(error)
    return sentence[0].upper() + sentence[1:], "" if foreseen else "".join(traceback.format_exception(error))


def _give_memory_back() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
