"""From the records of single cases to the figures of a set, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from IterMask3DLib.core.files import write_csv
from IterMask3DLib.evaluation.bootstrap import (
    Estimate,
    Statistic,
    estimate,
    froc_sensitivity,
    highest_mean_of,
    mean_of,
    ratio_of,
)
from IterMask3DLib.evaluation.cases import ARTEFACTS, HEALTHY, LABELLED, STROKES, TUMOURS
from IterMask3DLib.evaluation.metrics import FIGURES, OVERLAP
from IterMask3DLib.evaluation.ranking import average_precision, false_positive_rate, roc_auc
from IterMask3DLib.evaluation.records import CaseRecord
from IterMask3DLib.evaluation.strokes import size_class

ORACLE = "dice_at_best_threshold_oracle"
BEHIND = "dice_behind_first"
DETECTION_SCORES = ("masked_share", "mean_score", "first_error", "case_score")
"""What tells artefacts from healthy brains; the first two are the published ones, the others go beyond."""

CASE_COLUMNS: tuple[str, ...] = ("section", "case", "subject", "group", "finder", *FIGURES, "masked_share", "masked_ml")
CASE_COLUMNS += DETECTION_SCORES[1:]
STRATA = ("scanner", "contrast", "sex", "age")
"""What cases are told apart by; a group of the table is e.g. "scanner ixi"."""
CASE_COLUMNS += (*STRATA, "false_lesions")
SIZES = ("small", "medium", "large")
FROC_LIMITS = (1, 5)
"""False components a case at which the FROC curve is read."""
_SEGMENTED = (STROKES, LABELLED, TUMOURS)
_OF_STRATA = ("dice", "auroc", "average_precision", "lesion_f1")
_MIDDLE_AGE = 50
_PARTS = 20
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
            "lesions": record.lesions,
            "froc": record.froc,
            "false_lesions": record.false_lesions,
            "slices": record.slices,
            **{name: record.facts.get(name) for name in ("scanner", "contrast", "sex", "age")},
        }
        for record in records
    ]
    frame = pd.DataFrame(rows, columns=[*CASE_COLUMNS, "curve", "kind", "lesions", "froc", "slices"])
    numbers = [*FIGURES, "masked_ml", *DETECTION_SCORES, "false_lesions", "age"]
    return frame.astype(dict.fromkeys(numbers, np.float64)).fillna(dict.fromkeys(STRATA[:3], ""))


def figure_table(cases: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The whole table (`COLUMNS`), one figure a row, detector by detector, from the rows of `case_frame`."""
    rows = []
    names = list(dict.fromkeys(cases.finder))
    for name in names:
        own = cases[cases.finder == name]
        figures = [
            *(_behind(cases[cases.finder == names[0]], own, seed) if name != names[0] else ()),
            *(entry for section in _SEGMENTED for entry in _segmentation(own[own.section == section], seed)),
            *_healthy(own[own.section == HEALTHY], seed),
            *_detection(own[own.section == HEALTHY], own[own.section == ARTEFACTS], seed),
            *_detection_of_strokes(own[own.section == HEALTHY], own[own.section == STROKES], seed),
        ]
        rows += [(section, group, name, metric, *found) for section, group, metric, found in figures]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _segmentation(cases: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    for group in ("all", *SIZES):
        members = cases if group == "all" else cases[cases.group == group]
        yield from _segmentation_of(members, group, FIGURES, seed)
    yield from _lesions(cases, "all", seed)
    for group, members in strata(cases):
        yield from _segmentation_of(members, group, _OF_STRATA, seed)
        yield from _lesions(members, group, seed)


def strata(cases: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    """The cases by scanner, contrast, sex and age, each where it tells them apart, with the name of the group."""
    for name in STRATA[:3]:
        values = sorted(set(cases[name]) - {""})
        for value in values if len(values) > 1 else ():
            yield f"{name} {value}", cases[cases[name] == value]
    young, old = cases[cases.age < _MIDDLE_AGE], cases[cases.age >= _MIDDLE_AGE]
    if len(young) and len(old):
        yield from ((f"age below {_MIDDLE_AGE}", young), (f"age {_MIDDLE_AGE} or more", old))


def _segmentation_of(members: pd.DataFrame, group: str, metrics: Sequence[str], seed: int) -> Iterable[TableEntry]:
    if members.empty:
        return
    section, subjects = str(members.section.iloc[0]), list(members.subject)
    for metric in metrics:
        yield section, group, metric, estimate(subjects, mean_of(members[metric]), seed)
    if all(map(len, members.curve)):
        yield section, group, ORACLE, estimate(subjects, highest_mean_of(np.array(list(members.curve))), seed)
    if group == "all" and all(map(len, members.slices)):
        # Of the slices of all cases together; those of one case are drawn together.
        scores, truth = np.concatenate([np.array(each, dtype=np.float64) for each in members.slices]).T
        number = np.repeat(np.arange(len(members)), list(map(len, members.slices)))
        for name, figure in (("auroc", roc_auc), ("average_precision", average_precision)):
            statistic = _of_slices(partial(figure, scores, truth > 0), number)
            yield section, group, f"slice_{name}", estimate(subjects, statistic, seed)


def _of_slices(figure: Statistic, case: NDArray[np.intp]) -> Statistic:
    """A figure of slices, each weighted as its case; `case`: the number of each slice's."""
    return lambda weights: np.concatenate([figure(part[:, case]) for part in np.array_split(weights, _PARTS)])


def _lesions(members: pd.DataFrame, group: str, seed: int) -> Iterable[TableEntry]:
    """Lesion by lesion: how many of each size are found by the own mask, and what the score finds at what price."""
    if members.empty:
        return
    section, subjects = str(members.section.iloc[0]), list(members.subject)
    if not members.false_lesions.isna().any():
        for size in SIZES:
            own = [[share for ml, share in lesions if size_class(ml) == size] for lesions in members.lesions]
            found = [sum(share >= OVERLAP for share in shares) for shares in own]
            if any(own):
                statistic = ratio_of(found, [len(shares) for shares in own])
                yield section, group, f"lesions_found_{size}", estimate(subjects, statistic, seed)
    if all(map(len, members.froc)):
        points = np.array(list(members.froc), dtype=np.float64)
        points[points < 0] = np.nan
        for most in FROC_LIMITS:
            statistic = froc_sensitivity(points[..., 0], points[..., 1], members.lesions.map(len), most)
            yield section, group, f"froc_sensitivity_at_{most}", estimate(subjects, statistic, seed)


def _behind(first: pd.DataFrame, own: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    """How much lower the Dice is than the first detector's on the same cases: above 0 the first is ahead."""
    pairs = first.merge(own, on=["section", "case", "subject"], suffixes=("_first", ""))
    for section in _SEGMENTED:
        chosen = pairs[pairs.section == section]
        if len(chosen):
            differences = chosen.dice_first - chosen.dice
            yield section, "all", BEHIND, estimate(list(chosen.subject), mean_of(differences), seed)


def _healthy(cases: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    for group, members in [("all", cases), *strata(cases)] if len(cases) else ():
        figures = {
            "false_positive_ml": members.masked_ml,
            "false_positive_percent": 100 * members.masked_share,
            "false_positive_count": members.false_lesions,
            **({"psnr_healthy_db": members.psnr_healthy_db} if group == "all" else {}),
        }
        for metric, values in figures.items():
            yield HEALTHY, group, metric, estimate(list(members.subject), mean_of(values), seed)


def _detection(healthy: pd.DataFrame, artefacts: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    # Artefacts are compared with healthy brains of their own scanners.
    healthy = healthy[healthy.scanner.isin(set(artefacts.scanner))]
    if healthy.empty:
        return
    for severity in dict.fromkeys(artefacts.group):
        chosen = artefacts[artefacts.group == severity]
        for metric, value in _separation(healthy, chosen, seed):
            yield ARTEFACTS, severity, metric, value
        for kind in dict.fromkeys(chosen.kind) if severity == "medium" else ():
            for metric, value in _separation(healthy, chosen[chosen.kind == kind], seed, only_auroc=True):
                yield ARTEFACTS, f"{severity} {kind}", metric, value


def _detection_of_strokes(healthy: pd.DataFrame, strokes: pd.DataFrame, seed: int) -> Iterable[TableEntry]:
    """How well whole brains with a stroke are told from healthy ones of the same scanners."""
    healthy = healthy[healthy.scanner.isin(set(strokes.scanner))]
    if len(healthy) and len(strokes):
        for metric, value in _separation(healthy, strokes, seed, only_auroc=True):
            yield STROKES, "all", metric, value


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
