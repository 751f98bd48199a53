"""From records of cases to figures with intervals, and how a reader sees them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from IterMask3DLib.evaluation.bootstrap import froc_sensitivity
from IterMask3DLib.evaluation.metrics import FIGURES
from IterMask3DLib.evaluation.records import CaseRecord
from IterMask3DLib.evaluation.results import page
from IterMask3DLib.evaluation.summary import BLOCKS, TableCell, blocks_of, lines_of, markdown, summary
from IterMask3DLib.evaluation.table import BEHIND, CASE_COLUMNS, COLUMNS, ORACLE, case_frame, figure_table, write_frame

TITLES = {"ours": "Ours", "other": "Other"}
WHOLE = dict(
    zip(FIGURES, (0.5, 0.3, 0.6, 0.4, 0.9, 0.5, 2.0, 8.0, -1.0, 1.0, 0.5, 1.0, 0.3, None, 4.0, 5.0), strict=True)
)


def record(
    detector: str,
    section: str,
    number: int,
    dice: float = 0.0,
    share: float = 0.0,
    curve: tuple[float, ...] = (),
    **facts: Any,
) -> CaseRecord:
    figures = {**WHOLE, "dice": dice}
    first = 3 * share if detector == "ours" else None
    subject = f"sub-{number % 5}"
    numbers = (share, 10 * share, 2 * share, 1.0, first)
    return CaseRecord(detector, section, f"case{number}", subject, facts, figures, curve, *numbers)


def stroke(detector: str, number: int, dice: float) -> CaseRecord:
    size = ("small", "medium", "large")[number % 3]
    return record(detector, "strokes", number, dice, curve=(dice, 0.1 * (number % 2), 0.3), size=size)


def records_of(detector: str, gain: float) -> list[CaseRecord]:
    strokes = [stroke(detector, n, 0.04 * n + gain) for n in range(15)]
    healthy = [record(detector, "healthy", n, share=0.01 * n) for n in range(5)]
    broken = [record(detector, "artefacts", n, share=0.025 + 0.01 * n, kind="zipper", level="medium") for n in range(5)]
    return [*strokes, *healthy, *broken]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return figure_table(case_frame([*records_of("ours", 0.2), *records_of("other", 0.0)]), seed=0)


def found(table: pd.DataFrame, detector: str, section: str, group: str, metric: str) -> Any:
    """The one row of a figure."""
    where = (table.finder == detector) & (table.section == section) & (table.group == group) & (table.metric == metric)
    (row,) = table[where].itertuples()
    return row


def test_figures_are_means_over_cases_and_lie_in_their_intervals(table: pd.DataFrame) -> None:
    dice = found(table, "ours", "strokes", "all", "dice")
    assert (
        dice.value == pytest.approx(np.mean([0.04 * n + 0.2 for n in range(15)]))
        and dice.low_95 < dice.value < dice.high_95
        and dice.cases == 15
    )
    small = found(table, "ours", "strokes", "small", "dice")
    assert small.value == pytest.approx(np.mean([0.04 * n + 0.2 for n in range(0, 15, 3)]))
    assert np.isnan(found(table, "ours", "strokes", "all", "psnr_healthy_db").value)


def test_the_oracle_takes_one_threshold_for_all_cases(table: pd.DataFrame) -> None:
    # Mean curves: own Dice, 7 of 15 at 0.1, 0.3.
    assert found(table, "ours", "strokes", "all", ORACLE).value == pytest.approx(0.48)
    assert found(table, "other", "strokes", "all", ORACLE).value == pytest.approx(0.3)


def test_how_far_a_line_is_behind_the_first_is_compared_pair_by_pair(table: pd.DataFrame) -> None:
    behind = found(table, "other", "strokes", "all", BEHIND)
    # The same difference in every pair leaves nothing to chance.
    assert (
        behind.value == pytest.approx(0.2)
        and behind.low_95 == pytest.approx(0.2)
        and behind.high_95 == pytest.approx(0.2)
    )
    assert not ((table.finder == "ours") & (table.metric == BEHIND)).any()


def test_slices_of_all_cases_are_ranked_together_and_brains_with_strokes_against_healthy_ones(
    table: pd.DataFrame,
) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    slices = [tuple((float(rng.normal() + sick), int(sick)) for sick in rng.random(20) < 0.4) for _ in range(15)]
    strokes = [
        replace(stroke("ours", n, 0.5), slices=slices[n], masked_share=0.025 + 0.01 * (n % 5)) for n in range(15)
    ]
    healthy = [record("ours", "healthy", n, share=0.01 * n) for n in range(5)]
    figures = figure_table(case_frame([*strokes, *healthy]), seed=0)
    scores, truth = np.array([each for case in slices for each in case]).T
    for metric, of in (
        ("slice_auroc", sklearn.roc_auc_score),
        ("slice_average_precision", sklearn.average_precision_score),
    ):
        figure = found(figures, "ours", "strokes", "all", metric)
        assert figure.value == pytest.approx(of(truth, scores)) and figure.low_95 < figure.value < figure.high_95
    area = sklearn.roc_auc_score([0] * 5 + [1] * 15, [case.masked_share for case in (*healthy, *strokes)])
    assert found(figures, "ours", "strokes", "all", "auroc_by_masked_share").value == pytest.approx(area)
    assert not table.metric.str.contains("slice_").any()


def test_artefacts_are_detected_against_the_healthy_brains(table: pd.DataFrame) -> None:
    healthy, broken = [0.01 * n for n in range(5)], [0.025 + 0.01 * n for n in range(5)]
    ahead = np.mean([b > h for b in broken for h in healthy])
    for score in ("masked_share", "mean_score", "first_error"):
        assert found(table, "ours", "artefacts", "medium", f"auroc_by_{score}").value == pytest.approx(ahead)
        assert found(table, "ours", "artefacts", "medium zipper", f"auroc_by_{score}").value == pytest.approx(ahead)
    assert not ((table.finder == "other") & table.metric.str.contains("first_error")).any()
    # Four of five true positives need a threshold of at most 0.035, which 0.04 alone of the healthy exceeds.
    assert found(table, "ours", "artefacts", "medium", "fpr_at_80_tpr_by_masked_share").value == pytest.approx(0.2)
    assert found(table, "ours", "healthy", "all", "false_positive_percent").value == pytest.approx(2.0)


def test_a_detector_without_a_mask_is_told_apart_by_its_case_score_alone() -> None:
    without = {"masked_share": None, "masked_ml": None, "mean_score": None, "figures": {}}
    healthy = [replace(record("score", "healthy", n), case_score=n, **without) for n in range(5)]
    broken = [replace(record("score", "artefacts", n, level="mild"), case_score=n + 1.5, **without) for n in range(5)]
    table = figure_table(case_frame([*healthy, *broken]), seed=0)
    ahead = np.mean([b + 1.5 > h for b in range(5) for h in range(5)])
    assert found(table, "score", "artefacts", "mild", "auroc_by_case_score").value == pytest.approx(ahead)
    assert set(table.metric[table.section == "artefacts"].str.split("_by_").str[1]) == {"case_score"}
    assert table.value[table.section == "healthy"].isna().all()


def test_files_hold_every_figure_and_every_case(table: pd.DataFrame, tmp_path: Path) -> None:
    write_frame(tmp_path / "table.csv", table, COLUMNS)
    write_frame(tmp_path / "cases.csv", case_frame(records_of("ours", 0.2)), CASE_COLUMNS)
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(table) and list(rows[0])[-4:] == ["value", "low_95", "high_95", "cases"]
    assert next(r for r in rows if r["metric"] == "psnr_healthy_db")["value"] == "" and rows[0]["cases"] == "15"
    with (tmp_path / "cases.csv").open(encoding="utf-8") as file:
        cases = list(csv.DictReader(file))
    assert len(cases) == 25 and cases[3]["dice"] == "0.32" and cases[3]["group"] == "small"
    assert cases[20]["group"] == "medium" and cases[20]["truth_ml"] == "5"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_table_has_the_columns_of_those_that_are_kept(table: pd.DataFrame) -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results"
    latest, kept = (pd.read_csv(results / f"{name}.csv") for name in ("evaluation", "evaluation-t1w-2mm"))
    assert list(kept) == list(latest) == list(table)
    assert set(latest.metric[latest.section == "strokes"]) >= set(table.metric[table.section == "strokes"])
    assert set(table.metric[table.section == "strokes"]) >= set(kept.metric[kept.section == "strokes"])
    assert set(table.metric[table.section == "healthy"]) >= set(kept.metric[kept.section == "healthy"])


def test_the_best_of_a_column_is_marked_and_the_worst_is_not(table: pd.DataFrame) -> None:
    block = next(block for block in BLOCKS if block.section == "strokes")
    (title, ours), (_, other) = lines_of(block, table, TITLES)
    assert [column.metric for column in block.columns][:3] == ["dice", BEHIND, ORACLE]
    assert ours[0].is_best and not other[0].is_best and not ours[1].is_best and not other[1].is_best
    assert title == "Ours" and ours[0].text == "0.48" and ours[0].interval.startswith("0.4")
    labelled = next(block for block in BLOCKS if block.section == "labelled")
    assert all(cell == TableCell("–", "", False) for _, cells in lines_of(labelled, table, TITLES) for cell in cells)
    by_first_pass = next(block for block in BLOCKS if block.columns[0].metric == "auroc_by_first_error")
    assert [title for title, cells in lines_of(by_first_pass, table, TITLES) if cells[0].interval] == ["Ours"]


def test_texts_show_what_was_evaluated_and_nothing_else(table: pd.DataFrame) -> None:
    lines = markdown(table, TITLES).splitlines()
    assert lines[0].startswith("| | Strokes: Dice, own mask | small |") and "Labelled" not in lines[0]
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert lines[2].startswith("| Ours | 0.48 (0.") and lines[3].startswith("| Other | 0.28 (0.")
    assert summary(table, TITLES).splitlines()[1].split()[:2] == ["Ours", "0.48"]


def test_the_page_says_which_figure_is_an_oracle_and_refers_to_nothing_outside(table: pd.DataFrame) -> None:
    provenance = {
        **dict.fromkeys(("protocol", "model", "quality", "seed", "written"), "<x>"),
        "model_sha256": {"model.safetensors": "0123"},
        "cases": {"strokes": 15},
        "subjects": {"strokes": 5},
        "settings": {"gamma": 0.1},
        "finders": {"ours": {}, "other": {"threshold": {"T1w": 0.25}}},
        "median_seconds_a_case": {"ours": 1.0},
        "versions": {"python": "3"},
    }
    html = page(table, TITLES, provenance, [])
    assert "Dice, best threshold (oracle)" in html and "Dice, own mask" in html
    assert "other: {T1w: 0.25" in html and "&lt;x&gt;" in html and "<x>" not in html
    assert "http" not in html and "src=" not in html
    # All strokes, those of medium size, and the oracle of both.
    assert html.count('<td class="best"><b>0.48</b>') == 4
    # A section that was not evaluated, and one that no detector has figures in, are left out.
    assert "Labelled volumes" not in html and "by the case score" not in html


def lesions_record(number: int, contrast: str = "FLAIR", sex: str = "F", age: float = 30, **changes: Any) -> CaseRecord:
    made = record("ours", "labelled", number, 0.1 * number, contrast=contrast, sex=sex, age=age, scanner="one")
    return replace(made, **{"false_lesions": number, **changes})


def test_lesions_are_counted_one_by_one_over_all_cases() -> None:
    cases = [
        lesions_record(
            0, "FLAIR", "F", 30, lesions=((1.0, 0.5), (2.0, 0.0), (40.0, 0.1)), froc=((3, 9), (2, 1), (0, 0))
        ),
        lesions_record(1, "FLAIR", "F", 30, lesions=((3.0, 0.09),), froc=((-1, -1), (1, 3), (1, 1))),
    ]
    table = figure_table(case_frame(cases), seed=0)
    assert found(table, "ours", "labelled", "all", "lesions_found_small").value == pytest.approx(1 / 3)
    assert found(table, "ours", "labelled", "all", "lesions_found_large").value == 1
    assert not (table.metric == "lesions_found_medium").any()
    # The first threshold is not judged; the second has two false components a case, the third a half.
    assert found(table, "ours", "labelled", "all", "froc_sensitivity_at_1").value == pytest.approx(1 / 4)
    assert found(table, "ours", "labelled", "all", "froc_sensitivity_at_5").value == pytest.approx(3 / 4)
    without = [replace(case, false_lesions=None) for case in cases]
    assert not figure_table(case_frame(without), seed=0).metric.str.startswith("lesions_found").any()


def test_froc_is_the_best_threshold_of_each_draw() -> None:
    rng = np.random.default_rng(0)
    hits, false, lesions = rng.integers(0, 5, (6, 9)), rng.integers(0, 12, (6, 9)), np.full(6, 5)
    weights = rng.integers(0, 4, (20, 6)).astype(float)
    figures = froc_sensitivity(hits.astype(float), false.astype(float), lesions, 5.0)(weights)
    for draw, figure in zip(weights, figures, strict=True):
        cases = np.repeat(np.arange(6), draw.astype(int))
        kept = [n for n in range(9) if np.mean(false[cases, n]) <= 5]
        assert figure == pytest.approx(max((hits[cases, n].sum() for n in kept), default=0) / lesions[cases].sum())


def test_strata_are_the_figures_of_their_cases() -> None:
    cases = [lesions_record(n, ("T1w", "FLAIR")[n % 2], ("F", "M")[n // 2 % 2], 40.0 + 5 * n) for n in range(6)]
    cases.append(lesions_record(6, "", "", float("nan")))
    table = figure_table(case_frame(cases), seed=0)
    dice = {row.group: row.value for row in table[table.metric == "dice"].itertuples()}
    assert dice == pytest.approx({
        "all": 0.3, "contrast T1w": 0.2, "contrast FLAIR": 0.3, "sex F": 0.25, "sex M": 0.25,
        "age below 50": 0.05, "age 50 or more": 0.35,
    })  # fmt: skip
    healthy = [replace(case, section="healthy", masked_ml=case.figures["dice"]) for case in cases]
    table = figure_table(case_frame(healthy), seed=0)
    counts = {row.group: row.value for row in table[table.metric == "false_positive_count"].itertuples()}
    assert counts["all"] == 3 and counts["contrast FLAIR"] == 3 and counts["age below 50"] == 0.5
    titles = [block.title for block in blocks_of(figure_table(case_frame(cases), seed=0))]
    assert "Labelled by contrast" in titles and "Labelled by scanner" not in titles
    text = markdown(figure_table(case_frame([*cases, stroke("ours", 0, 0.5)]), seed=0), {"ours": "Ours"})
    assert "Labelled, FLAIR: Dice, own mask" in text
