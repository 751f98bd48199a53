"""Brings a result that an earlier version saved to the present names and records."""

from __future__ import annotations

import json
from typing import Any

import slicer
import vtk

from IterMask3DLib.core.artifacts import MaskHistory, ThresholdCurve
from IterMask3DLib.core.result import ANOMALY, HEATMAP, RECONSTRUCTION, LayerKind
from IterMask3DLib.scene.nodes import names

_ROLES = {
    "editedMask": "edited_mask",
    "iterationTable": "iteration_table",
    "curveTable": "curve_table",
    "chosenTable": "chosen_table",
    "lesionTable": "lesion_table",
    "thresholdSeries": "threshold_series",
    "fitSeries": "fit_series",
    "chosenSeries": "chosen_series",
    "curveChart": "curve_chart",
    "heatmap": f"{names.LAYER}heatmap",
    "reconstruction": f"{names.LAYER}reconstruction",
    "maskSequence": f"{names.STEP}mask",
    "errorSequence": f"{names.STEP}error_map",
    "reconstructionSequence": f"{names.STEP}reconstruction",
}
_KINDS = {
    "heatmap": LayerKind.SCORE,
    "reconstruction": LayerKind.INTENSITY,
    "maskSequence": LayerKind.MASK,
    "errorSequence": LayerKind.SCORE,
    "reconstructionSequence": LayerKind.INTENSITY,
}
_COLUMNS = {"Lifted %": "Unmasked %"}
_PRECISION = {None: "auto", True: "half", False: "single"}


def upgrade(root: Any) -> None:
    """Changes what an earlier version wrote into the root of a result and its nodes; the present stays as it is."""
    scene = slicer.mrmlScene
    if root.GetParameter(names.FORMAT) == names.PRESENT_FORMAT or scene.IsBatchProcessing() or scene.IsImporting():
        return
    _rename_nodes(root)
    _convert_steps(root.GetNodeReference(names.reference("iteration_table")))
    run_id = root.GetParameter("stamp")
    root.SetParameter(names.RUN_ID, run_id)
    root.SetParameter(names.FOLDER, root.GetParameter(names.FOLDER) or run_id)
    _tag_segment(root)
    _convert_records(root)
    for former in ("stamp", "options", "curve", "record", "provenance"):
        root.UnsetParameter(former)
    root.SetParameter(names.FORMAT, names.PRESENT_FORMAT)


def _rename_nodes(root: Any) -> None:
    browser = root.GetNodeReference(names.reference("browser"))
    for former, role in _ROLES.items():
        node = root.GetNodeReference(names.reference(former))
        root.RemoveNodeReferenceIDs(names.reference(former))
        if node is None:
            continue
        root.SetNodeReferenceID(names.reference(role), node.GetID())
        node.SetAttribute(names.ROLE, role)
        if former in _KINDS:
            node.SetAttribute(names.KIND, _KINDS[former].value)
        proxy = browser.GetProxyNode(node) if browser is not None and role.startswith(names.STEP) else None
        if proxy is not None:
            proxy.SetAttribute(names.ROLE, role)
            if proxy.GetDisplayNode() is not None:
                proxy.GetDisplayNode().SetAttribute(names.ROLE, role)


def _convert_steps(node: Any) -> None:
    """Iterations are counted from 1, as the browser shows them, and a column has another name."""
    table = node.GetTable() if node is not None else vtk.vtkTable()
    for index in range(table.GetNumberOfColumns()):
        column = table.GetColumn(index)
        column.SetName(_COLUMNS.get(column.GetName(), column.GetName()))
    for row in range(table.GetNumberOfRows()):
        table.SetValueByName(row, "Iteration", vtk.vtkVariant(row + 1))


def _tag_segment(root: Any) -> None:
    """Marks the segment as this result's, unless the segmentation is gone."""
    segmentation, segment_id = root.GetNodeReference(names.reference("segmentation")), root.GetParameter(names.SEGMENT)
    segment = segmentation.GetSegmentation().GetSegment(segment_id) if segmentation is not None and segment_id else None
    if segment is not None:
        segment.SetTag(names.SEGMENT_OF, root.GetParameter(names.FOLDER))


def _convert_records(root: Any) -> None:
    def read(key: str) -> Any:
        text = root.GetParameter(key)
        return json.loads(text) if text else None

    def write(key: str, value: Any) -> None:
        root.SetParameter(key, json.dumps(value))

    options, curve, record = read("options"), read("curve"), read("record")
    if options is not None:
        write(names.REQUEST, request_fields(options))
    artifacts = {} if curve is None else {ThresholdCurve.kind: curve_record(curve)}
    if record is not None:
        sizes, ratios = zip(*record["shrink"], strict=True) if record["shrink"] else ((), ())
        artifacts[MaskHistory.kind] = {"sizes": sizes, "ratios": ratios}
        root.SetParameter(names.BRAIN_ML, str(record["brainMl"]))
        write(names.OUTCOME, _outcome(record, read("provenance") or {}))
    write(names.ARTIFACTS, artifacts)


def request_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `Request` from the options of earlier versions."""
    settings = {"gamma": options["gamma"], "sweep_passes": options["passes"]}
    settings = {name: value for name, value in settings.items() if value is not None}
    if options["start"] != "brain":
        settings["start"] = options["start"]
    same = {name: options[name] for name in ("model", "device", "quality", "seed")}
    return {**same, "precision": _PRECISION[options["half"]], "settings": settings}


def curve_record(curve: dict[str, Any]) -> dict[str, Any]:
    """The record of a `ThresholdCurve` from that of earlier versions, whose items were counted from 0."""
    same = ("thresholds", "fit", "derivative", "chosen", "gamma", "median", "fixed")
    return {
        **{name: curve[name] for name in same},
        "r_squared": curve["rSquared"],
        "used_fit": curve["usedFit"],
        "steps": [item + 1 for item in curve["items"]],
        "by_hand": not curve["automatic"],
    }


def _outcome(record: dict[str, Any], provenance: dict[str, Any]) -> dict[str, Any]:
    kinds = {ANOMALY: LayerKind.MASK, HEATMAP: LayerKind.SCORE, RECONSTRUCTION: LayerKind.INTENSITY}
    return {
        "layers": {name: {"kind": kind.value, "unit": ""} for name, kind in kinds.items()},
        "scalars": {"mask_size": record["maskSize"], "mean_error": record["meanError"]},
        "case_score": record["meanError"],
        "slice_scores": None,
        "brain_source": record["brainSource"],
        "brain_ml": record["brainMl"],
        "warnings": record["warnings"],
        "provenance": provenance,
    }
