"""The threshold curve as a table, three plot series (thresholds, fit, chosen point) and a chart."""

from __future__ import annotations

from typing import Any

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.scene.nodes import tables
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.translation import tr as _

KIND = ThresholdCurve.kind
ROLES = ("curve_chart", "threshold_series", "fit_series", "chosen_series", "curve_table", "chosen_table")

_SERIES = {
    "threshold_series": ("Threshold", "curve_table", "Threshold", (0.2, 0.5, 0.9)),
    "fit_series": ("Fit", "curve_table", "Fit", (0.5, 0.5, 0.5)),
    "chosen_series": ("Chosen", "chosen_table", "Chosen", (0.9, 0.2, 0.1)),
}
_TITLE_POINTS, _AXIS_POINTS, _LABEL_POINTS = 12, 10, 9
"""Sizes of the letters: a panel is some 400 pixels wide."""


def write_curve(nodes: ResultNodes, curve: ThresholdCurve) -> None:
    """Puts a curve into the nodes of its result; the plot that shows them follows."""
    tables.write_curve(nodes.own("curve_table", "threshold curve"), curve)
    tables.write_chosen(nodes.own("chosen_table", "chosen point"), curve)
    chart = nodes.own("curve_chart", "threshold curve chart")
    for role in _SERIES:
        if nodes.node(role) is None:
            chart.AddAndObservePlotSeriesNodeID(_series(nodes, role).GetID())
    chart.SetXAxisTitle(_("Sweep pass"))
    chart.SetYAxisTitle(_("Threshold"))
    chart.SetTitle(curve_title(curve))
    fit_to_panel(chart)
    # They grow a hundredfold.
    chart.SetYAxisLogScale(bool((curve.thresholds > 0).all()) and curve.threshold > 0)


def fit_to_panel(chart: Any) -> None:
    """Gives a chart letters for a panel, and no legend."""
    chart.SetTitleFontSize(_TITLE_POINTS)
    chart.SetAxisTitleFontSize(_AXIS_POINTS)
    chart.SetAxisLabelFontSize(_LABEL_POINTS)
    chart.SetLegendFontSize(_LABEL_POINTS)
    # It would lie over the end of the curve, where the chosen point often is.
    chart.SetLegendVisibility(False)


def curve_title(curve: ThresholdCurve) -> str:
    """The choice in a few words."""
    return _("Threshold {threshold:.3g} at pass {point}", threshold=curve.threshold, point=curve.chosen + 1)


def curve_text(nodes: ResultNodes) -> str:
    """The choice in a line: what chose the point, and how well the curve is fitted; "" where there is no curve."""
    curve = nodes.curve
    if curve is None:
        return ""
    if curve.by_hand:
        by = _("chosen by hand")
    elif curve.fixed is not None:
        by = _("the model's own threshold")
    else:
        by = _("gamma {gamma:g}", gamma=curve.gamma)
    fit = _("fit R² {r_squared:.2f}", r_squared=curve.r_squared) if curve.used_fit else _("no fit")
    return f"{curve_title(curve)} ({by}; {fit})"


def _series(nodes: ResultNodes, role: str) -> Any:
    name, table, column, color = _SERIES[role]
    node = nodes.own(role, f"{name.lower()} series")
    node.SetName(name)
    node.SetAndObserveTableNodeID(nodes.node(table).GetID())
    node.SetPlotType(node.PlotTypeScatter)
    node.SetXColumnName("Point")
    node.SetYColumnName(column)
    node.SetColor(*color)
    node.SetLineStyle(node.LineStyleNone if role == "chosen_series" else node.LineStyleSolid)
    node.SetMarkerStyle(node.MarkerStyleNone if role == "fit_series" else node.MarkerStyleCircle)
    node.SetMarkerSize(14 if role == "chosen_series" else 5)
    return node
