"""The files an evaluation ends with: the table as CSV, JSON, Markdown and a page, and every case."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from IterMask3DLib.core.files import write_json, write_text
from IterMask3DLib.core.versions import versions
from IterMask3DLib.evaluation.cases import EvaluationCase
from IterMask3DLib.evaluation.detectors import Detector, ModelDetector
from IterMask3DLib.evaluation.examples import OUTLINE, TRUTH, ExampleRow, chosen_examples
from IterMask3DLib.evaluation.records import PACKAGES, RecordStore
from IterMask3DLib.evaluation.run import records_of
from IterMask3DLib.evaluation.summary import BLOCKS, lines_of, markdown, summary
from IterMask3DLib.evaluation.table import CASE_COLUMNS, COLUMNS, case_frame, figure_table, write_frame


@dataclass(frozen=True)
class Evaluation:
    """All of an evaluation that was run.

    Attributes:
        protocol: its name; seed: of the cases and the bootstrap.
        cases, detectors: what was compared on what; the first detector is the one that others are compared with.
        store: where the results of single cases are.
    """

    protocol: str
    seed: int
    cases: Sequence[EvaluationCase]
    detectors: Sequence[Detector]
    store: RecordStore


def write_results(out: Path, evaluation: Evaluation, first: ModelDetector) -> str:
    """Writes `table.csv`, `.json`, `.html` and `.md` and `cases.csv` to `out`.

    Returns the main figures as text for a terminal. Raises `UserError` where a result is missing.

    Args:
        first: the first detector's model, for the provenance.
    """
    detectors, store = evaluation.detectors, evaluation.store
    frame = case_frame(record for d in detectors for record in records_of(evaluation.cases, d, store))
    titles = {detector.name: detector.title for detector in detectors}
    table = figure_table(frame, evaluation.seed)
    provenance = provenance_of(evaluation, first)
    examples = chosen_examples(frame, evaluation.cases, detectors, store)
    write_frame(out / "table.csv", table, COLUMNS)
    write_frame(out / "cases.csv", frame, CASE_COLUMNS)
    rows = [{**row, "title": titles[row["finder"]]} for row in table.to_dict("records")]
    write_json(out / "table.json", {"provenance": provenance, "rows": rows})
    write_text(out / "table.md", markdown(table, titles))
    write_text(out / "table.html", page(table, titles, provenance, examples))
    return f"{summary(table, titles)}\n\n{out / 'table.html'}"


def provenance_of(evaluation: Evaluation, first: ModelDetector) -> dict[str, Any]:
    """What the table comes from, JSON-able."""
    cases, store = evaluation.cases, evaluation.store
    sections = list(dict.fromkeys(case.section for case in cases))
    seconds = {d.name: sorted(r.seconds for r in records_of(cases, d, store)) for d in evaluation.detectors}
    return {
        "protocol": evaluation.protocol,
        "cases": {section: sum(case.section == section for case in cases) for section in sections},
        "subjects": {section: len({case.subject for case in cases if case.section == section}) for section in sections},
        "model": first.model.card.name,
        "model_sha256": dict(first.model.card.files),
        "settings": asdict(first.settings),
        "quality": first.request.quality,
        "seed": evaluation.seed,
        "finders": {d.name: {**d.identity(), "title": d.title} for d in evaluation.detectors},
        "median_seconds_a_case": {name: each[len(each) // 2] if each else None for name, each in seconds.items()},
        "versions": {**versions(*PACKAGES), "python": platform.python_version()},
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def page(
    table: pd.DataFrame, titles: Mapping[str, str], provenance: Mapping[str, Any], examples: Sequence[ExampleRow]
) -> str:
    """The table as one HTML page that refers to nothing outside itself."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    blocks = [
        (block, [(title, cells) for title, cells in lines_of(block, table, titles) if any(c.interval for c in cells)])
        for block in BLOCKS
    ]
    return environment.get_template("page.html.j2").render(
        blocks=[(block, lines) for block, lines in blocks if lines],
        model=provenance["model"],
        facts=_facts(provenance),
        examples=examples,
        truth=TRUTH,
        outline=OUTLINE,
    )


def _facts(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Provenance as rows of a table, in a reading order."""

    def text(value: object) -> str:
        return json.dumps(value, sort_keys=True).replace('"', "").strip("{}")

    thresholds = {name: round(float(d["threshold"]), 4) for name, d in known["finders"].items() if "threshold" in d}
    return [
        ("Protocol", str(known["protocol"])),
        ("Cases", text(known["cases"])),
        ("Subjects", text(known["subjects"])),
        ("Model", f"{known['model']}, SHA-256 of the weights {text(known['model_sha256'])}"),
        ("Settings", f"{text(known['settings'])}; quality: {known['quality']}; seed: {known['seed']}"),
        ("Thresholds from calibration", text(thresholds) or "none"),
        ("Median seconds a case", text(known["median_seconds_a_case"])),
        ("Versions", text(known["versions"])),
        ("Written (UTC)", str(known["written"])),
    ]
