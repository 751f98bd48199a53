"""Stand-in for Slicer's plot view: draws the series of the chart node, and tells which point was picked."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from Testing.slicer_host.ctk_widgets import with_setters
from Testing.slicer_host.mrml_widgets import Watch

Signal = QtCore.Signal
_MARGINS = QtCore.QMargins(52, 22, 12, 34)


@with_setters
class qMRMLPlotView(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    dataSelected = Signal(object, object)
    SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)", "dataSelected(vtkStringArray*,vtkCollection*)")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None
        self._view: Any = None
        self._watch = Watch(self)
        self.setMinimumHeight(60)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlPlotViewNode(self) -> Any:
        return self._view

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._view = node
        self._watch.clear()
        if node is not None:
            self._watch.on(node, ("ModifiedEvent",), "update")
        self.update()

    def fitToContent(self) -> None:
        self.update()

    def pick(self, series: Any, point: int) -> None:
        """What a click on a point of the chart does in Slicer."""
        names, picked, points = vtk.vtkStringArray(), vtk.vtkCollection(), vtk.vtkIdTypeArray()
        names.InsertNextValue(series.GetID())
        points.InsertNextValue(point)
        picked.AddItem(points)
        self.dataSelected.emit(names, picked)

    def series(self) -> list[tuple[Any, np.ndarray, np.ndarray]]:
        """(series node, x, y) of the chart that the view node shows."""
        chart = self._view.GetPlotChartNode() if self._view is not None else None
        if chart is None:
            return []
        nodes = [chart.GetNthPlotSeriesNode(index) for index in range(chart.GetNumberOfPlotSeriesNodes())]
        found = []
        for node in nodes:
            table = node.GetTableNode().GetTable() if node is not None and node.GetTableNode() is not None else None
            columns = [table.GetColumnByName(name) for name in (node.GetXColumnName(), node.GetYColumnName())] if table else []
            if columns and all(column is not None and column.GetNumberOfTuples() for column in columns):
                found.append((node, vtk_to_numpy(columns[0]), vtk_to_numpy(columns[1])))
        return found

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect, QtGui.QColor("white"))
        inner = self.rect.marginsRemoved(_MARGINS)
        series = self.series()
        painter.setPen(QtGui.QColor("#888888"))
        painter.drawRect(inner)
        if series:
            self._draw(painter, inner, series)

    def _draw(self, painter: QtGui.QPainter, inner: QtCore.QRect, series: list[tuple[Any, np.ndarray, np.ndarray]]) -> None:
        finite = [(x[np.isfinite(y)], y[np.isfinite(y)]) for _, x, y in series]
        xs, ys = (np.concatenate([pair[axis] for pair in finite]) for axis in (0, 1))
        if not xs.size:
            return
        (x0, x1), (y0, y1) = (xs.min(), max(xs.max(), xs.min() + 1)), (min(ys.min(), 0.0), max(ys.max(), 1e-9))
        chart = self._view.GetPlotChartNode()
        painter.setPen(QtGui.QColor("#333333"))
        painter.drawText(QtCore.QRect(0, 2, self.width, 18), QtCore.Qt.AlignmentFlag.AlignCenter, chart.GetTitle() or "")
        painter.drawText(inner.left(), self.height - 6, f"{chart.GetXAxisTitle() or ''}  {x0:g} … {x1:g}")
        painter.drawText(4, inner.top() + 10, f"{y1:.3g}")
        painter.drawText(4, inner.bottom(), f"{y0:.3g}")
        for (node, _, _), (x, y) in zip(series, finite, strict=True):
            painter.setPen(QtGui.QPen(QtGui.QColor.fromRgbF(*node.GetColor()), 2))
            left, down = inner.left() + (x - x0) / (x1 - x0) * inner.width(), inner.bottom() - (y - y0) / (y1 - y0) * inner.height()
            points = [QtCore.QPointF(float(a), float(b)) for a, b in zip(left, down, strict=True)]
            if node.GetLineStyle() != node.LineStyleNone:
                painter.drawPolyline(points)
            if node.GetMarkerStyle() != node.MarkerStyleNone:
                for point in points:
                    painter.drawEllipse(point, 3, 3)
