"""Pictures of single cases for the page, chosen by a rule and not by hand."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from IterMask3DLib.evaluation.finders import Finder
from IterMask3DLib.evaluation.protocols import Trial
from IterMask3DLib.evaluation.run import records_of
from IterMask3DLib.evaluation.store import Picture, Record, Store
from IterMask3DLib.evaluation.table import group_of
from IterMask3DLib.results.figures import OUTLINE

TRUTH = "#39d5ff"
_WIDTH, _TITLE = 2.1, 0.6
_TITLE_LETTERS = 30


@dataclass(frozen=True)
class Example:
    """A row of pictures: the case, and the mask of each finder; `image`: PNG as a data address."""

    caption: str
    image: str


def chosen_examples(trials: Sequence[Trial], finders: Sequence[Finder], store: Store) -> list[Example]:
    """Of each size of stroke the case with the first finder's median Dice, and its worst; every labelled case; one brain with each artefact."""
    first = records_of(trials, finders[0], store)
    by_name = {(str(trial.section), trial.name): trial for trial in trials}
    chosen: list[tuple[str, Record]] = []
    for size in ("small", "medium", "large"):
        members = sorted(
            (r for r in first if r.section == "strokes" and group_of(r) == size), key=lambda r: (r.figures["dice"] or 0.0, r.case)
        )
        if members:
            chosen += [(f"{size} stroke, median Dice", members[len(members) // 2])]
            chosen += [(f"{size} stroke, lowest Dice", members[0])] if len(members) > 1 else []
    chosen += [("labelled", record) for record in first if record.section == "labelled"]
    medium = [record for record in first if record.section == "artefacts" and record.facts["level"] == "medium"]
    for kind in dict.fromkeys(str(record.facts["kind"]) for record in medium):
        chosen.append((f"{kind.replace('_', ' ')}, medium", next(r for r in medium if r.facts["kind"] == kind)))
    healthy = [record for record in first if record.section == "healthy"]
    chosen += [("healthy", healthy[0])] if healthy else []
    examples = (_example(f"{what}: {record.case}", by_name[record.section, record.case], finders, store) for what, record in chosen)
    return [example for example in examples if example is not None]


def _example(caption: str, trial: Trial, finders: Sequence[Finder], store: Store) -> Example | None:
    pictures = [store.picture(trial, finder) for finder in finders]
    there = [picture for picture in pictures if picture is not None]
    if len(there) < len(finders):
        return None
    records = [store.read(trial, finder) for finder in finders]
    titles = [_heading(finder, record) for finder, record in zip(finders, records, strict=True)]
    return Example(caption, draw(there, titles))


def draw(pictures: Sequence[Picture], titles: Sequence[str]) -> str:
    """The case with the outline of the truth, then for each finder its mask, filled, on the same slice; PNG as a data address."""
    first, count = pictures[0], len(pictures) + 1
    height = _WIDTH * first.volume.shape[0] * first.aspect / first.volume.shape[1]
    whole = height + _TITLE
    figure = Figure(figsize=(_WIDTH * count, whole), facecolor="black", dpi=90)
    canvas = FigureCanvasAgg(figure)
    top = float(np.percentile(first.volume[first.volume > 0], 99.5)) if (first.volume > 0).any() else 1.0
    for number, title in enumerate(["Volume", *titles]):
        axis = figure.add_axes((number / count + 0.002, 0.005, 1 / count - 0.004, height / whole - 0.005))
        axis.axis("off")
        axis.imshow(first.volume, cmap="gray", vmin=0, vmax=top, aspect=first.aspect)
        if number:
            mask = pictures[number - 1].mask
            axis.imshow(np.ma.masked_where(~mask, mask), cmap=_flat_colour(), alpha=0.6, aspect=first.aspect, interpolation="nearest")
        if first.truth.any():
            axis.contour(first.truth, levels=[0.5], colors=TRUTH, linewidths=0.9)
        figure.text((number + 0.5) / count, 1 - 0.05 / whole, title, color="white", fontsize=8, ha="center", va="top")
    stream = io.BytesIO()
    canvas.print_png(stream)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _heading(finder: Finder, record: Record | None) -> str:
    title = textwrap.fill(finder.title, _TITLE_LETTERS, break_on_hyphens=False)
    if record is None:
        return title
    if record.section in ("strokes", "labelled"):
        return f"{title}\nDice {record.figures['dice'] or 0:.2f}"
    return f"{title}\n{100 * record.masked_share:.1f} % masked"


def _flat_colour() -> ListedColormap:
    return ListedColormap([OUTLINE])
