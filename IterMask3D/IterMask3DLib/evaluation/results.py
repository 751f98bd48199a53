"""The files an evaluation ends with: table as CSV, JSON and a page, and every case."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from IterMask3DLib import __version__
from IterMask3DLib.models.store import Model
from IterMask3DLib.evaluation.examples import Example, chosen_examples
from IterMask3DLib.evaluation.finders import Finder
from IterMask3DLib.evaluation.page import write_page
from IterMask3DLib.evaluation.protocols import Trial
from IterMask3DLib.evaluation.run import records_of
from IterMask3DLib.evaluation.store import Record, Store
from IterMask3DLib.evaluation.summary import markdown, summary
from IterMask3DLib.evaluation.table import Row, all_rows, write_cases, write_rows
from IterMask3DLib.run import Request, settings_of

_PACKAGES = ("torch", "numpy", "scipy", "SimpleITK", "nibabel", "torchio")


@dataclass(frozen=True)
class Run:
    """All of an evaluation that is done: its cases, what was compared, and where the results of single cases are."""

    trials: Sequence[Trial]
    finders: Sequence[Finder]
    store: Store
    model: Model
    request: Request
    protocol: str


def write_results(out: Path, run: Run) -> str:
    """Writes `table.csv`, `table.json`, `table.html`, `table.md` and `cases.csv` to `out` and returns the main figures as text for a terminal."""
    records = {finder.name: records_of(run.trials, finder, run.store) for finder in run.finders}
    titles = {finder.name: finder.title for finder in run.finders}
    thresholds = {finder.name: finder.thresholds for finder in run.finders}
    rows = all_rows(records, titles, thresholds, run.request.seed)
    made = provenance(run, records)
    write_rows(out / "table.csv", rows)
    write_cases(out / "cases.csv", [record for found in records.values() for record in found])
    _write(out / "table.json", json.dumps({"provenance": made, "rows": [_flat(row) for row in rows]}, indent=1, allow_nan=False) + "\n")
    _write(out / "table.md", markdown(rows))
    examples: Sequence[Example] = chosen_examples(run.trials, run.finders, run.store)
    write_page(out / "table.html", rows, made, examples)
    return f"{summary(rows)}\n\n{out / 'table.html'}"


def provenance(run: Run, records: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """What made the table, JSON-able."""
    sections = [trial.section for trial in run.trials]
    return {
        "protocol": run.protocol,
        "cases": {section: sections.count(section) for section in dict.fromkeys(sections)},
        "subjects": {
            section: len({trial.subject for trial in run.trials if trial.section == section}) for section in dict.fromkeys(sections)
        },
        "model": run.model.card.name,
        "model_sha256": run.model.card.sha256,
        "settings": asdict(settings_of(run.model, run.request)),
        "quality": run.request.quality,
        "seed": run.request.seed,
        "finders": {finder.name: {**finder.identity(), "title": finder.title} for finder in run.finders},
        "median_seconds_a_case": {name: _median([record.seconds for record in found]) for name, found in records.items()},
        "versions": {"itermask3d": __version__, "python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _flat(row: Row) -> dict[str, Any]:
    flat = asdict(row)
    flat.update(flat.pop("estimate"))
    return flat


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(beside, path)
