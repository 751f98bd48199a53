"""From the records of single cases to the figures of a set, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from IterMask3DLib.core.files import write_csv
from IterMask3DLib.evaluation.bootstrap import Estimate, Statistic, estimate, highest_mean_of, mean_of
from IterMask3DLib.evaluation.cases import ARTEFACTS, HEALTHY, LABELLED, STROKES
from IterMask3DLib.evaluation.metrics import FIGURES
from IterMask3DLib.evaluation.ranking import average_precision, false_positive_rate, roc_auc
from IterMask3DLib.evaluation.records import CaseRecord

ORACLE = "dice_at_best_threshold_oracle"
BEHIND = "dice_behind_first"
DETECTION_SCORES = ("masked_share", "mean_score", "first_error", "case_score")
"""What tells artefacts from healthy brains; the first two are the published ones, the others go beyond."""

CASE_COLUMNS: tuple[str, ...] = ("section", "case", "subject", "group", "finder", *FIGURES, "masked_share", "masked_ml")
CASE_COLUMNS += DETECTION_SCORES[1:]
COLUMNS = ("section", "group", "finder", "metric", "value", "low_95", "high_95", "cases")
TableEntry = tuple[str, str, str, Estimate]
"""Section, group, metric, figure."""


def case_frame(records: Iterable[CaseRecord]) -> pd.DataFrame:
    """A row for each record: `CASE_COLUMNS`, and the curve and the kind of artefact. Missing numbers are NaN.

    The group is the part of its section a case belongs to: a stroke's size, an artefact's severity.
    """
    rows = [
        {
            **{name: getattr(record, name, None) for name in ("section", "case", "subject", "masked_ml", "curve")},
            **{name: getattr(record, name) for name in DETECTION_SCORES},
            **record.figures,
            "finder": record.detector,
            "group": str(record.facts.get("size") or record.facts.get("level") or ""),
            "kind": str(record.facts.get("kind", "")),
        }
        for record in records
    ]
    frame = pd.DataFrame(rows, columns=[*CASE_COLUMNS, "curve", "kind"])
    numbers = [*FIGURES, "masked_ml", *DETECTION_SCORES]
    return frame.astype(dict.fromkeys(numbers, np.float64))


def figure_table(cases: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The whole table (`COLUMNS`), one figure a row, detector by detector, from the rows of `case_frame`."""
    rows = []
    names = list(dict.fromkeys(cases.finder))
    for name in names:
        own = cases[cases.finder == name]
        figures = [
            *(_behind(cases[cases.finder == names[0]], own, seed) if name != names[0] else ()),
            *_segmentation(own[own.section == STROKES], seed),
            *_segmentation(own[own.section == LABELLED], seed),
            *_healthy(own[own.section == HEALTHY], seed),
            *_detection(own[own.section == HEALTHY], own[own.section == ARTEFACTS], seed),
        ]
        rows += [(section, group, name, metric, *found) for section, group, metric, found in figures]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _segmentation(cases: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    for group in ("all", "small", "medium", "large"):
        members = cases if group == "all" else cases[cases.group == group]
        if members.empty:
            continue
        section, subjects = str(members.section.iloc[0]), list(members.subject)
        for metric in FIGURES:
            yield section, group, metric, estimate(subjects, mean_of(members[metric]), seed)
        if all(map(len, members.curve)):
            yield section, group, ORACLE, estimate(subjects, highest_mean_of(np.array(list(members.curve))), seed)


def _behind(first: pd.DataFrame, own: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    """How much lower the Dice is than the first detector's on the same cases: above 0 the first is ahead."""
    pairs = first.merge(own, on=["section", "case", "subject"], suffixes=("_first", ""))
    for section in (STROKES, LABELLED):
        chosen = pairs[pairs.section == section]
        if len(chosen):
            differences = chosen.dice_first - chosen.dice
            yield section, "all", BEHIND, estimate(list(chosen.subject), mean_of(differences), seed)


def _healthy(cases: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    figures = {
        "false_positive_ml": cases.masked_ml,
        "false_positive_percent": 100 * cases.masked_share,
        "psnr_healthy_db": cases.psnr_healthy_db,
    }
    for metric, values in figures.items() if len(cases) else ():
        yield HEALTHY, "all", metric, estimate(list(cases.subject), mean_of(values), seed)


def _detection(healthy: pd.DataFrame, artefacts: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    if healthy.empty:
        return
    for severity in dict.fromkeys(artefacts.group):
        chosen = artefacts[artefacts.group == severity]
        for metric, value in _separation(healthy, chosen, seed):
            yield ARTEFACTS, severity, metric, value
        for kind in dict.fromkeys(chosen.kind) if severity == "medium" else ():
            for metric, value in _separation(healthy, chosen[chosen.kind == kind], seed, only_auroc=True):
                yield ARTEFACTS, f"{severity} {kind}", metric, value


def _separation(
    healthy: pd.DataFrame, anomalous: pd.DataFrame, seed: int, only_auroc: bool = False
) -> Iterable[tuple[str, Estimate]]:
    """How well each score of a case tells two groups of cases apart."""
    both = pd.concat([healthy, anomalous])
    truth = np.arange(len(both)) >= len(healthy)
    for score in DETECTION_SCORES:
        values = both[score].to_numpy()
        if np.isnan(values).any():
            continue
        figures: dict[str, Statistic] = {"auroc": partial(roc_auc, values, truth)}
        if not only_auroc:
            figures["average_precision"] = partial(average_precision, values, truth)
            figures["fpr_at_80_tpr"] = partial(false_positive_rate, values, truth, sensitivity=0.8)
            figures["fpr_at_90_tpr"] = partial(false_positive_rate, values, truth, sensitivity=0.9)
        for metric, statistic in figures.items():
            yield f"{metric}_by_{score}", estimate(list(both.subject), statistic, seed)


def write_frame(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Columns of a frame as CSV, numbers with six digits, nothing where there is none."""
    rows = frame[list(columns)].itertuples(index=False)
    write_csv(path, columns, ([_cell(value) for value in row] for row in rows))


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    return "" if np.isnan(value) else f"{value:.6g}"
