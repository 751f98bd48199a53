"""The tables of a case: lesions, curve, iterations, and the record of the run."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from IterMask3DLib.core.image import Curve
from IterMask3DLib.results.lesions import Lesion
from IterMask3DLib.results.outcome import CaseOutcome, Iteration

LESION_COLUMNS = ("lesion", "volume_ml", "centroid_r_mm", "centroid_a_mm", "centroid_s_mm", "mean_error", "peak_error", "voxels")
CURVE_COLUMNS = ("pass", "threshold", "fit", "derivative", "chosen")
ITERATION_COLUMNS = ("iteration", "phase", "threshold", "masked_voxels")


def write_lesions(path: Path, lesions: Iterable[Lesion]) -> None:
    """One row a lesion, largest first."""
    rows = (
        (x.number, f"{x.volume_ml:.4f}", *(f"{c:.2f}" for c in x.centroid_ras), f"{x.mean_error:.5f}", f"{x.peak_error:.5f}", x.voxels)
        for x in lesions
    )
    _write(path, LESION_COLUMNS, rows)


def write_curve(path: Path, curve: Curve) -> None:
    """One row a sweep pass; the fit is empty where there was none."""
    rows = (
        (t + 1, f"{curve.thresholds[t]:.8g}", _number(curve.fit[t]), _number(curve.derivative[t]), int(t == curve.chosen))
        for t in range(len(curve.thresholds))
    )
    _write(path, CURVE_COLUMNS, rows)


def write_iterations(path: Path, iterations: Iterable[Iteration]) -> None:
    """One row an iteration, in the order of the fourth axis of the volume beside it."""
    _write(path, ITERATION_COLUMNS, ((x.number, x.phase, f"{x.threshold:.8g}", int(x.mask.sum())) for x in iterations))


def write_run(path: Path, outcome: CaseOutcome, lesions: Sequence[Lesion]) -> None:
    """What made the case and what came out, as JSON; numbers that are not finite become null."""
    curve = outcome.curve
    record = {
        **outcome.provenance,
        "case": outcome.case,
        "input": outcome.volume.source,
        "brain_mask": {"source": outcome.brain_source, "millilitres": round(outcome.brain_ml, 2)},
        "results": {
            "anomaly_ml": round(sum(x.volume_ml for x in lesions), 4),
            "lesions": len(lesions),
            "mask_size_model_voxels": outcome.mask_size,
            "mean_error": outcome.mean_error,
            "threshold": curve.threshold,
            "first_median": curve.median,
            "chosen_pass": curve.chosen + 1,
            "r_squared": curve.r_squared,
            "tangent_used": curve.used_fit,
            "shrink": [{"masked_voxels": size, "lifted_share": ratio} for size, ratio in outcome.shrink],
        },
        "warnings": list(outcome.warnings),
        "notice": "Research use only; not a medical device.",
    }
    path.write_text(json.dumps(_plain(record), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """`value` with only what JSON has: no NaN, no infinity, no numpy numbers, no paths."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _number(value: float) -> str:
    return f"{value:.8g}" if math.isfinite(value) else ""


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
