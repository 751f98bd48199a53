"""Pictures of single cases for the page, chosen by a rule and not by hand."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from IterMask3DLib.core.geometry import bounding_box
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.evaluation.cases import ARTEFACTS, HEALTHY, LABELLED, STROKES, EvaluationCase, LoadedCase
from IterMask3DLib.evaluation.detectors import Detector
from IterMask3DLib.evaluation.records import VOLUME, CaseRecord, RecordStore
from IterMask3DLib.results.figures import OUTLINE
from IterMask3DLib.results.slices import Frame, cut

TRUTH = "#39d5ff"
_INCHES, _MARGIN = 2.1, 2


class ExampleRow(NamedTuple):
    """A case, and with their titles the pictures of its volume and of each detector's mask: PNG as data addresses."""

    caption: str
    pictures: list[tuple[str, str]]


def chosen_examples(
    frame: pd.DataFrame, cases: Sequence[EvaluationCase], detectors: Sequence[Detector], store: RecordStore
) -> list[ExampleRow]:
    """Of each size of stroke the first detector's median and worst case; all labelled; each artefact; one healthy.

    Args:
        frame: see `table.case_frame`.
    """
    by_name = {(case.section, case.name): case for case in cases}
    rows = []
    for what, section, name in _chosen(frame[frame.finder == detectors[0].name]):
        case = by_name[section, name]
        pictures = [("Volume", store.picture(case, VOLUME))]
        for detector in detectors:
            record = store.read(case, detector)
            if record is not None:
                pictures.append((f"{detector.title}: {_figure(record)}", store.picture(case, detector.name)))
        addresses = [(title, f"data:image/png;base64,{base64.b64encode(png).decode()}") for title, png in pictures]
        rows.append(ExampleRow(f"{what}: {name}", addresses))
    return rows


def _chosen(first: pd.DataFrame) -> list[tuple[str, str, str]]:
    """What is shown, its section and its name."""
    chosen: list[tuple[str, str, str]] = []
    strokes = first[first.section == STROKES].fillna({"dice": 0.0}).sort_values(["dice", "case"])
    for size in ("small", "medium", "large"):
        names = list(strokes.case[strokes.group == size])
        if names:
            chosen.append((f"{size} stroke, median Dice", STROKES, names[len(names) // 2]))
            chosen += [(f"{size} stroke, lowest Dice", STROKES, names[0])] if len(names) > 1 else []
    chosen += [("labelled", LABELLED, name) for name in first.case[first.section == LABELLED]]
    medium = first[(first.section == ARTEFACTS) & (first.group == "medium")].drop_duplicates("kind")
    for kind, name in zip(medium.kind, medium.case, strict=True):
        chosen.append((f"{kind.replace('_', ' ')}, medium", ARTEFACTS, name))
    return chosen + [("healthy", HEALTHY, name) for name in first.case[first.section == HEALTHY][:1]]


def _figure(record: CaseRecord) -> str:
    if record.masked_share is None:
        return "no mask"
    if record.section in (STROKES, LABELLED):
        return f"Dice {record.figures['dice'] or 0:.2f}"
    return f"{100 * record.masked_share:.1f} % masked"


def slice_png(case: LoadedCase, mask: BoolVolume | None) -> bytes:
    """The axial slice with most of the truth, or through the middle of the brain: truth outlined, mask filled."""
    frame = Frame.of(case.reference.affine, case.brain.shape)
    box = bounding_box(frame.turn(case.brain).astype(bool), _MARGIN)
    assert box is not None
    volume, brain, truth, filled = (
        frame.turn(np.zeros_like(case.brain) if array is None else array * case.brain)[box]
        for array in (case.reference.array, case.brain, case.truth, mask)
    )
    middle = np.median(np.flatnonzero(brain.any(axis=(0, 1))))
    index = int(truth.sum(axis=(0, 1)).argmax() if truth.any() else middle)
    volume, truth, filled = (cut(array, "axial", index) for array in (volume, truth, filled))
    aspect = frame.aspect("axial")
    size = (_INCHES, _INCHES * volume.shape[0] * aspect / volume.shape[1])
    figure = Figure(figsize=size, dpi=90, facecolor="black")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.axis("off")
    inside = volume[volume > 0]
    axis.imshow(volume, cmap="gray", vmin=0, vmax=np.percentile(inside, 99.5) if inside.size else 1, aspect=aspect)
    shown = np.ma.masked_where(filled == 0, filled)
    axis.imshow(shown, cmap=ListedColormap([OUTLINE]), alpha=0.6, aspect=aspect, interpolation="nearest")
    if truth.any():
        axis.contour(truth, levels=[0.5], colors=TRUTH, linewidths=0.9)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()
