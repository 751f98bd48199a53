"""The table as a reader wants it: one line a finder, the figures that matter side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from IterMask3DLib.evaluation.bootstrap import Estimate
from IterMask3DLib.evaluation.table import BEHIND, ORACLE, Row


@dataclass(frozen=True)
class Column:
    """A metric of a table: its key in the rows, its heading, the digits shown, and whether more is better (None: no value is marked as best)."""

    metric: str
    heading: str
    digits: int = 2
    higher_is_better: bool | None = True
    group: str | None = None


@dataclass(frozen=True)
class Block:
    """One table: the figures of a group of cases, a line for each finder."""

    title: str
    section: str
    group: str
    columns: tuple[Column, ...]
    note: str = ""


_OVERLAP = (
    Column("dice", "Dice, own mask"),
    Column(BEHIND, "Dice behind the first line", 2, None),
    Column(ORACLE, "Dice, best threshold (oracle)"),
    Column("auroc", "AUROC, brain voxels"),
    Column("average_precision", "Average precision"),
    Column("sensitivity", "Sensitivity"),
    Column("precision", "Precision"),
    Column("iou", "IoU"),
)
_DISTANCE = (
    Column("assd_mm", "ASSD (mm)", 1, False),
    Column("hd95_mm", "HD95 (mm)", 1, False),
    Column("volume_error_ml", "Volume error (ml)", 1, False),
    Column("absolute_volume_error_ml", "Absolute volume error (ml)", 1, False),
    Column("lesion_f1", "Lesion F1"),
    Column("psnr_healthy_db", "PSNR, healthy tissue (dB)", 1),
)
_SIZES = tuple(Column("dice", f"Dice, {size}", group=size) for size in ("small", "medium", "large")) + tuple(
    Column("auroc", f"AUROC, {size}", group=size) for size in ("small", "medium", "large")
)
_SCORES = {"masked_share": "mask size", "mean_score": "mean score", "first_error": "first pass"}


def _detection(*scores: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{metric}_by_{score}", f"{heading}, {_SCORES[score]}", 2, better)
        for score in scores
        for metric, heading, better in (
            ("auroc", "AUROC", True),
            ("average_precision", "Average precision", True),
            ("fpr_at_80_tpr", "FPR at 80 % TPR", False),
            ("fpr_at_90_tpr", "FPR at 90 % TPR", False),
        )
    )


_AREAS = tuple(Column(f"auroc_by_{score}", f"AUROC, {name}") for score, name in _SCORES.items())
_KINDS = ("top_chunk", "middle_chunk", "bias_field", "spike", "ghosting", "motion", "kspace_noise", "zipper")


def _by_kind(score: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"auroc_by_{score}", kind.replace("_", " ").replace("kspace", "k-space"), group=f"medium {kind}") for kind in _KINDS
    )


_HEALTHY = (
    Column("false_positive_ml", "False positives (ml)", 1, False),
    Column("false_positive_percent", "False positives (% of the brain)", 2, False),
    Column("psnr_healthy_db", "PSNR (dB)", 1),
)
_AS_PUBLISHED = (
    "Against the healthy brains, by the size of the own mask and by the mean over the brain of the score (IterMask3D: of its last pass)."
)
_FIRST_PASS = "By the mean error of the pass that hides the whole brain; goes beyond the paper, chosen on validation brains."

BLOCKS = (
    Block("Synthetic strokes: overlap", "strokes", "all", _OVERLAP),
    Block("Synthetic strokes: distance, volume and lesions", "strokes", "all", _DISTANCE),
    Block("Synthetic strokes by size", "strokes", "all", _SIZES, "Small: below 5 ml; medium: 5 to 30 ml; large: 30 ml and more."),
    Block("Healthy brains: what is masked although nothing is there", "healthy", "all", _HEALTHY),
    Block(
        "Artefacts of medium severity: detection as published",
        "artefacts",
        "medium",
        _detection("masked_share", "mean_score"),
        _AS_PUBLISHED,
    ),
    Block("Artefacts of medium severity: detection by the first pass", "artefacts", "medium", _detection("first_error"), _FIRST_PASS),
    Block("Artefacts of medium severity: AUROC by mean score, by kind", "artefacts", "medium", _by_kind("mean_score")),
    Block("Artefacts of medium severity: AUROC by mask size, by kind", "artefacts", "medium", _by_kind("masked_share")),
    Block("Mild artefacts: detection", "artefacts", "mild", _AREAS),
    Block("Severe artefacts: detection", "artefacts", "severe", _AREAS),
    Block("Labelled volumes: overlap", "labelled", "all", _OVERLAP),
    Block("Labelled volumes: distance, volume and lesions", "labelled", "all", _DISTANCE),
)


@dataclass(frozen=True)
class Line:
    """A finder's figures in the order of the block's columns; `best`: for each, whether no other finder has a better one."""

    title: str
    estimates: tuple[Estimate | None, ...]
    best: tuple[bool, ...]


def lines_of(block: Block, rows: Sequence[Row]) -> list[Line]:
    """The lines of a block, in the order of the finders, without those that have no figure in it; empty where the section was not evaluated."""
    known = {(row.group, row.metric, row.finder): row.estimate for row in rows if row.section == block.section}
    titles = {row.finder: row.title for row in rows if row.section == block.section}
    if not any(row.section == block.section and row.group == block.group for row in rows):
        return []
    columns = [[known.get((column.group or block.group, column.metric, finder)) for finder in titles] for column in block.columns]
    best = [_best(column, estimates) for column, estimates in zip(block.columns, columns, strict=True)]
    lines = [
        Line(title, tuple(column[number] for column in columns), tuple(column[number] for column in best))
        for number, title in enumerate(titles.values())
    ]
    return [line for line in lines if any(line.estimates)]


def shown(estimate: Estimate | None, digits: int) -> tuple[str, str]:
    """A figure and its interval as text; a dash where there is none."""
    if estimate is None or estimate.value is None:
        return "–", ""
    interval = "" if estimate.low is None or estimate.high is None else f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"
    return f"{estimate.value:.{digits}f}", interval


@dataclass(frozen=True)
class MainFigure:
    """A figure that belongs into a summary: where it is in the rows, and what it is called in a terminal and in a text."""

    section: str
    group: str
    metric: str
    short: str
    heading: str


MAIN_FIGURES = (
    MainFigure("strokes", "all", "dice", "Dice", "Strokes: Dice, own mask"),
    MainFigure("strokes", "small", "dice", "small", "small"),
    MainFigure("strokes", "medium", "dice", "medium", "medium"),
    MainFigure("strokes", "large", "dice", "large", "large"),
    MainFigure("strokes", "all", ORACLE, "oracle", "Dice, best threshold (oracle)"),
    MainFigure("strokes", "all", "auroc", "AUROC", "AUROC, brain voxels"),
    MainFigure("healthy", "all", "false_positive_percent", "FP %", "Healthy: masked, % of the brain"),
    MainFigure("artefacts", "medium", "auroc_by_masked_share", "artef.", "Artefacts: AUROC by mask size"),
    MainFigure("artefacts", "medium", "auroc_by_mean_score", "by mean", "by mean score"),
    MainFigure("artefacts", "medium", "auroc_by_first_error", "by first", "by first pass"),
    MainFigure("labelled", "all", "dice", "label.", "Labelled: Dice, own mask"),
)


def main_cells(rows: Sequence[Row]) -> tuple[list[MainFigure], dict[str, list[tuple[str, str]]]]:
    """The main figures that were evaluated and, for each finder's title, the text of each with that of its interval."""
    known = {(row.section, row.group, row.metric, row.finder): row.estimate for row in rows}
    titles = {row.finder: row.title for row in rows}
    there = [main for main in MAIN_FIGURES if any((main.section, main.group, main.metric, finder) in known for finder in titles)]
    lines = {
        title: [shown(known.get((main.section, main.group, main.metric, finder)), 2) for main in there] for finder, title in titles.items()
    }
    return there, lines


def summary(rows: Sequence[Row]) -> str:
    """The main figures as plain text."""
    there, lines = main_cells(rows)
    text = [f"{'':40}" + "".join(f"{main.short:>9}" for main in there)]
    text += [f"{title:40}" + "".join(f"{value:>9}" for value, _ in cells) for title, cells in lines.items()]
    return "\n".join(text)


def markdown(rows: Sequence[Row]) -> str:
    """The main figures as a Markdown table, each with its 95 % interval in brackets."""
    there, lines = main_cells(rows)
    text = ["| | " + " | ".join(main.heading for main in there) + " |", "|---|" + "---|" * len(there)]
    for title, cells in lines.items():
        joined = [value if not interval else f"{value} ({interval.replace(' to ', '–')})" for value, interval in cells]
        text.append(f"| {title} | " + " | ".join(joined) + " |")
    return "\n".join(text) + "\n"


def _best(column: Column, estimates: Sequence[Estimate | None]) -> list[bool]:
    """A bias has no best direction but towards 0; everything else has a better side."""
    values = [None if e is None or e.value is None else e.value for e in estimates]
    ranked = [None if v is None else abs(v) if column.metric == "volume_error_ml" else v for v in values]
    there = [value for value in ranked if value is not None]
    if not there or column.higher_is_better is None:
        return [False] * len(ranked)
    top = max(there) if column.higher_is_better else min(there)
    return [value == top for value in ranked]
