"""From the records of single cases to the figures of a set, with intervals."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.evaluation.bootstrap import Estimate, Statistic, estimate, highest_mean_of, mean_of
from IterMask3DLib.evaluation.metrics import Segmentation
from IterMask3DLib.evaluation.ranking import average_precisions, false_positive_rates_at, roc_aucs
from IterMask3DLib.evaluation.store import Record

SEGMENTATION = tuple(field.name for field in fields(Segmentation))
ORACLE = "dice_at_best_threshold_oracle"
BEHIND = "dice_behind_first"
DETECTION_SCORES = ("masked_share", "mean_score", "first_error")
"""Of a case, to tell artefacts from healthy brains: the first two are the published ones, the third goes beyond (measured on validation brains)."""
CASE_COLUMNS = ("section", "case", "subject", "group", "finder", *SEGMENTATION, "masked_share", "masked_ml", *DETECTION_SCORES[1:])


@dataclass(frozen=True)
class Row:
    """One figure: of which finder, on which group of which section, with its 95 % interval."""

    section: str
    group: str
    finder: str
    title: str
    metric: str
    estimate: Estimate


def all_rows(
    records: Mapping[str, Sequence[Record]], titles: Mapping[str, str], thresholds: Mapping[str, NDArray[np.float64]], seed: int
) -> list[Row]:
    """The whole table. `records`, `titles`, `thresholds`: of each finder by its name, in the order of the table, with the same cases in each."""
    rows: list[Row] = []
    first = next(iter(records))
    for name, found in records.items():
        made = [
            *(_behind(records[first], found, seed) if name != first else ()),
            *_segmentation(found, "strokes", thresholds[name], seed),
            *_segmentation(found, "labelled", thresholds[name], seed),
            *_healthy(found, seed),
            *_detection(found, seed),
        ]
        rows += [Row(section, group, name, titles[name], metric, value) for section, group, metric, value in made]
    return rows


def group_of(record: Record) -> str:
    """The part of its section a case belongs to: a stroke's size, an artefact's severity."""
    return str(record.facts.get("size") or record.facts.get("level") or "")


def _segmentation(
    records: Sequence[Record], section: str, thresholds: NDArray[np.float64], seed: int
) -> Iterable[tuple[str, str, str, Estimate]]:
    chosen = [record for record in records if record.section == section]
    groups = {"all": chosen, **{size: [r for r in chosen if group_of(r) == size] for size in ("small", "medium", "large")}}
    for group, members in groups.items():
        if not members:
            continue
        subjects = [record.subject for record in members]
        for metric in SEGMENTATION:
            yield section, group, metric, estimate(subjects, mean_of([record.figures[metric] for record in members]), seed)
        curves = np.array([record.curve for record in members])
        yield section, group, ORACLE, estimate(subjects, highest_mean_of(curves), seed)


def _behind(first: Sequence[Record], records: Sequence[Record], seed: int) -> Iterable[tuple[str, str, str, Estimate]]:
    """How much lower the Dice is than the first finder's on the same cases: an interval above 0 means that the first is ahead."""
    for section in ("strokes", "labelled"):
        pairs = [(ahead, record) for ahead, record in zip(first, records, strict=True) if record.section == section]
        if pairs:
            differences = [(ahead.figures["dice"] or 0.0) - (record.figures["dice"] or 0.0) for ahead, record in pairs]
            yield section, "all", BEHIND, estimate([record.subject for _, record in pairs], mean_of(differences), seed)


def _healthy(records: Sequence[Record], seed: int) -> Iterable[tuple[str, str, str, Estimate]]:
    chosen = [record for record in records if record.section == "healthy"]
    if not chosen:
        return
    subjects = [record.subject for record in chosen]
    yield "healthy", "all", "false_positive_ml", estimate(subjects, mean_of([record.masked_ml for record in chosen]), seed)
    yield "healthy", "all", "false_positive_percent", estimate(subjects, mean_of([100 * record.masked_share for record in chosen]), seed)
    yield "healthy", "all", "psnr_healthy_db", estimate(subjects, mean_of([record.figures["psnr_healthy_db"] for record in chosen]), seed)


def _detection(records: Sequence[Record], seed: int) -> Iterable[tuple[str, str, str, Estimate]]:
    healthy = [record for record in records if record.section == "healthy"]
    artefacts = [record for record in records if record.section == "artefacts"]
    if not healthy or not artefacts:
        return
    for severity in dict.fromkeys(str(record.facts["level"]) for record in artefacts):
        chosen = [record for record in artefacts if record.facts["level"] == severity]
        for metric, value in _detected(healthy, chosen, seed, everything=True):
            yield "artefacts", severity, metric, value
        for kind in dict.fromkeys(str(record.facts["kind"]) for record in chosen) if severity == "medium" else ():
            for metric, value in _detected(healthy, [r for r in chosen if r.facts["kind"] == kind], seed, everything=False):
                yield "artefacts", f"{severity} {kind}", metric, value


def _detected(healthy: Sequence[Record], anomalous: Sequence[Record], seed: int, everything: bool) -> Iterable[tuple[str, Estimate]]:
    together = [*healthy, *anomalous]
    subjects = [record.subject for record in together]
    truth = np.array([False] * len(healthy) + [True] * len(anomalous))
    for score in DETECTION_SCORES:
        given = [getattr(record, score) for record in together]
        if None in given:
            continue
        values = np.array(given, dtype=np.float64)
        figures: dict[str, Statistic] = {"auroc": partial(roc_aucs, values, truth)}
        if everything:
            figures["average_precision"] = partial(average_precisions, values, truth)
            figures["fpr_at_80_tpr"] = partial(false_positive_rates_at, values, truth, 0.8)
            figures["fpr_at_90_tpr"] = partial(false_positive_rates_at, values, truth, 0.9)
        for metric, statistic in figures.items():
            yield f"{metric}_by_{score}", estimate(subjects, statistic, seed)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """The table as CSV, one figure a row."""
    header = ("section", "group", "finder", "metric", "value", "low_95", "high_95", "cases")
    lines = [
        (
            r.section,
            r.group,
            r.finder,
            r.metric,
            *(_number(v) for v in (r.estimate.value, r.estimate.low, r.estimate.high)),
            r.estimate.cases,
        )
        for r in rows
    ]
    _write(path, header, lines)


def write_cases(path: Path, records: Iterable[Record]) -> None:
    """Every case of every finder as CSV."""
    lines = []
    for record in records:
        flat = {**asdict(record), **record.figures, "group": group_of(record)}
        lines.append(tuple(_number(flat[c]) if isinstance(flat.get(c), float) else flat.get(c) for c in CASE_COLUMNS))
    _write(path, CASE_COLUMNS, lines)


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)
    os.replace(beside, path)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
