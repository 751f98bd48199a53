"""Many cases, one after another: the one loop of the command line and of the panel's batch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import explained, is_interrupt
from IterMask3DLib.core.files import check_plain, reason, write_csv
from IterMask3DLib.core.image import Case
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import ANOMALY, CaseResult
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.dicom import is_dicom, series_of
from IterMask3DLib.preprocessing.read import case_name, is_volume, read_case
from IterMask3DLib.results.case_lesions import CaseLesions
from IterMask3DLib.results.case_writer import check_writable, timed, write_case
from IterMask3DLib.results.dicom_seg import check_dicom_seg
from IterMask3DLib.results.overwriting import is_case
from IterMask3DLib.run import Cancelled, Event, run_case

SUMMARY = "summary.csv"
SUMMARY_COLUMNS = ("case", "status", "anomaly_ml", "lesions", "brain_ml", "case_score", "seconds", "message")
_SUMMARY_BEGINS = "case,status,"
WAITING, RUNNING, DONE, SKIPPED, FAILED, STOPPED = "waiting", "running", "done", "skipped", "failed", "stopped"


@dataclass(frozen=True)
class CaseFiles:
    """Where the images of a case are: a file or folder for each input channel (one: any name), and the brain mask."""

    name: str
    images: Mapping[str, Path]
    brain_mask: Path | None = None

    @property
    def path(self) -> Path:
        return next(iter(self.images.values()))

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Everything that is read."""
        return (*self.images.values(), *([self.brain_mask] if self.brain_mask else []))

    def read(self) -> Case:
        """Reads the images. Raises `UserError`."""
        return read_case(self.name, self.images, self.brain_mask)


@dataclass(frozen=True)
class BatchProgress:
    """How one case of a batch goes.

    Attributes:
        files: of the case; status: waiting, running, done, skipped, failed or stopped; message: one line.
        done, total: cases; event: what the run of the case said, None where its status changed.
        result, lesions, folder: of a case that is done.
    """

    files: CaseFiles
    status: str
    message: str = ""
    done: int = 0
    total: int = 0
    event: Event | None = None
    result: CaseResult | None = field(default=None, repr=False)
    lesions: CaseLesions | None = field(default=None, repr=False)
    folder: Path | None = None


def cases_of(paths: Sequence[str | Path], brain_mask: Path | None = None) -> list[CaseFiles]:
    """One case for each path, named by it. Raises `UserError` where two would have the same name."""
    cases = [CaseFiles(case_name(path), {"": Path(path)}, brain_mask) for path in paths]
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"Several inputs would write the case {name}; give them different file names.")
    return cases


def find_cases(folder: Path) -> list[CaseFiles]:
    """The volumes of a folder: NIfTI, NRRD and MetaImage files, and subfolders with DICOM files, by whatever name.

    Raises `UserError` for none, or a name twice.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder.")
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({reason(error)}).") from None
    found = [path for path in entries if (_holds_dicom(path) if path.is_dir() else path.is_file() and is_volume(path))]
    if not found:
        raise UserError(f"{folder} holds no NIfTI, NRRD or MetaImage file and no folder of DICOM slices.")
    return cases_of(found)


def several_series(cases: Sequence[CaseFiles]) -> dict[str, list[tuple[str, str]]]:
    """The cases whose folder holds several DICOM series: a file of each, and words to choose it by.

    Raises `UserError` for a folder that cannot be read.
    """
    folders = {case.name: series_of(case.path) for case in cases if case.path.is_dir()}
    return {name: series for name, series in folders.items() if len(series) > 1}


def segment_cases(
    cases: Sequence[CaseFiles],
    model: Model,
    request: Request,
    out: Path,
    *,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> Generator[BatchProgress, bool | None, None]:
    """Segments every case and writes it to `out`; a failing one does not stop the others.

    Yields what happens. Sending True back ends the batch: a run at work keeps nothing of its case, the rest is stopped.
    """
    total = len(cases)
    for index, files in enumerate(cases):
        progress = BatchProgress(files, RUNNING, done=index, total=total)
        if skip_existing and is_case(out / files.name, files.name):
            yield replace(progress, status=SKIPPED, message="was there already", done=index + 1)
            continue
        stopped = yield progress
        try:
            if stopped:
                raise Cancelled
            ended = yield from _segment(progress, model, request, out, overwrite)
        except Cancelled:
            for rest in cases[index:]:
                yield replace(progress, files=rest, status=STOPPED)
            return
        except Exception as error:  # One strange volume must not cost the night.
            if is_interrupt(error):
                raise KeyboardInterrupt from error
            ended = replace(progress, status=FAILED, message=explained(error, out))
        yield replace(ended, done=index + 1)
        del ended


def _segment(
    progress: BatchProgress, model: Model, request: Request, out: Path, overwrite: bool
) -> Generator[BatchProgress, bool | None, BatchProgress]:
    files, begun = progress.files, time.perf_counter()
    check_writable(out, files.name, files.inputs, overwrite)
    if request.dicom_seg:
        check_dicom_seg(files.path)
    events = run_case(files.read(), model, request)
    try:
        while True:
            if (yield replace(progress, event=next(events))):
                raise Cancelled
    except StopIteration as end:
        result: CaseResult = end.value
    finally:
        events.close()
    found = CaseLesions.of(result)
    folder = write_case(
        out, result, found, overwrite=overwrite, inputs=files.inputs, dicom_seg=request.dicom_seg, begun=begun
    )
    result = timed(result, begun)
    message = "; ".join((found_text(result, found), *result.warnings))
    return replace(progress, status=DONE, message=message, result=result, lesions=found, folder=folder)


def by_inputs(cases: Sequence[CaseFiles], inputs: Sequence[str]) -> list[CaseFiles]:
    """Cases of one image each as those of a model with several inputs.

    Their images are named alike but for an ending `_INPUT`, as in BIDS; that one is missing is told of each case.
    Raises `UserError` where no name ends so.
    """
    if len(inputs) == 1:
        return list(cases)
    images: dict[str, dict[str, Path]] = {}
    for case in cases:
        name = next((each for each in inputs if case.name.endswith(f"_{each}")), None)
        if name is not None:
            images.setdefault(case.name.removesuffix(f"_{name}"), {})[name] = case.path
    if not images:
        endings = " or ".join(f"_{name}" for name in inputs)
        raise UserError(f"No volume here has a name that ends in {endings}, the inputs of the model.")
    return [
        CaseFiles(name, {each: of_case[each] for each in inputs if each in of_case})
        for name, of_case in sorted(images.items())
    ]


def found_text(result: CaseResult, found: CaseLesions) -> str:
    """What was found in a case, in a few words."""
    if ANOMALY not in result.layers:
        return "no score" if result.case_score is None else f"score {result.case_score:.4g}"
    count = len(found.lesions)
    return f"anomaly {found.total_ml:.1f} ml in {count} {'lesion' if count == 1 else 'lesions'}"


def check_summary(out: Path) -> None:
    """Raises `UserError` where a file that is no summary of a batch stands in the place of one."""
    path = out / SUMMARY
    if not os.path.lexists(path):
        return
    try:
        check_plain(path)
        with path.open(encoding="utf-8", errors="replace") as file:
            ours = file.read(len(_SUMMARY_BEGINS)) == _SUMMARY_BEGINS
    except (OSError, UserError):
        ours = False
    if not ours:
        raise UserError(f"{path} is no summary of this program and would be replaced; move it.")


def write_summary(out: Path, rows: Sequence[BatchProgress]) -> None:
    """The summary of a batch, whole: one row a case, with what the records of the cases on disk say."""
    check_summary(out)
    lines = []
    for row in rows:
        record = _recorded(out, row.files.name) if row.status in (DONE, SKIPPED) else {}
        values = {"case": row.files.name, "status": row.status, "message": row.message, **record}
        lines.append([values.get(column, "") for column in SUMMARY_COLUMNS])
    write_csv(out / SUMMARY, SUMMARY_COLUMNS, lines)


def _recorded(out: Path, name: str) -> dict[str, Any]:
    try:
        record = json.loads((out / name / f"{name}_run.json").read_text(encoding="utf-8"))
        results = record["results"]
        return {
            **{column: results[column] for column in ("anomaly_ml", "lesions", "case_score") if column in results},
            "brain_ml": record["brain_mask"]["millilitres"],
            "seconds": record["seconds"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _holds_dicom(folder: Path) -> bool:
    return any(path.is_file() and is_dicom(path) for path in folder.iterdir())
