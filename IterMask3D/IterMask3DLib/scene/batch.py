"""A folder of volumes in, a folder of cases and a summary out; runs in the worker and touches no node."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Step
from IterMask3DLib.scene.engine_port import Choice, Engine, Study
from IterMask3DLib.scene.jobs import startMask
from IterMask3DLib.scene.messages import CaseMessage, EndMessage, FailMessage, Message
from IterMask3DLib.scene.receiver import Listener, Task
from IterMask3DLib.scene.records import BatchCase, Progress, RunOptions
from IterMask3DLib.scene.worker import Cancelled, Control

SUMMARY = "summary.csv"
SUMMARY_COLUMNS = ("case", "status", "anomaly_ml", "lesions", "brain_ml", "mean_error", "seconds", "message")
_PART = f".{SUMMARY}.part"
_USUAL_SHRINK = 6


@dataclass(frozen=True)
class BatchOrder:
    """What is to be done. `cases`: in the order of their names, all waiting."""

    cases: tuple[BatchCase, ...]
    out: Path
    options: RunOptions
    skipExisting: bool


def findCases(folder: Path) -> tuple[BatchCase, ...]:
    """The volumes of a folder: NIfTI, NRRD and MetaImage files, and subfolders with DICOM slices. Raises `UserError` for none, or a name twice."""
    from IterMask3DLib.preprocessing.read import ITK, NIFTI, case_name

    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    found = []
    for path in sorted(folder.iterdir()):
        if (path.is_file() and path.name.lower().endswith(NIFTI + ITK)) or (
            path.is_dir() and not path.name.startswith(".") and any(path.glob("*.dcm"))
        ):
            found.append(BatchCase(case_name(path), str(path), "waiting"))
    if not found:
        raise UserError(f"{folder} holds no NIfTI, NRRD or MetaImage file and no folder of DICOM slices.")
    names = [case.name for case in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"Several files of {folder} would write the case {name}; give them different names.")
    return tuple(found)


def writable(out: Path) -> Path:
    """The folder of the results, made if it is not there. Raises `UserError`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _PART).write_text("", encoding="utf-8")
        (out / _PART).unlink()
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); choose another folder.") from None
    return out


def runBatch(engine: Engine, order: BatchOrder, control: Control) -> None:
    """Every case, one after another; a failing one does not stop the others. The summary is up to date after each."""
    cases = list(order.cases)
    rows: dict[str, dict[str, Any]] = {}
    for index, case in enumerate(cases):
        try:
            control.checkpoint()
            control.post(CaseMessage(replace(case, status="running"), index, len(cases)))
            cases[index], rows[case.name] = _one(engine, order, case, index, control)
        except Cancelled:
            for rest in range(index, len(cases)):
                cases[rest] = replace(cases[rest], status="stopped")
                control.post(CaseMessage(cases[rest], index, len(cases)))
            _summarise(order.out, cases, rows)
            raise
        control.post(CaseMessage(cases[index], index + 1, len(cases)))
        _summarise(order.out, cases, rows)


def _one(engine: Engine, order: BatchOrder, case: BatchCase, index: int, control: Control) -> tuple[BatchCase, dict[str, Any]]:
    from IterMask3DLib.preprocessing.read import read_image
    from IterMask3DLib.results.writer import write_case

    if order.skipExisting and (order.out / case.name).exists():
        return replace(case, status="skipped", message="was there already"), _written(order.out, case.name)
    begun = time.perf_counter()
    try:
        study = engine.prepare(read_image(case.path), None, order.options, lambda text: None)
        outcome = _outcome(study, order, case, index, control, begun)
        write_case(order.out, outcome, overwrite=True)
    except UserError as error:
        return replace(case, status="failed", message=str(error)), {}
    except Cancelled:
        raise
    except Exception as error:  # One strange volume must not cost the night.
        return replace(case, status="failed", message=f"{type(error).__name__}: {error}"), {}
    row = _written(order.out, case.name)
    message = f"{float(row['anomaly_ml']):.1f} ml in {row['lesions']} lesions"
    return replace(case, status="done", message="; ".join((message, *outcome.warnings))), row


def _outcome(study: Study, order: BatchOrder, case: BatchCase, index: int, control: Control, begun: float) -> Any:
    def told(step: Step) -> None:
        running = replace(case, status="running", message=f"{step.phase}, pass {step.number}")
        control.post(CaseMessage(running, index, len(order.cases), min(1.0, step.number / (study.passes + _USUAL_SHRINK))))

    def ended(steps: Any) -> Any:
        try:
            while True:
                control.checkpoint()
                told(next(steps))
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    sweep = ended(study.sweep())
    choice = Choice(start=order.options.start)
    curve, warnings = study.choose(sweep, choice)
    result = ended(study.shrink(curve, startMask(study, sweep, curve, choice.start), len(curve.thresholds) + 1, warnings))
    return study.restore(result, time.perf_counter() - begun, choice)


def _written(out: Path, name: str) -> dict[str, Any]:
    """What the record of a case on disk says; nothing where there is none."""
    try:
        record = json.loads((out / name / f"{name}_run.json").read_text(encoding="utf-8"))
        return {
            "anomaly_ml": record["results"]["anomaly_ml"],
            "lesions": record["results"]["lesions"],
            "brain_ml": record["brain_mask"]["millilitres"],
            "mean_error": record["results"]["mean_error"],
            "seconds": record["seconds"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _summarise(out: Path, cases: list[BatchCase], rows: dict[str, dict[str, Any]]) -> None:
    beside = out / _PART
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, SUMMARY_COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for case in cases:
            writer.writerow({"case": case.name, "status": case.status, "message": case.message, **rows.get(case.name, {})})
    beside.replace(out / SUMMARY)


@dataclass
class BatchReceiver:
    """Hears of a batch on the main thread. `onCase` hears every change of a case."""

    listener: Listener
    onCase: Callable[[BatchCase], None] | None
    cases: Sequence[BatchCase]

    @property
    def alive(self) -> bool:
        return True

    def settle(self) -> None:
        """A batch writes no nodes."""

    def tasks(self, message: Message) -> Iterator[Task]:
        if isinstance(message, CaseMessage):
            yield lambda: self._case(message)
        elif isinstance(message, EndMessage):
            yield lambda: self.listener.onDone(list(self.cases))
        elif isinstance(message, FailMessage):
            yield lambda: self.listener.onError(message.sentence, message.trace)

    def _case(self, message: CaseMessage) -> None:
        text = f"Case {min(message.done + 1, message.total)} of {message.total}: {message.case.name}"
        fraction = (message.done + message.share) / message.total
        self.listener.onProgress(Progress("batch", message.done, message.total, fraction, None, text))
        self.cases = [message.case if case.name == message.case.name else case for case in self.cases]
        if self.onCase is not None:
            self.onCase(message.case)
