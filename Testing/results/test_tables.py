"""Tables and the record of the run: columns, rows, numbers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.files import write_csv
from IterMask3DLib.core.result import CaseResult
from IterMask3DLib.core.tables import write_iterations, write_lesions
from IterMask3DLib.results.artifacts import files_of
from IterMask3DLib.results.case_lesions import CaseLesions
from IterMask3DLib.results.tables import write_run
from Testing.results.case_results import a_result, curve, iterations, score_alone


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_curve(path: Path, made: ThresholdCurve) -> None:
    """As the writer of a case does it."""
    files = files_of(made)
    assert files is not None
    table = files.table(made)
    assert table is not None
    write_csv(path, *table)


def run_record(path: Path, made: CaseResult) -> dict[str, object]:
    write_run(path, made, CaseLesions.of(made).lesions, ["anna_run.json"])

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_lesion_table_has_a_row_a_lesion_with_its_numbers(tmp_path: Path) -> None:
    write_lesions(tmp_path / "l.csv", CaseLesions.of(a_result()).lesions)
    table = rows(tmp_path / "l.csv")
    assert list(table[0]) == [
        "lesion", "volume_ml", "centroid_r_mm", "centroid_a_mm", "centroid_s_mm", "mean_error", "peak_error", "voxels",
    ]  # fmt: skip
    assert [(row["lesion"], row["voxels"]) for row in table] == [("1", "24"), ("2", "1")]
    assert float(table[0]["volume_ml"]) == pytest.approx(0.108)
    assert float(table[0]["centroid_r_mm"]) == pytest.approx(3.75)
    assert float(table[1]["peak_error"]) == 2.0


def test_a_case_without_lesions_still_has_the_columns(tmp_path: Path) -> None:
    write_lesions(tmp_path / "l.csv", ())
    assert (tmp_path / "l.csv").read_text().startswith("lesion,volume_ml,") and rows(tmp_path / "l.csv") == []


def test_the_curve_table_has_a_row_a_pass_and_marks_the_chosen_one(tmp_path: Path) -> None:
    write_curve(tmp_path / "c.csv", curve())
    table = rows(tmp_path / "c.csv")
    assert list(table[0]) == ["pass", "threshold", "fit", "derivative", "chosen"]
    assert [int(row["pass"]) for row in table] == list(range(1, 31))
    assert [row["pass"] for row in table if row["chosen"] == "1"] == ["21"]
    assert [float(row["threshold"]) for row in table] == pytest.approx(list(curve().thresholds), rel=1e-6)


def test_a_fit_that_was_not_possible_is_left_empty(tmp_path: Path) -> None:
    write_curve(tmp_path / "c.csv", replace(curve(), fit=np.full(30, np.nan)))
    assert {row["fit"] for row in rows(tmp_path / "c.csv")} == {""}


def test_the_iteration_table_has_the_numbers_of_each_pass(tmp_path: Path) -> None:
    steps = [(x.number, x.phase, x.seconds, x.scalars) for x in iterations()]
    write_iterations(tmp_path / "i.csv", steps, brain_ml=40)
    assert rows(tmp_path / "i.csv") == [
        {
            "iteration": "1",
            "pass": "1",
            "phase": "sweep",
            "masked_ml": "20.0000",
            "masked_percent": "50.000",
            "mean_error": "0.125",
            "seconds": "0.250",
        },
        {
            "iteration": "2",
            "pass": "2",
            "phase": "shrink",
            "masked_ml": "10.0000",
            "masked_percent": "25.000",
            "mean_error": "",
            "seconds": "0.500",
        },
    ]


def test_the_record_holds_provenance_results_and_warnings(tmp_path: Path) -> None:
    record = run_record(tmp_path / "r.json", a_result())
    assert record["model_sha256"] == {"model.safetensors": "c0ffee"} and record["seed"] == 7
    assert record["inputs"] == {"image": "scans/anna.nii.gz"} and record["case"] == "anna"
    assert record["warnings"] == ["The mask did not settle."] and record["files"] == ["anna_run.json"]
    assert record["brain_mask"] == {"millilitres": 27.2, "source": "already stripped: background is zero"}
    results = record["results"]
    assert isinstance(results, dict)
    assert results["anomaly_ml"] == pytest.approx(25 * 4.5 / 1000)
    assert (results["lesions"], results["mask_size"], results["chosen_pass"]) == (2, 25, 21)
    assert results["shrink"][0] == {"unmasked_share": 0.4, "masked_voxels": 400}
    assert list(record) == sorted(record)
    assert (tmp_path / "r.json").read_text().splitlines()[1].startswith('  "')


def test_a_case_that_has_only_a_score_has_a_record_without_lesions(tmp_path: Path) -> None:
    results = run_record(tmp_path / "r.json", score_alone())["results"]
    assert results == {"case_score": 0.75, "slice_scores": [0.1, 0.75, 0.2]}


def test_the_record_is_json_even_if_numbers_are_not_finite_or_not_pythons_own(tmp_path: Path) -> None:
    provenance = {"a": np.float32(0.5), "b": (float("inf"), np.nan), "c": Path("x"), "d": {"e": np.int64(3)}}
    made = a_result(
        provenance=provenance,
        scalars={"mean_error": float("nan")},
        artifacts=(replace(curve(), r_squared=-np.inf),),
    )
    record = run_record(tmp_path / "r.json", made)
    assert (record["a"], record["b"], record["c"], record["d"]) == (0.5, [None, None], "x", {"e": 3})
    assert record["results"]["mean_error"] is None and record["results"]["r_squared"] is None  # type: ignore[index]
