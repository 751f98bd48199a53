"""A chart of the result, drawn in the panel by Slicer's own plot view, so that the layout of the views stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

_HEIGHT = 190


class CurvePlot:
    """A plot view outside the layout. `on_picked` hears the index of a clicked point, and how many its series has."""

    def __init__(self, frame: Any, on_picked: Callable[[int, int], None]) -> None:
        self._on_picked = on_picked
        # Python cannot ask the view for its node: qMRMLPlotView::mrmlPlotViewNode is neither invokable nor a slot.
        self._node: Any = None
        self._view = slicer.qMRMLPlotView()
        self._view.setFixedHeight(_HEIGHT)
        self._view.setMRMLScene(slicer.mrmlScene)
        self._view.connect("dataSelected(vtkStringArray*,vtkCollection*)", self._on_selected)
        self._frame = frame
        frame.layout().addWidget(self._view)

    def show(self, chart: Any, owner: Any, hint: str = "") -> None:
        """Shows a plot chart node, or nothing; the view belongs to the node `owner`, so that no layout takes it up."""
        self._frame.visible = chart is not None
        self._view.toolTip = hint
        if chart is not None and (self._node is None or self._node.GetScene() is None):
            self._node = self._make_node(owner)
            self._view.setMRMLPlotViewNode(self._node)
        node, wanted = self._node, chart.GetID() if chart is not None else None
        if node is not None and node.GetPlotChartNodeID() != wanted:
            node.SetPlotChartNodeID(wanted)
            self._view.fitToContent()

    def close(self) -> None:
        """Takes the view's node out of the scene."""
        self._view.setMRMLPlotViewNode(None)
        if self._node is not None and self._node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self._node)
        self._node = None

    def _make_node(self, owner: Any) -> Any:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLPlotViewNode")
        node.UnRegister(None)
        node.SetName("IterMask3D curve")
        node.SetSingletonTag("IterMask3DCurve")
        node.SetLayoutName("IterMask3DCurve")
        node.SetSaveWithScene(False)
        node.SetAndObserveParentLayoutNodeID(owner.GetID())
        node.SetInteractionMode(node.InteractionModeSelectPoints)
        return slicer.mrmlScene.AddNode(node)

    def _on_selected(self, series_ids: Any, selections: Any) -> None:
        for index in range(series_ids.GetNumberOfValues()):
            series = slicer.mrmlScene.GetNodeByID(series_ids.GetValue(index))
            points = selections.GetItemAsObject(index)
            if series is not None and points.GetNumberOfValues():
                point, count = points.GetValue(0), series.GetTableNode().GetNumberOfRows()
                # A point stays selected after a click on another series, and would be found first by the next click.
                self._view.RemovePlotSelections()
                self._on_picked(point, count)
                return
