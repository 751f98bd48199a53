"""Stand-ins for the widgets that know a scene and nothing else; many others are built on them."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from Testing.slicer_host.properties import stand_in

Signal = QtCore.Signal


@stand_in
class qMRMLWidget(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    _SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


@stand_in
class qSlicerWidget(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    _SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def setMRMLScene(self, scene: Any) -> None:
        self.mrmlSceneChanged.emit(scene)
