"""The outcome of a case as messages and JSON-able records, and back as a `CaseOutcome` when a report is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from IterMask3DLib.core.image import BoolVolume, Curve, FloatVolume, Image
from IterMask3DLib.scene.geometry import vtkOrder
from IterMask3DLib.scene.messages import OutcomeMessage
from IterMask3DLib.scene.records import CurveInfo, LesionRow

if TYPE_CHECKING:
    from IterMask3DLib.results.lesions import Lesion
    from IterMask3DLib.results.outcome import CaseOutcome


def curveInfo(curve: Curve, items: tuple[int, ...], automatic: bool) -> CurveInfo:
    return CurveInfo(
        thresholds=curve.thresholds,
        fit=curve.fit,
        derivative=curve.derivative,
        chosen=curve.chosen,
        gamma=curve.gamma,
        rSquared=float(curve.r_squared),
        usedFit=curve.used_fit,
        items=items,
        automatic=automatic,
        median=curve.median,
        fixed=curve.fixed,
    )


def curveOf(info: CurveInfo) -> Curve:
    return Curve(info.thresholds, info.fit, info.derivative, info.rSquared, info.usedFit, info.gamma, info.chosen, info.median, info.fixed)


def curveText(info: CurveInfo) -> str:
    """The curve as JSON, every number in full; what is not finite becomes null."""
    record = {
        "thresholds": _numbers(info.thresholds),
        "fit": _numbers(info.fit),
        "derivative": _numbers(info.derivative),
        "chosen": info.chosen,
        "gamma": info.gamma,
        "rSquared": info.rSquared if math.isfinite(info.rSquared) else None,
        "usedFit": info.usedFit,
        "items": list(info.items),
        "automatic": info.automatic,
        "median": info.median,
        "fixed": info.fixed,
    }
    return json.dumps(record, allow_nan=False)


def curveFrom(text: str) -> CurveInfo:
    record = json.loads(text)
    columns = {name: np.array([np.nan if v is None else v for v in record[name]]) for name in ("thresholds", "fit", "derivative")}
    r_squared = float("-inf") if record["rSquared"] is None else record["rSquared"]
    return CurveInfo(
        **columns,
        chosen=record["chosen"],
        gamma=record["gamma"],
        rSquared=r_squared,
        usedFit=record["usedFit"],
        items=tuple(record["items"]),
        automatic=record["automatic"],
        median=record["median"],
        fixed=record["fixed"],
    )


def lesionRow(lesion: Lesion) -> LesionRow:
    return LesionRow(lesion.number, lesion.volume_ml, lesion.mean_error, lesion.peak_error, lesion.centroid_ras)


def outcomeMessage(outcome: CaseOutcome) -> OutcomeMessage:
    """An outcome ready to be written to nodes; lesions are measured here, in the worker."""
    from IterMask3DLib.results.lesions import find_lesions

    lesions, _ = find_lesions(outcome.anomaly, outcome.heatmap, outcome.volume.affine)
    return OutcomeMessage(
        affine=outcome.volume.affine,
        anomaly=vtkOrder(outcome.anomaly).view(np.uint8),
        heatmap=vtkOrder(outcome.heatmap.astype(np.float32, copy=False)),
        reconstruction=vtkOrder(_compact(outcome.reconstruction, outcome.volume)),
        brain=vtkOrder(outcome.brain).view(np.uint8),
        peak=float(outcome.heatmap.max()),
        lesions=tuple(lesionRow(lesion) for lesion in lesions),
        record={
            "shrink": [[size, ratio] for size, ratio in outcome.shrink],
            "maskSize": outcome.mask_size,
            "meanError": outcome.mean_error,
            "brainSource": outcome.brain_source,
            "brainMl": outcome.brain_ml,
            "warnings": list(outcome.warnings),
        },
        provenance=dict(outcome.provenance),
        warnings=outcome.warnings,
    )


def caseOutcome(
    volume: Image,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    curve: CurveInfo,
    record: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> CaseOutcome:
    """The outcome that a scene holds. `arrays`: brain, anomaly, heatmap, reconstruction [i, j, k] on the grid of `volume`."""
    from IterMask3DLib.results.outcome import CaseOutcome

    brain: BoolVolume = arrays["brain"].astype(bool)
    heatmap: FloatVolume = arrays["heatmap"].astype(np.float32)
    return CaseOutcome(
        case=volume.name,
        volume=volume,
        brain=brain,
        anomaly=arrays["anomaly"].astype(bool),
        heatmap=heatmap,
        reconstruction=arrays["reconstruction"].astype(np.float32),
        curve=curveOf(curve),
        shrink=tuple((int(size), float(ratio)) for size, ratio in record["shrink"]),
        mask_size=record["maskSize"],
        mean_error=record["meanError"],
        warnings=tuple(record["warnings"]),
        brain_source=record["brainSource"],
        brain_ml=record["brainMl"],
        provenance=provenance,
        iterations=None,
    )


def _compact(reconstruction: FloatVolume, volume: Image) -> np.ndarray[Any, Any]:
    """In whole numbers where the input has them; a rounding far below what can be seen, in half the memory."""
    whole = volume.array.dtype.kind in "iub" and np.abs(reconstruction).max() < np.iinfo(np.int16).max
    return np.round(reconstruction).astype(np.int16) if whole else reconstruction


def _numbers(values: Sequence[float] | np.ndarray[Any, Any]) -> list[float | None]:
    return [float(v) if math.isfinite(v) else None for v in values]
