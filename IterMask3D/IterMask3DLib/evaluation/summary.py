"""The table as a reader wants it: one line a detector, the figures that matter side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from IterMask3DLib.evaluation.artefacts import KINDS
from IterMask3DLib.evaluation.cases import ARTEFACTS, HEALTHY, LABELLED, STROKES, TUMOURS
from IterMask3DLib.evaluation.table import BEHIND, FROC_LIMITS, ORACLE, SIZES, STRATA


@dataclass(frozen=True)
class TableColumn:
    """A metric of a block.

    Attributes:
        metric: its key in the table; heading: of the column; short: likewise in a terminal.
        digits: shown.
        higher_is_better: None where no value is to be marked as best.
        group, section: of the cases, where they are other than those of the block.
    """

    metric: str
    heading: str
    digits: int = 2
    higher_is_better: bool | None = True
    group: str = ""
    section: str = ""
    short: str = ""


@dataclass(frozen=True)
class TableBlock:
    """The figures of a group of cases, a line for each detector."""

    title: str
    section: str
    group: str
    columns: tuple[TableColumn, ...]
    note: str = ""


class TableCell(NamedTuple):
    """A figure and its interval as text, and whether no other detector has a better one."""

    text: str = "–"
    interval: str = ""
    is_best: bool = False


_SCORES = {
    "masked_share": "mask size",
    "mean_score": "mean score",
    "first_error": "first pass",
    "case_score": "case score",
}
_METRICS = {
    "dice": TableColumn("dice", "Dice, own mask"),
    BEHIND: TableColumn(BEHIND, "Dice behind the first line", 2, None),
    ORACLE: TableColumn(ORACLE, "Dice, best threshold (oracle)"),
    "auroc": TableColumn("auroc", "AUROC, brain voxels"),
    "average_precision": TableColumn("average_precision", "Average precision"),
    "sensitivity": TableColumn("sensitivity", "Sensitivity"),
    "precision": TableColumn("precision", "Precision"),
    "iou": TableColumn("iou", "IoU"),
    "assd_mm": TableColumn("assd_mm", "ASSD (mm)", 1, False),
    "hd95_mm": TableColumn("hd95_mm", "HD95 (mm)", 1, False),
    "volume_error_ml": TableColumn("volume_error_ml", "Volume error (ml)", 1, False),
    "absolute_volume_error_ml": TableColumn("absolute_volume_error_ml", "Absolute volume error (ml)", 1, False),
    "lesion_f1": TableColumn("lesion_f1", "Lesion F1"),
    "slice_auroc": TableColumn("slice_auroc", "AUROC, slices"),
    "slice_average_precision": TableColumn("slice_average_precision", "Average precision, slices"),
    "psnr_healthy_db": TableColumn("psnr_healthy_db", "PSNR, healthy tissue (dB)", 1),
    "false_positive_ml": TableColumn("false_positive_ml", "False positives (ml)", 1, False),
    "false_positive_percent": TableColumn("false_positive_percent", "False positives (% of the brain)", 2, False),
    "false_positive_count": TableColumn("false_positive_count", "False components", 1, False),
    **{f"lesions_found_{size}": TableColumn(f"lesions_found_{size}", f"Lesions found, {size}") for size in SIZES},
    **{
        f"froc_sensitivity_at_{most}": TableColumn(
            f"froc_sensitivity_at_{most}", f"FROC: lesions found at {most} false a case"
        )
        for most in FROC_LIMITS
    },
}


def _columns(*metrics: str) -> tuple[TableColumn, ...]:
    return tuple(_METRICS[metric] for metric in metrics)


_OVERLAP = _columns("dice", BEHIND, ORACLE, "auroc", "average_precision", "sensitivity", "precision", "iou")
_DISTANCE = _columns("assd_mm", "hd95_mm", "volume_error_ml", "absolute_volume_error_ml", "psnr_healthy_db")
_LESIONS = _columns(
    "lesion_f1",
    *(f"lesions_found_{size}" for size in SIZES),
    *(f"froc_sensitivity_at_{most}" for most in FROC_LIMITS),
)
_HEALTHY = _columns("false_positive_ml", "false_positive_percent", "false_positive_count", "psnr_healthy_db")
_BY_SIZE = tuple(
    TableColumn(metric, f"{heading}, {size}", group=size)
    for metric, heading in (
        ("dice", "Dice"),
        (ORACLE, "oracle"),
        ("auroc", "AUROC"),
        ("average_precision", "average precision"),
    )
    for size in SIZES
)
_SLICES = _columns("slice_auroc", "slice_average_precision")
_IN_STRATA = ("dice", ORACLE, "average_precision", f"froc_sensitivity_at_{FROC_LIMITS[0]}")
_AREAS = tuple(TableColumn(f"auroc_by_{score}", f"AUROC, {name}") for score, name in _SCORES.items())


def _detection(*scores: str) -> tuple[TableColumn, ...]:
    metrics = {
        "auroc": ("AUROC", True),
        "average_precision": ("Average precision", True),
        "fpr_at_80_tpr": ("FPR at 80 % TPR", False),
        "fpr_at_90_tpr": ("FPR at 90 % TPR", False),
    }
    return tuple(
        TableColumn(f"{metric}_by_{score}", f"{heading}, {_SCORES[score]}", 2, better)
        for score in scores
        for metric, (heading, better) in metrics.items()
    )


def _by_kind(score: str) -> tuple[TableColumn, ...]:
    headings = {kind: kind.replace("_", " ").replace("kspace", "k-space") for kind in KINDS}
    return tuple(TableColumn(f"auroc_by_{score}", text, group=f"medium {kind}") for kind, text in headings.items())


_SLICE_NOTE = (
    "A slice is as anomalous as its method says, else as the mean of the voxel score over its brain; a whole brain by "
    "the size of the own mask, the mean score, the first pass, and the number that a method itself gives a case."
)
_MEDIUM = "Artefacts of medium severity"
_LESION_NOTE = (
    "A lesion is found when a tenth of it is marked, a component is false when less than a tenth of it is true. FROC: "
    "the most lesions that one threshold for all cases finds with so many false components a case."
)
_SIZE_NOTE = "Small: below 5 ml; medium: 5 to 30 ml; large: 30 ml and more."
_AS_PUBLISHED = (
    "Against the healthy brains, by the size of the own mask and by the mean of the score over the brain (IterMask3D: "
    "of the last pass)."
)
_FIRST_PASS = (
    "By the error of the pass that hides the whole brain, its mean or as the method itself measures it; goes beyond "
    "the paper, chosen on validation brains."
)
_CASE_SCORE = "By the one number that a method itself gives a case."
_PUBLISHED = _detection("masked_share", "mean_score")

BLOCKS = (
    TableBlock("Synthetic strokes: overlap", STROKES, "all", _OVERLAP),
    TableBlock("Synthetic strokes: lesion by lesion", STROKES, "all", _LESIONS, _LESION_NOTE),
    TableBlock("Synthetic strokes: distance and volume", STROKES, "all", _DISTANCE),
    TableBlock("Synthetic strokes by size", STROKES, "all", _BY_SIZE, _SIZE_NOTE),
    TableBlock(
        "Synthetic strokes: slices, and whole brains beside healthy ones", STROKES, "all", _SLICES + _AREAS, _SLICE_NOTE
    ),
    TableBlock("Healthy brains: what is masked although nothing is there", HEALTHY, "all", _HEALTHY),
    TableBlock(f"{_MEDIUM}: detection as published", ARTEFACTS, "medium", _PUBLISHED, _AS_PUBLISHED),
    TableBlock(f"{_MEDIUM}: detection by the first pass", ARTEFACTS, "medium", _detection("first_error"), _FIRST_PASS),
    TableBlock(f"{_MEDIUM}: detection by the case score", ARTEFACTS, "medium", _detection("case_score"), _CASE_SCORE),
    TableBlock(f"{_MEDIUM}: AUROC by mean score, by kind", ARTEFACTS, "medium", _by_kind("mean_score")),
    TableBlock(f"{_MEDIUM}: AUROC by mask size, by kind", ARTEFACTS, "medium", _by_kind("masked_share")),
    TableBlock("Mild artefacts: detection", ARTEFACTS, "mild", _AREAS),
    TableBlock("Severe artefacts: detection", ARTEFACTS, "severe", _AREAS),
    TableBlock("Labelled volumes: overlap", LABELLED, "all", _OVERLAP),
    TableBlock("Labelled volumes: lesion by lesion", LABELLED, "all", _LESIONS, _LESION_NOTE),
    TableBlock("Labelled volumes: slices", LABELLED, "all", _SLICES, _SLICE_NOTE),
    TableBlock("Labelled volumes: distance and volume", LABELLED, "all", _DISTANCE),
    TableBlock("Tumours, on which thresholds may have been chosen: overlap", TUMOURS, "all", _OVERLAP),
)
_AREA = TableColumn("", "", section=ARTEFACTS, group="medium")
_MAIN_COLUMNS = (
    replace(_METRICS["dice"], heading="Strokes: Dice, own mask", short="Dice"),
    *(TableColumn("dice", size, group=size, short=size) for size in SIZES),
    replace(_METRICS[ORACLE], short="oracle"),
    replace(_METRICS["auroc"], short="AUROC"),
    replace(_METRICS["average_precision"], short="AP"),
    replace(_METRICS["slice_auroc"], short="slices"),
    TableColumn("false_positive_percent", "Healthy: masked, % of the brain", section=HEALTHY, short="FP %"),
    replace(_AREA, metric="auroc_by_masked_share", heading="Artefacts: AUROC by mask size", short="artef."),
    replace(_AREA, metric="auroc_by_mean_score", heading="by mean score", short="by mean"),
    replace(_AREA, metric="auroc_by_first_error", heading="by first pass", short="by first"),
    replace(_AREA, metric="auroc_by_case_score", heading="by case score", short="by case"),
    TableColumn("dice", "Labelled: Dice, own mask", section=LABELLED, short="label."),
)
MAIN = TableBlock("Main figures", STROKES, "all", _MAIN_COLUMNS)


def lines_of(block: TableBlock, table: pd.DataFrame, titles: Mapping[str, str]) -> list[tuple[str, list[TableCell]]]:
    """For each detector of `titles` its title and its cells, in the order of the block's columns."""
    columns = [_cells(block, column, table, titles) for column in block.columns]
    return [(title, [cells[number] for cells in columns]) for number, title in enumerate(titles.values())]


def summary(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """The main figures as plain text."""
    block = _evaluated(table)
    text = [f"{'':40}" + "".join(f"{column.short:>9}" for column in block.columns)]
    for title, cells in lines_of(block, table, titles):
        text.append(f"{title:40}" + "".join(f"{cell.text:>9}" for cell in cells))
    return "\n".join(text)


def markdown(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """The main figures as a Markdown table, each with its 95 % interval in brackets."""
    block = _evaluated(table)
    rows = [["", *(column.heading for column in block.columns)]]
    for title, cells in lines_of(block, table, titles):
        rows.append(
            [title, *(f"{c.text} ({c.interval.replace(' to ', '–')})" if c.interval else c.text for c in cells)]
        )
    text = [f"| {' | '.join(row)} |".replace("|  |", "| |", 1) for row in rows]
    return "\n".join([text[0], "|" + "---|" * len(rows[0]), *text[1:]]) + "\n"


def _evaluated(table: pd.DataFrame) -> TableBlock:
    """The main figures without those of cases that were not evaluated, and the Dice of each scanner and contrast."""
    known = set(zip(table.section, table.group, table.metric, strict=True))
    columns = [c for c in MAIN.columns if (c.section or MAIN.section, c.group or MAIN.group, c.metric) in known]
    for section, kind in ((STROKES, "scanner"), (LABELLED, "contrast"), (TUMOURS, "contrast")):
        for group in _groups(table, section, kind):
            value = group.removeprefix(f"{kind} ")
            heading = f"{section.capitalize()}, {value}: Dice, own mask"
            columns.append(TableColumn("dice", heading, group=group, section=section, short=value[:8]))
    return replace(MAIN, columns=tuple(columns))


def blocks_of(table: pd.DataFrame) -> list[TableBlock]:
    """All blocks: those of `BLOCKS`, and one for each section and stratum that the table has."""
    blocks = list(BLOCKS)
    for section in (STROKES, LABELLED, TUMOURS, HEALTHY):
        metrics = _HEALTHY[:3] if section == HEALTHY else _columns(*_IN_STRATA)
        for kind in STRATA:
            columns = [
                replace(column, heading=f"{column.heading}, {group.removeprefix(f'{kind} ')}", group=group)
                for column in metrics
                for group in _groups(table, section, kind)
            ]
            if columns:
                blocks.append(TableBlock(f"{section.capitalize()} by {kind}", section, "all", tuple(columns)))
    return blocks


def _groups(table: pd.DataFrame, section: str, kind: str) -> list[str]:
    groups = dict.fromkeys(table.group[table.section == section])
    return [group for group in groups if group.startswith(f"{kind} ")]


def _cells(block: TableBlock, column: TableColumn, table: pd.DataFrame, titles: Mapping[str, str]) -> list[TableCell]:
    """A column's cell for each detector. A bias has no best direction but towards 0; all else has a better side."""
    group, section = column.group or block.group, column.section or block.section
    chosen = table[(table.section == section) & (table.group == group) & (table.metric == column.metric)]
    figures = chosen.set_index("finder")[["value", "low_95", "high_95"]].reindex(list(titles))
    ranked = figures.value.abs() if column.metric == "volume_error_ml" else figures.value
    best = {True: ranked.max(), False: ranked.min(), None: np.nan}[column.higher_is_better]
    cells = []
    for rank, (value, low, high) in zip(ranked, figures.itertuples(index=False), strict=True):
        text, *interval = (f"{number:.{column.digits}f}" for number in (value, low, high))
        cells.append(TableCell() if np.isnan(value) else TableCell(text, " to ".join(interval), bool(rank == best)))
    return cells
