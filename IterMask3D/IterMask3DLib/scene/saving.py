"""Saves a result: through Slicer what only Slicer can write, the rest with the writers of the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene.geometry import affineOf, volumeOf
from IterMask3DLib.scene.nodes import ResultNodes, needInput
from IterMask3DLib.scene.outcomes import caseOutcome, curveOf
from IterMask3DLib.scene.records import SaveOptions
from IterMask3DLib.scene.segmentations import readSegment
from IterMask3DLib.scene.words import tr as _


def save(nodes: ResultNodes, folder: Path, what: SaveOptions) -> list[Path]:
    """Writes the chosen files and returns them; a file that is there already is replaced. Raises `UserError`."""
    needInput(nodes)
    case = caseName(nodes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = _writeFiles(nodes, folder, case, what)
    except OSError as error:
        raise UserError(
            _("{folder} cannot be written ({reason}); choose another folder.").format(folder=folder, reason=error.strerror or error)
        ) from None
    if what.scene:
        written.append(_checked(folder / f"{case}_scene.mrb", lambda path: slicer.util.saveScene(path, {})))
    return written


def caseName(nodes: ResultNodes) -> str:
    """The name of the input, safe as a file name."""
    return re.sub(r"[^\w.+-]+", "_", nodes.input.GetName()).strip("._") or "case"


def _writeFiles(nodes: ResultNodes, folder: Path, case: str, what: SaveOptions) -> list[Path]:
    from IterMask3DLib.preprocessing.read import write_nifti
    from IterMask3DLib.results.lesions import find_lesions
    from IterMask3DLib.results.report import write_report
    from IterMask3DLib.results.tables import write_curve, write_lesions

    written: list[Path] = []
    affine = affineOf(nodes.input)
    if what.segmentation and nodes.segmentId:
        written.append(_checked(folder / f"{case}_anomaly.seg.nrrd", lambda path: slicer.util.exportNode(nodes.segmentation, path, {})))
    if what.nifti and nodes.segmentId:
        written.append(folder / f"{case}_anomaly.nii.gz")
        write_nifti(readSegment(nodes), affine, written[-1])
    if what.heatmap and nodes.heatmap is not None:
        written.append(folder / f"{case}_heatmap.nii.gz")
        write_nifti(_voxels(nodes.heatmap), affine, written[-1])
    curve = nodes.curve
    if what.iterations and nodes.steps:
        written.append(folder / f"{case}_iterations.csv")
        _writeSteps(nodes, written[-1])
        if curve is not None:
            written.append(folder / f"{case}_curve.csv")
            write_curve(written[-1], curveOf(curve))
    if not (what.lesions or what.report) or curve is None or not nodes.segmentId:
        return written
    if None in (nodes.brain, nodes.heatmap, nodes.reconstruction):
        raise UserError(_("A volume of the result of {case} is no longer in the scene; run Segment again.").format(case=case))
    outcome = caseOutcome(
        volumeOf(nodes.input),
        {
            "brain": _voxels(nodes.brain),
            "anomaly": readSegment(nodes),
            "heatmap": _voxels(nodes.heatmap),
            "reconstruction": _voxels(nodes.reconstruction),
        },
        curve,
        nodes.record,
        nodes.provenance,
    )
    lesions, labels = find_lesions(outcome.anomaly, outcome.heatmap, affine)
    if what.lesions:
        written.append(folder / f"{case}_lesions.csv")
        write_lesions(written[-1], lesions)
    if what.report:
        written.append(folder / f"{case}_report.html")
        write_report(written[-1], outcome, lesions, labels)
    return written


def _writeSteps(nodes: ResultNodes, path: Path) -> None:
    columns = "iteration,pass,phase,threshold,masked_ml,masked_percent,seconds,lifted_share"
    rows = [
        f"{s.item + 1},{s.number},{s.phase},{s.threshold:.6g},{s.maskedMl:.4f},{100 * s.maskedFraction:.3f},{s.seconds:.3f},"
        + ("" if s.ratio is None else f"{s.ratio:.5f}")
        for s in nodes.steps
    ]
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8", newline="\n")


def _voxels(node: Any) -> NDArray[Any]:
    return np.asarray(slicer.util.arrayFromVolume(node)).T


def _checked(path: Path, write: Any) -> Path:
    # Slicer's functions return False where others raise.
    if not write(str(path)):
        raise UserError(_("{path} could not be written; choose another folder.").format(path=path))
    return path
