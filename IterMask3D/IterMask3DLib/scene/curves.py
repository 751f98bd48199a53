"""The threshold curve as a table, three plot series (thresholds, fit, chosen point) and a chart."""

from __future__ import annotations

import math
from typing import Any

from IterMask3DLib.scene import tables
from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.scene.records import CurveInfo
from IterMask3DLib.scene.words import tr as _

_THRESHOLD_RGB, _FIT_RGB, _CHOSEN_RGB = (0.2, 0.5, 0.9), (0.5, 0.5, 0.5), (0.9, 0.2, 0.1)


def writeCurve(nodes: ResultNodes, curve: CurveInfo) -> None:
    """Puts a curve into the nodes of its result; the plot that shows them follows."""
    nodes.setCurve(curve)
    tables.writeCurve(nodes.own("curveTable", "threshold curve"), curve)
    tables.writeChosen(nodes.own("chosenTable", "chosen point"), curve)
    chart = nodes.curveChart
    if chart is None:
        chart = nodes.own("curveChart", "threshold curve chart")
        chart.SetXAxisTitle(_("Sweep pass"))
        chart.SetYAxisTitle(_("Threshold"))
        for role in ("thresholdSeries", "fitSeries", "chosenSeries"):
            chart.AddAndObservePlotSeriesNodeID(_series(nodes, role).GetID())
    chart.SetTitle(curveTitle(curve))


def curveTitle(curve: CurveInfo) -> str:
    """The choice in one line."""
    quality = f"R² {curve.rSquared:.2f}" if math.isfinite(curve.rSquared) else _("no fit")
    given = _("gamma {gamma:g}").format(gamma=curve.gamma) if curve.fixed is None else _("the model's")
    by = given if curve.automatic else _("by hand")
    return _("Threshold {threshold:.4g} at pass {point} ({by}; {quality})").format(
        threshold=curve.threshold, point=curve.chosen + 1, by=by, quality=quality
    )


def _series(nodes: ResultNodes, role: str) -> Any:
    name, table, column, color = {
        "thresholdSeries": ("Threshold", nodes.curveTable, "Threshold", _THRESHOLD_RGB),
        "fitSeries": ("Fit", nodes.curveTable, "Fit", _FIT_RGB),
        "chosenSeries": ("Chosen", nodes.chosenTable, "Chosen", _CHOSEN_RGB),
    }[role]
    node = nodes.own(role, f"{name.lower()} series")
    node.SetName(name)
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetPlotType(node.PlotTypeScatter)
    node.SetXColumnName("Point")
    node.SetYColumnName(column)
    node.SetColor(*color)
    node.SetLineStyle(node.LineStyleNone if role == "chosenSeries" else node.LineStyleSolid)
    node.SetMarkerStyle(node.MarkerStyleNone if role == "fitSeries" else node.MarkerStyleCircle)
    node.SetMarkerSize(14 if role == "chosenSeries" else 5)
    return node
