"""The table as one self-contained page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from IterMask3DLib.evaluation.examples import OUTLINE, TRUTH, Example
from IterMask3DLib.evaluation.summary import BLOCKS, lines_of, shown
from IterMask3DLib.evaluation.table import Row


def write_page(path: Path, rows: Sequence[Row], provenance: Mapping[str, Any], examples: Sequence[Example]) -> None:
    """Writes the page; it refers to nothing outside itself."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    blocks = [(block, lines_of(block, rows)) for block in BLOCKS]
    page = environment.get_template("page.html.j2").render(
        blocks=[(block, lines) for block, lines in blocks if lines],
        shown=shown,
        made=provenance,
        facts=_facts(provenance),
        examples=examples,
        truth=TRUTH,
        outline=OUTLINE,
    )
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(page, encoding="utf-8", newline="\n")
    os.replace(beside, path)


def _facts(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Provenance as rows of a table, in a reading order."""

    def text(value: object) -> str:
        return json.dumps(value, sort_keys=True).replace('"', "").strip("{}")

    thresholds = {name: round(float(finder["threshold"]), 4) for name, finder in made["finders"].items() if "threshold" in finder}
    rows = [
        ("Protocol", str(made["protocol"])),
        ("Cases", text(made["cases"])),
        ("Subjects", text(made["subjects"])),
        ("Model", f"{made['model']}, SHA-256 of the weights {made['model_sha256']}"),
        ("Settings", f"{text(made['settings'])}; quality: {made['quality']}; seed: {made['seed']}"),
        ("Baselines' thresholds", text(thresholds) or "no baselines were asked for"),
        ("Median seconds a case", text(made["median_seconds_a_case"])),
        ("Versions", text(made["versions"])),
        ("Written (UTC)", str(made["written"])),
    ]
    return rows
