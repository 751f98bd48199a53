"""The record of the run of a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from IterMask3DLib.core.files import write_json
from IterMask3DLib.core.lesion import Lesion
from IterMask3DLib.core.result import CaseResult
from IterMask3DLib.results.artifacts import files_of

NOTICE = "Research use only; not a medical device."


def write_run(path: Path, result: CaseResult, lesions: Sequence[Lesion], files: Sequence[str]) -> None:
    """What made the case and what came out, as JSON. `files`: everything that belongs to the case."""
    found: dict[str, Any] = {**result.scalars, "case_score": result.case_score, "slice_scores": result.slice_scores}
    if "anomaly" in result.layers:
        found |= {"anomaly_ml": round(sum(x.volume_ml for x in lesions), 4), "lesions": len(lesions)}
    for artifact in result.artifacts:
        known = files_of(artifact)
        found |= known.facts(artifact) if known is not None else {artifact.kind: artifact.to_record()}
    record = {
        **result.provenance,
        "case": result.case.name,
        "inputs": {name or "image": image.source for name, image in result.case.images.items()},
        "brain_mask": {"source": result.brain_source, "millilitres": round(result.brain_ml, 2)},
        "results": {name: value for name, value in found.items() if value is not None},
        "warnings": list(result.warnings),
        "files": list(files),
        "notice": NOTICE,
    }
    write_json(path, record)
