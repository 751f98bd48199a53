"""The plot view draws with VTK's charts, as the application does, and finds what was clicked in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer
import vtk

from Testing.slicer_host.plot_view import click_point, drawn_series

POINTS = 12
COLUMNS = ("pass", "threshold", "fit")


class Plot:
    """Two series in a chart in a view."""

    def __init__(self) -> None:
        add = slicer.mrmlScene.AddNewNodeByClass
        table = add("vtkMRMLTableNode")
        across = np.arange(1.0, POINTS + 1)
        columns = [across, np.exp(-across), np.exp(-across / 2)]
        slicer.util.updateTableFromArray(table, columns, list(COLUMNS))
        self.chart, self.node = add("vtkMRMLPlotChartNode"), add("vtkMRMLPlotViewNode")
        self.series = [add("vtkMRMLPlotSeriesNode", name) for name in COLUMNS[1:]]
        for series in self.series:
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName("pass")
            series.SetYColumnName(series.GetName())
            series.SetPlotType(series.PlotTypeScatter)
            self.chart.AddAndObservePlotSeriesNodeID(series.GetID())
        self.node.SetPlotChartNodeID(self.chart.GetID())
        self.view = slicer.qMRMLPlotView()
        self.view.resize(400, 200)
        self.view.setMRMLScene(slicer.mrmlScene)
        self.view.setMRMLPlotViewNode(self.node)
        self.view.fitToContent()

    def axis(self, number: int) -> Any:
        return self.view.chart().GetAxis(number)


@pytest.fixture
def plot(host: Any) -> Plot:
    return Plot()


def test_every_series_is_drawn_with_its_points(plot: Plot) -> None:
    assert [node for node, _, _ in drawn_series(plot.view)] == plot.series
    assert [len(x) for _, x, _ in drawn_series(plot.view)] == [POINTS, POINTS]
    plot.chart.RemovePlotSeriesNodeID(plot.series[0].GetID())
    assert [node for node, _, _ in drawn_series(plot.view)] == plot.series[1:]
    plot.node.SetPlotChartNodeID(None)
    assert drawn_series(plot.view) == []


def test_titles_sizes_and_the_axis_of_logarithms_are_vtks(plot: Plot) -> None:
    plot.chart.SetTitle("Thresholds")
    plot.chart.SetXAxisTitle("Pass")
    plot.chart.SetTitleFontSize(11)
    plot.chart.SetYAxisLogScale(True)
    plot.view.grab()
    assert plot.view.chart().GetTitle() == "Thresholds"
    assert plot.view.chart().GetTitleProperties().GetFontSize() == 11
    assert plot.axis(vtk.vtkAxis.BOTTOM).GetTitle() == "Pass"
    assert plot.axis(vtk.vtkAxis.LEFT).GetLogScaleActive() and not plot.axis(vtk.vtkAxis.BOTTOM).GetLogScaleActive()


def test_fitting_tells_the_chart_what_its_axes_span(plot: Plot) -> None:
    low, high = plot.chart.GetXAxisRange()
    assert low <= 1 and high >= POINTS


def test_a_click_selects_the_point_under_it_until_the_selection_is_removed(plot: Plot) -> None:
    heard: list[list[tuple[str, int]]] = []

    def note(names: Any, picked: Any) -> None:
        count = names.GetNumberOfValues()
        heard.append([(names.GetValue(each), picked.GetItemAsObject(each).GetValue(0)) for each in range(count)])

    plot.view.connect("dataSelected(vtkStringArray*,vtkCollection*)", note)
    first, second = (series.GetID() for series in plot.series)
    click_point(plot.view, plot.series[0], 1)
    assert heard[-1] == [(first, 1)]
    click_point(plot.view, plot.series[1], 2)
    assert heard[-1] == [(first, 1), (second, 2)]
    plot.view.RemovePlotSelections()
    assert heard[-1] == []


def test_the_picture_shows_the_curves_in_their_colors(plot: Plot) -> None:
    plot.series[0].SetColor(1.0, 0.0, 0.0)
    plot.series[0].SetLineWidth(4)
    picture = plot.view.grab().toImage()
    colors = {picture.pixelColor(x, y).getRgb()[:3] for x in range(0, 400, 2) for y in range(200)}
    assert (255, 253, 246) in colors
    assert any(red > 200 and max(green, blue) < 60 for red, green, blue in colors)


def test_a_view_that_another_scene_is_set_on_gives_up_its_node(plot: Plot) -> None:
    plot.view.setMRMLScene(None)
    plot.view.setMRMLScene(slicer.mrmlScene)
    plot.chart.SetTitle("not shown")
    assert plot.view.chart().GetTitle() != "not shown"
