"""The threshold curve, drawn in the panel by Slicer's own plot view, so that the layout of the views stays as the user has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

_HEIGHT = 190


class CurvePlot:
    """A plot view outside the layout. `onPicked` hears the index of a point that was clicked, and how many points its series has."""

    def __init__(self, frame: Any, onPicked: Callable[[int, int], None]) -> None:
        self._onPicked = onPicked
        self._view = slicer.qMRMLPlotView()
        self._view.setFixedHeight(_HEIGHT)
        self._view.toolTip = _("Threshold after each pass of the sweep, the fit to it, and the chosen point; click a point to choose it")
        self._view.setMRMLScene(slicer.mrmlScene)
        self._view.connect("dataSelected(vtkStringArray*,vtkCollection*)", self._onSelected)
        self._frame = frame
        frame.layout().addWidget(self._view)

    def show(self, chart: Any, owner: Any) -> None:
        """Shows a plot chart node, or nothing; `owner` is the node to which the view belongs, so that no layout takes it up."""
        self._frame.visible = chart is not None
        node = self._view.mrmlPlotViewNode()
        if chart is not None and (node is None or node.GetScene() is None):
            node = self._makeNode(owner)
            self._view.setMRMLPlotViewNode(node)
        if node is not None and node.GetPlotChartNodeID() != (chart.GetID() if chart is not None else None):
            node.SetPlotChartNodeID(chart.GetID() if chart is not None else None)
            self._view.fitToContent()

    def close(self) -> None:
        """Takes the view's node out of the scene."""
        node = self._view.mrmlPlotViewNode()
        self._view.setMRMLPlotViewNode(None)
        if node is not None and node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(node)

    def _makeNode(self, owner: Any) -> Any:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLPlotViewNode")
        node.UnRegister(None)
        node.SetName("IterMask3D curve")
        node.SetSingletonTag("IterMask3DCurve")
        node.SetLayoutName("IterMask3DCurve")
        node.SetSaveWithScene(False)
        node.SetAndObserveParentLayoutNodeID(owner.GetID())
        node.SetInteractionMode(node.InteractionModeSelectPoints)
        return slicer.mrmlScene.AddNode(node)

    def _onSelected(self, seriesIds: Any, selections: Any) -> None:
        for index in range(seriesIds.GetNumberOfValues()):
            series = slicer.mrmlScene.GetNodeByID(seriesIds.GetValue(index))
            points = selections.GetItemAsObject(index)
            if series is not None and points.GetNumberOfValues():
                self._onPicked(points.GetValue(0), series.GetTableNode().GetNumberOfRows())
                return
