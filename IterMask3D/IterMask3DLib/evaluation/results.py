"""The files an evaluation ends with: the table as CSV, JSON, Markdown and a page, and every case."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from IterMask3DLib.core.files import write_json, write_text
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.versions import versions
from IterMask3DLib.evaluation.cases import EvaluationCase
from IterMask3DLib.evaluation.detectors import Detector
from IterMask3DLib.evaluation.examples import OUTLINE, TRUTH, ExampleRow, chosen_examples
from IterMask3DLib.evaluation.records import PACKAGES, RecordStore
from IterMask3DLib.evaluation.run import records_of
from IterMask3DLib.evaluation.summary import blocks_of, lines_of, markdown, summary
from IterMask3DLib.evaluation.table import CASE_COLUMNS, COLUMNS, case_frame, figure_table, write_frame

FILES = ("table.csv", "cases.csv", "table.json", "table.md", "table.html")
"""What is written beside the results of single cases."""


def write_results(
    out: Path, protocol: str, request: Request, cases: Sequence[EvaluationCase], detectors: Sequence[Detector]
) -> str:
    """Writes `table.csv`, `.json`, `.html` and `.md` and `cases.csv` to `out`, from the results of single cases there.

    Returns the main figures as text for a terminal. Raises `UserError` where a result is missing.

    Args:
        detectors: the first is the one that others are compared with.
    """
    store = RecordStore(out)
    records = {detector.name: records_of(cases, detector, store) for detector in detectors}
    frame = case_frame(record for found in records.values() for record in found)
    titles = {detector.name: detector.title for detector in detectors}
    table = figure_table(frame, request.seed)
    provenance = {
        "protocol": protocol,
        **_provenance(cases, detectors, request),
        "median_seconds_a_case": {name: _median([r.seconds for r in found]) for name, found in records.items()},
    }
    write_frame(out / "table.csv", table, COLUMNS)
    write_frame(out / "cases.csv", frame, CASE_COLUMNS)
    rows = [{**row, "title": titles[row["finder"]]} for row in table.to_dict("records")]
    write_json(out / "table.json", {"provenance": provenance, "rows": rows})
    write_text(out / "table.md", markdown(table, titles))
    examples = chosen_examples(frame, cases, detectors, store)
    write_text(out / "table.html", page(table, titles, provenance, examples))
    return f"{summary(table, titles)}\n\n{out / 'table.html'}"


def _provenance(cases: Sequence[EvaluationCase], detectors: Sequence[Detector], request: Request) -> dict[str, Any]:
    """What the table comes from, JSON-able."""
    sections = list(dict.fromkeys(case.section for case in cases))
    known = {detector.name: {**detector.identity(), "title": detector.title} for detector in detectors}
    first = known[detectors[0].name]
    return {
        "cases": {section: sum(case.section == section for case in cases) for section in sections},
        "subjects": {section: len({case.subject for case in cases if case.section == section}) for section in sections},
        **{name: first[name] for name in ("model", "model_sha256", "settings")},
        "quality": request.quality,
        "seed": request.seed,
        "finders": known,
        "versions": {**versions(*PACKAGES), "python": platform.python_version()},
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


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
        for block in blocks_of(table)
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

    thresholds = {
        name: {contrast: round(float(value), 4) for contrast, value in one["threshold"].items()}
        for name, one in known["finders"].items()
        if "threshold" in one
    }
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
