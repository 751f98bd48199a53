"""Puts a case on disk, whole or not at all: the one writer of the command line, the batch and the panel."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import check_folder, reason, staged_folder, take_place, write_csv
from IterMask3DLib.core.result import ANOMALY, MASK, CaseResult, LayerKind
from IterMask3DLib.core.tables import write_iterations, write_lesions
from IterMask3DLib.preprocessing.nifti import write_nifti, write_nifti_series
from IterMask3DLib.results.artifacts import files_of
from IterMask3DLib.results.case_lesions import CaseLesions
from IterMask3DLib.results.dicom_seg import write_dicom_seg
from IterMask3DLib.results.overwriting import case_files_in, check_target, is_case
from IterMask3DLib.results.report import write_report
from IterMask3DLib.results.tables import write_run

WHAT = ("layers", "brain", "lesions", "artifacts", "iterations", "report", "run")
"""Kinds of files every case has, as far as there is something for them; a layer may also be named by itself."""

DICOM_SEG = "dicom_seg"
"""One more, of a DICOM series."""


def check_writable(out: Path, case: str, inputs: Collection[Path], overwrite: bool) -> None:
    """Raises `UserError` before any computing if the case could not be written to `out`."""
    if case in ("", "..") or Path(case).name != case:
        raise UserError(f"{case!r} cannot name a folder; give the case another name.")
    try:
        check_target(out / case, inputs, overwrite, lambda folder: is_case(folder, case))
        check_folder(out)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({reason(error)}); choose another output folder.") from None


def write_case(
    out: Path,
    result: CaseResult,
    found: CaseLesions,
    *,
    overwrite: bool = False,
    inputs: Collection[Path] = (),
    dicom_seg: bool = False,
    begun: float | None = None,
) -> Path:
    """Writes `out/<case>/` with every file of the case and returns it.

    What else lies in a folder of earlier results stays there. Raises `UserError` where the folder may not be written
    (see `overwriting`) or the disk refuses; then, and when interrupted, nothing is left behind and what was there
    stays.

    Args:
        begun: when the case was begun, of `time.perf_counter`: its record then says how long it took with all of this.
    """
    case = result.case.name
    check_writable(out, case, inputs, overwrite)
    target = out / case
    what = (*WHAT, DICOM_SEG) if dicom_seg else WHAT
    with staged_folder(target) as beside:
        written = {path.name for path in case_files(result, beside, what, found, begun)}

        def others() -> list[Path]:
            # Asked again: another run may have written the case in the meantime.
            check_target(target, inputs, overwrite, lambda folder: is_case(folder, case))
            ours = case_files_in(target, case)
            kept = [entry for entry in target.iterdir() if entry.name not in ours]
            for entry in kept:
                if entry.name in written:
                    raise UserError(f"{entry} was not written by this program and would be replaced; move it.")
            return kept

        take_place(beside, target, others)
    return target


def timed(result: CaseResult, begun: float | None) -> CaseResult:
    """A result whose provenance says how long it took until now; as it is where it is not known when it was begun."""
    if begun is None:
        return result
    return replace(result, provenance={**result.provenance, "seconds": round(time.perf_counter() - begun, 2)})


def case_files(
    result: CaseResult,
    folder: Path,
    what: Collection[str] = WHAT,
    found: CaseLesions | None = None,
    begun: float | None = None,
) -> list[Path]:
    """Writes files of a case into a folder and returns them.

    Args:
        what: of `WHAT`, `DICOM_SEG`, and names of layers.
        found: the lesions, where they are measured already.
        begun: see `write_case`.
    """
    case, affine = result.case.name, result.case.reference.affine
    found = found or CaseLesions.of(result)
    written: list[Path] = []

    def path(ending: str) -> Path:
        written.append(folder / f"{case}_{ending}")
        return written[-1]

    for name, layer in result.layers.items():
        if "layers" in what or name in what:
            kind = np.bool_ if layer.kind is LayerKind.MASK else np.float32
            write_nifti(layer.read().astype(kind, copy=False), affine, path(f"{name}.nii.gz"))
    if "brain" in what:
        write_nifti(result.brain, affine, path("brain.nii.gz"))
    if "iterations" in what and result.iterations:
        masks = [step.layers[MASK] for step in result.iterations if MASK in step.layers]
        if masks:
            # Each is restored when it is its turn: all of them at once would not fit into memory.
            write_nifti_series([mask.read for mask in masks], affine, path("iterations.nii.gz"))
        steps = [(x.number, x.phase, x.seconds, x.scalars) for x in result.iterations]
        write_iterations(path("iterations.csv"), steps, result.brain_ml)
    if "lesions" in what and ANOMALY in result.layers:
        write_lesions(path("lesions.csv"), found.lesions)
    if DICOM_SEG in what and ANOMALY in result.layers:
        write_dicom_seg(result, path("anomaly.dcm"))
    if "artifacts" in what:
        for artifact in result.artifacts:
            files = files_of(artifact)
            table = files.table(artifact) if files is not None else None
            if table is not None:
                write_csv(path(f"{artifact.kind}.csv"), *table)
    if "report" in what:
        write_report(path("report.html"), timed(result, begun), found)
    if "run" in what:
        record = path("run.json")
        write_run(record, timed(result, begun), found.lesions, [each.name for each in written])
    return written
