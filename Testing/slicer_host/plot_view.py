"""Stand-in for Slicer's plot view: VTK draws the chart and finds the point that was clicked, as in the application."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from PySide6 import QtCore, QtGui, QtTest, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from Testing.slicer_host.plot_chart import Chart
from Testing.slicer_host.properties import stand_in
from Testing.slicer_host.watch import Watch

Signal = QtCore.Signal
_BUTTONS = {
    QtCore.Qt.MouseButton.LeftButton: "Left",
    QtCore.Qt.MouseButton.MiddleButton: "Middle",
    QtCore.Qt.MouseButton.RightButton: "Right",
}


@stand_in
class qMRMLPlotView(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    dataSelected = Signal(object, object)
    _SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)", "dataSelected(vtkStringArray*,vtkCollection*)")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None
        self._node: Any = None
        self._shown: Any = None
        self._chart = Chart()
        self._interactor: Any = None
        self._of_view, self._of_chart, self._of_picks = Watch(self), Watch(self), Watch(self)
        self._of_picks.on(self._chart.xy, ("SelectionChangedEvent",), "_tell_selection")
        self.setMinimumHeight(60)
        self.setMouseTracking(True)

    def chart(self) -> Any:
        return self._chart.xy

    def scene(self) -> Any:
        return self._chart.view.GetScene()

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._scene = scene
        if self._node is not None and self._node.GetScene() is not scene:
            self.setMRMLPlotViewNode(None)
        self._follow()
        self.mrmlSceneChanged.emit(scene)

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._of_view.clear()
        self._node = node
        if node is not None:
            self._of_view.on(node, ("ModifiedEvent", node.PlotChartNodeChangedEvent), "_follow")
        self._follow()

    def fitToContent(self) -> None:
        if self._shown is not None:
            self._chart.fit(self._shown)
        self.update()

    def RemovePlotSelections(self) -> None:
        self._chart.xy.RemovePlotSelections()

    def _follow(self) -> None:
        """Draws the chart of the view node, and looks at that chart from now on."""
        usable = self._scene is not None and self._node is not None
        shown = self._scene.GetNodeByID(self._node.GetPlotChartNodeID() or "") if usable else None
        if shown is not self._shown:
            self._of_chart.clear()
            self._shown = shown
            self._of_chart.on(shown, ("ModifiedEvent",), "_show")
        self._show()

    def _show(self) -> None:
        # Like the application's, a view without a scene or a node, or one that is disabled, keeps what it drew last.
        if self._scene is not None and self._node is not None and self.isEnabled():
            self._chart.let_select()
            self._chart.show(self._shown)
            self.update()

    def _tell_selection(self) -> None:
        names, picked = vtk.vtkStringArray(), vtk.vtkCollection()
        for identity, points in self._chart.selected():
            names.InsertNextValue(identity)
            picked.AddItem(points)
        self.dataSelected.emit(names, picked)

    def _render(self) -> Any:
        """The window of VTK behind the widget, drawn at the size of the widget."""
        window = self._chart.view.GetRenderWindow()
        if self._interactor is None:
            window.SetOffScreenRendering(True)
            self._interactor = vtk.vtkGenericRenderWindowInteractor()
            self._interactor.SetRenderWindow(window)
            style = vtk.vtkContextInteractorStyle()
            style.SetScene(self.scene())
            self._interactor.SetInteractorStyle(style)
            self._interactor.Initialize()
        window.SetSize(self.width, self.height)
        window.Render()
        return window

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        grabbed = vtk.vtkWindowToImageFilter()
        grabbed.SetInput(self._render())
        grabbed.ReadFrontBufferOff()
        grabbed.Update()
        wide, high, _ = grabbed.GetOutput().GetDimensions()
        pixels = vtk_to_numpy(grabbed.GetOutput().GetPointData().GetScalars()).reshape(high, wide, 3)
        kept = np.ascontiguousarray(pixels[::-1])
        picture = QtGui.QImage(kept.data, wide, high, 3 * wide, QtGui.QImage.Format.Format_RGB888)
        QtGui.QPainter(self).drawImage(self.rect, picture)

    def _pass_on(self, event: QtGui.QMouseEvent, what: str) -> None:
        self._render()
        place = event.position()
        self._interactor.SetEventInformation(round(place.x()), self.height - 1 - round(place.y()))
        self._interactor.InvokeEvent(what)

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        self._pass_on(event, "MouseMoveEvent")

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        self._pass_on(event, f"{_BUTTONS[event.button()]}ButtonPressEvent")

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        self._pass_on(event, f"{_BUTTONS[event.button()]}ButtonReleaseEvent")


def drawn_series(view: Any) -> list[tuple[Any, np.ndarray, np.ndarray]]:
    """(series node, x, y) of what a plot view draws."""
    return [(view._scene.GetNodeByID(identity), x, y) for identity, x, y in view._chart.drawn()]


def click_point(view: Any, series: Any, point: int) -> None:
    """A click with the mouse on a point of a series, in a view that has the size its panel gives it."""
    view.grab()
    x, y = next((x[point], y[point]) for node, x, y in drawn_series(view) if node is series)
    across, up = view._chart.place(float(x), float(y))
    place = QtCore.QPoint(round(across), view.height - 1 - round(up))
    QtTest.QTest.mouseMove(view, place)
    none = QtCore.Qt.KeyboardModifier.NoModifier
    QtTest.QTest.mouseClick(view, QtCore.Qt.MouseButton.LeftButton, none, place)
