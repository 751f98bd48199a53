"""A chart node drawn by VTK's own charts, set up as Slicer's plot view sets them up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

_BACKGROUND = (255, 253, 246, 255)
_LINES = ("NO_PEN", "SOLID_LINE", "DASH_LINE", "DOT_LINE", "DASH_DOT_LINE", "DASH_DOT_DOT_LINE")
"""In the order of vtkMRMLPlotSeriesNode's line styles."""
_MARKERS = (
    vtk.VTK_MARKER_NONE,
    vtk.VTK_MARKER_CROSS,
    vtk.VTK_MARKER_PLUS,
    vtk.VTK_MARKER_SQUARE,
    vtk.VTK_MARKER_CIRCLE,
    vtk.VTK_MARKER_DIAMOND,
)
_ACROSS = (vtk.vtkAxis.BOTTOM, vtk.vtkAxis.TOP)
_AXES = (*_ACROSS, vtk.vtkAxis.LEFT, vtk.vtkAxis.RIGHT)


class Chart:
    """A vtkChartXY in its scene, and which series node each of its plots draws."""

    def __init__(self) -> None:
        self.view = vtk.vtkContextView()
        self.xy = vtk.vtkChartXY()
        self.view.GetScene().AddItem(self.xy)
        self.xy.GetBackgroundBrush().SetColor(*_BACKGROUND)
        self._plots: dict[str, Any] = {}

    def let_select(self) -> None:
        """A click selects the point under it, as in the interaction modes of a plot view other than moving points."""
        left, select = vtk.vtkContextMouseEvent.LEFT_BUTTON, vtk.vtkChart.SELECT
        self.xy.SetClickActionToButton(select, left)
        self.xy.SetActionToButton(select, left)
        self.xy.SetActionToButton(vtk.vtkChart.PAN, vtk.vtkContextMouseEvent.MIDDLE_BUTTON)
        self.xy.SetActionToButton(vtk.vtkChart.ZOOM_AXIS, vtk.vtkContextMouseEvent.RIGHT_BUTTON)

    def show(self, node: Any) -> None:
        """Brings the plots and the axes to what a chart node says; None shows nothing."""
        wanted = {series.GetID(): series for series in _series(node)}
        for identity in [known for known in self._plots if known not in wanted]:
            self._remove(identity)
        for identity, series in wanted.items():
            self._show_series(identity, series)
        if node is not None:
            self._show_words(node)
            for number in _AXES:
                self._show_axis(self.xy.GetAxis(number), node, "X" if number in _ACROSS else "Y")
        self.view.GetScene().SetDirty(True)

    def drawn(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """(ID of the series node, x, y) of every plot that has points."""
        found = []
        for identity, plot in self._plots.items():
            table = plot.GetInput()
            columns = [plot.GetData().GetInputArrayToProcess(index, table) for index in (0, 1)]
            if all(column is not None and column.GetNumberOfTuples() for column in columns):
                found.append((identity, *(vtk_to_numpy(column) for column in columns)))
        return found

    def selected(self) -> list[tuple[str, Any]]:
        """(ID of the series node, indices of its selected points) of every plot in which something is selected."""
        each = ((identity, plot.GetSelection()) for identity, plot in self._plots.items())
        return [(identity, points) for identity, points in each if points is not None and points.GetNumberOfValues()]

    def fit(self, node: Any) -> None:
        """Puts the axes around all points, and tells the chart node what they span now."""
        across, up = (np.concatenate(found) if found else np.array([]) for found in self._finite())
        if not across.size:
            return
        for number, values in ((vtk.vtkAxis.BOTTOM, across), (vtk.vtkAxis.LEFT, up)):
            axis = self.xy.GetAxis(number)
            _set_range(axis, float(values.min()), float(values.max()))
            axis.AutoScale()
        was_modified = node.StartModify()
        node.SetXAxisRange(*_range(self.xy.GetAxis(vtk.vtkAxis.BOTTOM)))
        node.SetYAxisRange(*_range(self.xy.GetAxis(vtk.vtkAxis.LEFT)))
        node.EndModify(was_modified)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where in the window a point is drawn, in pixels from the lower left."""
        axes = (self.xy.GetAxis(vtk.vtkAxis.BOTTOM), x, 0), (self.xy.GetAxis(vtk.vtkAxis.LEFT), y, 1)
        across, up = (_place(axis, value, direction) for axis, value, direction in axes)
        return across, up

    def _finite(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        known = [(x, y, np.isfinite(x) & np.isfinite(y)) for _, x, y in self.drawn()]
        return [x[there] for x, _, there in known], [y[there] for _, y, there in known]

    def _remove(self, identity: str) -> None:
        plot = self._plots.pop(identity)
        numbers = [number for number in range(self.xy.GetNumberOfPlots()) if self.xy.GetPlot(number) is plot]
        # A plot that is removed from the first corner cannot be drawn again.
        self.xy.SetPlotCorner(plot, 1)
        self.xy.RemovePlot(numbers[0])

    def _show_series(self, identity: str, series: Any) -> None:
        bars = series.GetPlotType() in (series.PlotTypeBar, series.PlotTypeScatterBar)
        kind = vtk.vtkPlotBar if bars else vtk.vtkPlotLine
        plot = self._plots.get(identity)
        if plot is not None and not isinstance(plot, kind):
            self._remove(identity)
            plot = None
        if plot is None:
            plot = self._plots[identity] = kind()
            self.xy.AddPlot(plot)
        plot.SetWidth(series.GetLineWidth())
        plot.SetColorF(*series.GetColor())
        plot.GetPen().SetOpacityF(series.GetOpacity())
        plot.GetPen().SetLineType(getattr(vtk.vtkPen, _LINES[series.GetLineStyle()]))
        if isinstance(plot, vtk.vtkPlotLine):
            plot.SetMarkerSize(series.GetMarkerSize())
            plot.SetMarkerStyle(_MARKERS[series.GetMarkerStyle()])
        across = series.GetXColumnName() if series.IsXColumnRequired() else series.GetYColumnName()
        plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
        plot.SetInputData(series.GetTableNode().GetTable(), across, series.GetYColumnName())
        plot.SetLabel(series.GetName() or "")

    def _show_words(self, node: Any) -> None:
        family = self.xy.GetTitleProperties().GetFontFamilyFromString(node.GetFontType() or "Arial")
        self.xy.SetTitle((node.GetTitle() or "") if node.GetTitleVisibility() else "")
        self.xy.SetShowLegend(node.GetLegendVisibility())
        legend = self.xy.GetLegend().GetLabelProperties()
        for words, size in (
            (self.xy.GetTitleProperties(), node.GetTitleFontSize()),
            (legend, node.GetLegendFontSize()),
        ):
            words.SetFontFamily(family)
            words.SetFontSize(size)
        for number in _AXES:
            axis = self.xy.GetAxis(number)
            for words, size in (
                (axis.GetTitleProperties(), node.GetAxisTitleFontSize()),
                (axis.GetLabelProperties(), node.GetAxisLabelFontSize()),
            ):
                words.SetFontFamily(family)
                words.SetFontSize(size)
                words.SetBold(False)

    def _show_axis(self, axis: Any, node: Any, letter: str) -> None:
        def told(what: str) -> Any:
            return getattr(node, f"Get{letter}Axis{what}")()

        axis.SetTitle((told("Title") or "") if told("TitleVisibility") else "")
        axis.SetGridVisible(node.GetGridVisibility())
        turned = bool(axis.GetLogScale()) != bool(told("LogScale"))
        if not told("RangeAuto") or turned:
            span = _range(axis) if told("RangeAuto") else tuple(told("Range"))
            axis.SetLogScale(told("LogScale"))
            _set_range(axis, *span)
            axis.Update()
        axis.SetBehavior(vtk.vtkAxis.AUTO if told("RangeAuto") else vtk.vtkAxis.FIXED)


def _series(node: Any) -> list[Any]:
    """The series nodes of a chart node that have what is needed to draw them."""
    if node is None:
        return []
    each = (node.GetNthPlotSeriesNode(index) for index in range(node.GetNumberOfPlotSeriesNodes()))
    return [series for series in each if series is not None and _can_be_drawn(series)]


def _can_be_drawn(series: Any) -> bool:
    table = series.GetTableNode().GetTable() if series.GetTableNode() is not None else None
    needed = [series.GetYColumnName(), *([series.GetXColumnName()] if series.IsXColumnRequired() else [])]
    columns = [table.GetColumnByName(name or "") for name in needed] if table is not None else [None]
    return all(isinstance(column, vtk.vtkDataArray) and not isinstance(column, vtk.vtkBitArray) for column in columns)


def _range(axis: Any) -> tuple[float, float]:
    return axis.GetUnscaledMinimum(), axis.GetUnscaledMaximum()


def _set_range(axis: Any, low: float, high: float) -> None:
    """Logarithms need positive numbers: the view starts four decades below the highest, or at one."""
    least, most = -math.inf, math.inf
    if axis.GetLogScale() and high <= 0:
        low, high, least, most = 0.1, 1.0, 0.1, 1.0
    elif axis.GetLogScale():
        least = 0.0
        low = low if low > 0 else high / 1e4 if high < 1e4 else 1.0
    axis.SetUnscaledMinimumLimit(least)
    axis.SetUnscaledMaximumLimit(most)
    axis.SetUnscaledRange(low, high)


def _place(axis: Any, value: float, direction: int) -> float:
    scaled = math.log10(value) if axis.GetLogScaleActive() else value
    first, last = axis.GetPoint1()[direction], axis.GetPoint2()[direction]
    return float(first + (scaled - axis.GetMinimum()) / (axis.GetMaximum() - axis.GetMinimum()) * (last - first))
