"""Pictures of single cases for the page, chosen by a rule and not by hand."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from IterMask3DLib.evaluation.cases import ARTEFACTS, HEALTHY, LABELLED, STROKES, EvaluationCase
from IterMask3DLib.evaluation.detectors import Detector
from IterMask3DLib.evaluation.records import CaseRecord, CaseSlice, RecordStore
from IterMask3DLib.results.figures import OUTLINE

TRUTH = "#39d5ff"
_WIDTH, _TITLE = 2.1, 0.6
_TITLE_LETTERS = 30


class ExampleRow(NamedTuple):
    """A row of pictures: the case, and the mask of each detector; `image`: PNG as a data address."""

    caption: str
    image: str


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
        shown = [(d, r, p) for d in detectors if (r := store.read(case, d)) and (p := store.picture(case, d))]
        if shown:
            titles = [_heading(detector, record) for detector, record, _ in shown]
            rows.append(ExampleRow(f"{what}: {name}", draw([picture for *_, picture in shown], titles)))
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


def draw(pictures: Sequence[CaseSlice], titles: Sequence[str]) -> str:
    """The case with the outline of the truth, then for each detector its mask, filled, on the same slice.

    Returns a PNG as a data address.
    """
    first, count = pictures[0], len(pictures) + 1
    height = _WIDTH * first.volume.shape[0] * first.aspect / first.volume.shape[1]
    whole = height + _TITLE
    figure = Figure(figsize=(_WIDTH * count, whole), facecolor="black", dpi=90)
    canvas = FigureCanvasAgg(figure)
    inside = first.volume[first.volume > 0]
    top = float(np.percentile(inside, 99.5)) if inside.size else 1.0
    fill = ListedColormap([OUTLINE])
    for number, title in enumerate(["Volume", *titles]):
        axis = figure.add_axes((number / count + 0.002, 0.005, 1 / count - 0.004, height / whole - 0.005))
        axis.axis("off")
        axis.imshow(first.volume, cmap="gray", vmin=0, vmax=top, aspect=first.aspect)
        if number:
            mask = pictures[number - 1].mask
            filled = np.ma.masked_where(~mask, mask)
            axis.imshow(filled, cmap=fill, alpha=0.6, aspect=first.aspect, interpolation="nearest")
        if first.truth.any():
            axis.contour(first.truth, levels=[0.5], colors=TRUTH, linewidths=0.9)
        figure.text((number + 0.5) / count, 1 - 0.05 / whole, title, color="white", fontsize=8, ha="center", va="top")
    stream = io.BytesIO()
    canvas.print_png(stream)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _heading(detector: Detector, record: CaseRecord) -> str:
    title = textwrap.fill(detector.title, _TITLE_LETTERS, break_on_hyphens=False)
    if record.masked_share is None:
        return f"{title}\nno mask"
    if record.section in (STROKES, LABELLED):
        return f"{title}\nDice {record.figures['dice'] or 0:.2f}"
    return f"{title}\n{100 * record.masked_share:.1f} % masked"
