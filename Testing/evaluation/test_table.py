"""From records of cases to figures with intervals, and how a reader sees them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.evaluation.metrics import Segmentation
from IterMask3DLib.evaluation.page import write_page
from IterMask3DLib.evaluation.store import Record
from IterMask3DLib.evaluation.summary import BLOCKS, lines_of, markdown, shown, summary
from IterMask3DLib.evaluation.table import BEHIND, ORACLE, Row, all_rows, write_cases, write_rows

THRESHOLDS = np.linspace(0, 1, 3)
WHOLE = Segmentation(0.5, 0.3, 0.6, 0.4, 0.9, 0.5, 2.0, 8.0, -1.0, 1.0, 0.5, 1.0, 0.3, None, 4.0, 5.0).numbers()


def record(
    finder: str, section: str, number: int, dice: float = 0.0, share: float = 0.0, curve: tuple[float, ...] = (), **facts: str
) -> Record:
    figures = {**WHOLE, "dice": dice}
    first = 3 * share if finder == "ours" else None
    return Record(finder, section, f"case{number}", f"sub-{number % 5}", facts, figures, curve, share, 10 * share, 2 * share, 1.0, first)


def stroke(finder: str, number: int, dice: float) -> Record:
    size = ("small", "medium", "large")[number % 3]
    return record(finder, "strokes", number, dice, curve=(dice, 0.1 * (number % 2), 0.3), size=size)


def records_of(finder: str, gain: float) -> list[Record]:
    strokes = [stroke(finder, n, 0.04 * n + gain) for n in range(15)]
    healthy = [record(finder, "healthy", n, share=0.01 * n) for n in range(5)]
    broken = [record(finder, "artefacts", n, share=0.025 + 0.01 * n, kind="zipper", level="medium") for n in range(5)]
    return [*strokes, *healthy, *broken]


@pytest.fixture
def rows() -> list[Row]:
    records = {"ours": records_of("ours", 0.2), "other": records_of("other", 0.0)}
    return all_rows(records, {"ours": "Ours", "other": "Other"}, {"ours": THRESHOLDS, "other": THRESHOLDS}, seed=0)


def found(rows: list[Row], finder: str, section: str, group: str, metric: str) -> Row:
    (row,) = (r for r in rows if (r.finder, r.section, r.group, r.metric) == (finder, section, group, metric))
    return row


def test_figures_are_means_over_cases_and_lie_in_their_intervals(rows: list[Row]) -> None:
    dice = found(rows, "ours", "strokes", "all", "dice").estimate
    assert (
        dice.value == pytest.approx(np.mean([0.04 * n + 0.2 for n in range(15)])) and dice.low < dice.value < dice.high and dice.cases == 15
    )
    small = found(rows, "ours", "strokes", "small", "dice").estimate
    assert small.value == pytest.approx(np.mean([0.04 * n + 0.2 for n in range(0, 15, 3)]))
    assert found(rows, "ours", "strokes", "all", "psnr_healthy_db").estimate.value is None


def test_the_oracle_takes_one_threshold_for_all_cases(rows: list[Row]) -> None:
    # Mean curves: own Dice, 7 of 15 at 0.1, 0.3.
    assert found(rows, "ours", "strokes", "all", ORACLE).estimate.value == pytest.approx(0.48)
    assert found(rows, "other", "strokes", "all", ORACLE).estimate.value == pytest.approx(0.3)


def test_how_far_a_line_is_behind_the_first_is_told_pair_by_pair(rows: list[Row]) -> None:
    behind = found(rows, "other", "strokes", "all", BEHIND).estimate
    # The same difference in every pair leaves nothing to chance.
    assert behind.value == pytest.approx(0.2) and behind.low == pytest.approx(0.2) and behind.high == pytest.approx(0.2)
    assert not [row for row in rows if row.finder == "ours" and row.metric == BEHIND]


def test_artefacts_are_detected_against_the_healthy_brains(rows: list[Row]) -> None:
    healthy, broken = [0.01 * n for n in range(5)], [0.025 + 0.01 * n for n in range(5)]
    ahead = np.mean([b > h for b in broken for h in healthy])
    for score in ("masked_share", "mean_score", "first_error"):
        assert found(rows, "ours", "artefacts", "medium", f"auroc_by_{score}").estimate.value == pytest.approx(ahead)
        assert found(rows, "ours", "artefacts", "medium zipper", f"auroc_by_{score}").estimate.value == pytest.approx(ahead)
    assert not [row for row in rows if row.finder == "other" and "first_error" in row.metric]
    # Four of five true positives need a threshold of at most 0.035, which 0.04 alone of the healthy exceeds.
    assert found(rows, "ours", "artefacts", "medium", "fpr_at_80_tpr_by_masked_share").estimate.value == pytest.approx(0.2)
    assert found(rows, "ours", "healthy", "all", "false_positive_percent").estimate.value == pytest.approx(2.0)


def test_files_hold_every_figure_and_every_case(rows: list[Row], tmp_path: Path) -> None:
    write_rows(tmp_path / "table.csv", rows)
    write_cases(tmp_path / "cases.csv", records_of("ours", 0.2))
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(rows) and list(table[0])[-4:] == ["value", "low_95", "high_95", "cases"]
    assert next(r for r in table if r["metric"] == "psnr_healthy_db")["value"] == ""
    with (tmp_path / "cases.csv").open(encoding="utf-8") as file:
        cases = list(csv.DictReader(file))
    assert len(cases) == 25 and cases[3]["dice"] == "0.32" and cases[3]["group"] == "small" and cases[20]["group"] == "medium"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_best_of_a_column_is_marked_and_the_worst_is_not(rows: list[Row]) -> None:
    block = next(block for block in BLOCKS if block.section == "strokes")
    ours, other = lines_of(block, rows)
    assert [column.metric for column in block.columns][:3] == ["dice", BEHIND, ORACLE]
    assert ours.best[0] and not other.best[0] and not ours.best[1] and not other.best[1]
    assert lines_of(next(block for block in BLOCKS if block.section == "labelled"), rows) == []
    by_first_pass = next(block for block in BLOCKS if block.columns[0].metric == "auroc_by_first_error")
    assert [line.title for line in lines_of(by_first_pass, rows)] == ["Ours"]
    assert shown(None, 2) == ("–", "") and shown(ours.estimates[0], 2)[0] == "0.48"


def test_texts_show_what_was_evaluated_and_nothing_else(rows: list[Row]) -> None:
    lines = markdown(rows).splitlines()
    assert lines[0].startswith("| | Strokes: Dice, own mask | small |") and "Labelled" not in lines[0]
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert lines[2].startswith("| Ours | 0.48 (0.") and lines[3].startswith("| Other | 0.28 (0.")
    assert summary(rows).splitlines()[1].split()[:2] == ["Ours", "0.48"]


def test_the_page_says_which_figure_is_an_oracle_and_refers_to_nothing_outside(rows: list[Row], tmp_path: Path) -> None:
    made = {
        **dict.fromkeys(("protocol", "model", "model_sha256", "quality", "seed", "written"), "<x>"),
        "cases": {"strokes": 15},
        "subjects": {"strokes": 5},
        "settings": {"gamma": 0.1},
        "finders": {"ours": {}, "other": {"threshold": 0.25}},
        "median_seconds_a_case": {"ours": 1.0},
        "versions": {"python": "3"},
    }
    write_page(tmp_path / "table.html", rows, made, [])
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert "Dice, best threshold (oracle)" in page and "Dice, own mask" in page
    assert "other: 0.25" in page and "&lt;x&gt;" in page and "<x>" not in page
    assert "http" not in page and "src=" not in page
    # All strokes, those of medium size, and the oracle.
    assert page.count('<td class="best"><b>0.48</b>') == 3
