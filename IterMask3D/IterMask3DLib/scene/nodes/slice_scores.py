"""How anomalous each slice is, as a table, a plot series and a chart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from IterMask3DLib.scene.nodes.curve import fit_to_panel
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.nodes.tables import fill_table
from IterMask3DLib.scene.translation import tr as _

ROLES = ("scores_chart", "scores_series", "scores_table")
COLUMNS = ("Slice", "Score")
_COLOR = (0.2, 0.5, 0.9)


def write_slice_scores(nodes: ResultNodes, scores: Sequence[float]) -> None:
    """Puts the scores of the slices of the model grid, from below to above, into the nodes of their result."""
    table = nodes.own("scores_table", "slice scores")
    fill_table(table, COLUMNS, enumerate(scores, 1))
    series = nodes.own("scores_series", "slice scores series")
    series.SetName("Score")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetPlotType(series.PlotTypeScatter)
    series.SetXColumnName(COLUMNS[0])
    series.SetYColumnName(COLUMNS[1])
    series.SetColor(*_COLOR)
    series.SetLineStyle(series.LineStyleSolid)
    series.SetMarkerStyle(series.MarkerStyleNone)
    chart = nodes.own("scores_chart", "slice scores chart")
    chart.RemoveAllPlotSeriesNodeIDs()
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetXAxisTitle(_("Slice of the model grid, from below"))
    chart.SetYAxisTitle(_("Score"))
    highest = int(np.argmax(scores))
    chart.SetTitle(_("Highest score {score:.3g} in slice {number}", score=scores[highest], number=highest + 1))
    fit_to_panel(chart)
