"""A scripted module as the application holds it, and the hands that load it, show it and unload it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from Testing.slicer_host import stand_ins
from Testing.slicer_host.mrml_base import qSlicerWidget
from Testing.slicer_host.properties import stand_in, stored


@stand_in
class qSlicerModuleManager(QtCore.QObject):
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def module(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower(), None)


@stand_ins.stands_for("qSlicerScriptedLoadableModule")
class ScriptedModule:
    """What `slicer.modules.<name>` is, and what the module's class is given as its parent."""

    def __init__(self, path: Path, represent: Callable[[], Any]) -> None:
        self.name, self.path = path.stem, str(path)
        self.title = self.helpText = self.acknowledgementText = ""
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self.icon: Any = None
        self.hidden = False
        self._represent = represent

    def widgetRepresentation(self) -> Any:
        return self._represent()


@stand_in
class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The widget in which a module's panel stands; it knows whether it is the one that is shown."""

    isEntered = stored(bool, "isEntered", False)
    moduleName = stored(str, "moduleName", "")

    def __init__(self, name: str) -> None:
        super().__init__()
        self.moduleName = name
        self._python: Any = None
        self.setLayout(QtWidgets.QVBoxLayout())

    def self(self) -> Any:
        return self._python

    def reload(self) -> None:
        """Makes the Python half, from the code as it is in `sys.modules` now; as in Slicer, `enter` is not called."""
        self._python = getattr(sys.modules[self.moduleName], f"{self.moduleName}Widget")(self)
        setattr(slicer.modules, f"{self.moduleName}Widget", self._python)
        self._python.setup()

    def enter(self) -> None:
        self.isEntered = True
        self._python.enter()

    def exit(self) -> None:
        self._python.exit()
        self.isEntered = False


class LoadedModule:
    """A module in the hands of a test: loads it, enters it, leaves it and unloads it, as the application does."""

    def __init__(self, path: Path) -> None:
        self.name, self.path = path.stem, str(path)
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        importlib.import_module(self.name)
        self.parent = ScriptedModule(path, self.widgetRepresentation)
        setattr(slicer.modules, self.name.lower(), self.parent)
        self.instance = getattr(self.python, self.name)(self.parent)
        self._representation: Any = None

    @property
    def python(self) -> Any:
        """The module's file, imported."""
        return sys.modules[self.name]

    def widgetRepresentation(self) -> Any:
        """The panel, created and set up when first asked for."""
        if self._representation is None:
            self._representation = qSlicerScriptedLoadableModuleWidget(self.name)
            self._representation.setMRMLScene(slicer.mrmlScene)
            self._representation.reload()
        return self._representation

    def widget(self) -> Any:
        """The Python half of the panel."""
        return self.widgetRepresentation().self()

    def enter(self) -> Any:
        """The user chooses the module. Returns the Python half of its panel."""
        self.widgetRepresentation().enter()
        return self.widget()

    def exit(self) -> None:
        """The user chooses another module."""
        self.widgetRepresentation().exit()

    def unload(self) -> None:
        """What happens to the panel when the application closes."""
        if self._representation is None:
            return
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self.name)
        delattr(slicer.modules, f"{self.name}Widget")
        self._representation.deleteLater()
        self._representation = None
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)


STAND_INS = (qSlicerModuleManager, ScriptedModule, qSlicerScriptedLoadableModuleWidget)
