"""Puts a case on disk, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.read import write_nifti
from IterMask3DLib.results.lesions import find_lesions
from IterMask3DLib.results.outcome import CaseOutcome
from IterMask3DLib.results.report import write_report
from IterMask3DLib.results.tables import write_curve, write_iterations, write_lesions, write_run


def check_writable(out: Path, case: str, overwrite: bool) -> None:
    """Raises `UserError` before any computing if the case could not be written to `out`."""
    if case in ("", "..") or Path(case).name != case:
        raise UserError(f"{case!r} cannot name a folder; give the case another name.")
    try:
        if (out / case).exists() and not overwrite:
            raise UserError(f"{out / case} exists already; choose another output folder or use --overwrite.")
        out.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=f".{case}.", dir=out)).rmdir()
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}); choose another output folder.") from None


def write_case(out: Path, outcome: CaseOutcome, *, overwrite: bool = False) -> Path:
    """Writes `out/<case>/` with every file of the case and returns it.

    The files are written to a hidden folder beside it, which takes its name when all are there. Raises `UserError` if the case exists (and
    `overwrite` is off) or the disk refuses; then, and when interrupted, nothing is left behind and what was there stays.
    """
    check_writable(out, outcome.case, overwrite)
    target = out / outcome.case
    beside = Path(tempfile.mkdtemp(prefix=f".{outcome.case}.", dir=out))
    try:
        _write_files(beside, outcome)
        beside.chmod(0o755)
        _take_place(beside, target)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror or error}); free space or choose another output folder.") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _take_place(beside: Path, target: Path) -> None:
    if not target.exists():
        os.replace(beside, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    try:
        os.replace(target, old / "case")
        os.replace(beside, target)
    except BaseException:  # an interrupt, too, must not cost the user the earlier results
        if not target.exists():
            os.replace(old / "case", target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _write_files(folder: Path, outcome: CaseOutcome) -> None:
    case, affine = outcome.case, outcome.volume.affine
    lesions, labels = find_lesions(outcome.anomaly, outcome.heatmap, affine)
    write_nifti(outcome.anomaly, affine, folder / f"{case}_anomaly.nii.gz")
    write_nifti(outcome.heatmap, affine, folder / f"{case}_heatmap.nii.gz")
    write_nifti(outcome.reconstruction, affine, folder / f"{case}_reconstruction.nii.gz")
    write_nifti(outcome.brain, affine, folder / f"{case}_brain.nii.gz")
    if outcome.iterations is not None:
        write_nifti(np.stack([x.mask for x in outcome.iterations], axis=-1), affine, folder / f"{case}_iterations.nii.gz")
        write_iterations(folder / f"{case}_iterations.csv", outcome.iterations)
    write_lesions(folder / f"{case}_lesions.csv", lesions)
    write_curve(folder / f"{case}_curve.csv", outcome.curve)
    write_run(folder / f"{case}_run.json", outcome, lesions)
    write_report(folder / f"{case}_report.html", outcome, lesions, labels)
