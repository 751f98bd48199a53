"""The part of the application that is Qt: `slicer.app` with settings, clipboard and modules, and the modules `qt` and `ctk`.

With SLICER_PYTHON_SRC naming a checkout of Slicer's Base/Python, the base classes of scripted modules, the parameter node wrapper and the
translation come from there; without it, from the stand-ins of this package.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from Testing.slicer_host import ctk_widgets, editor_widget, mrml_widgets, plot_view, pythonqt, start_scene

SOURCE = os.environ.get("SLICER_PYTHON_SRC", "")
REAL_LAYER = bool(SOURCE)


class ModuleManager(QtCore.QObject):
    """What qSlicerModuleManager tells the widgets of scripted modules."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def module(self, name: str) -> Any:
        return getattr(slicer.modules, name.lower(), None)


class WindowedApplication:
    """The members of qSlicerApplication that need Qt; the others are those of the application without it."""

    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"

    def __init__(self, core: Any) -> None:
        self._core = core
        self._qt = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["slicer-host"])
        QtCore.QCoreApplication.setApplicationName("Slicer")
        QtCore.QCoreApplication.setOrganizationName("SlicerHost")
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(
            QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, tempfile.mkdtemp(prefix="slicer-host-")
        )
        self._modules = ModuleManager()
        self._layout: Any = None
        self.atStartup: list[Any] = []
        self.translated: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def connect(self, signal: str, slot: Any) -> bool:
        if signal == "startupCompleted()":
            self.atStartup.append(slot)
            return True
        if signal == "aboutToQuit()":
            return bool(self._qt.connect(signal, slot))
        raise ValueError(f"the application has no signal {signal}")

    def processEvents(self) -> None:
        self._qt.processEvents()

    def translate(self, context: str, text: str) -> str:
        self.translated.append(text)
        return text

    def layoutManager(self) -> Any:
        return self._layout

    def moduleManager(self) -> ModuleManager:
        return self._modules

    def moduleDocumentationUrl(self, name: str) -> str:
        return self.documentationBaseUrl + name

    def topLevelWidgets(self) -> list[Any]:
        return []

    def clipboard(self) -> Any:
        return QtGui.QGuiApplication.clipboard()

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    settings = revisionUserSettings = userSettings


_application: WindowedApplication | None = None


def start_application() -> WindowedApplication:
    """Installs `qt`, `ctk`, the qMRML classes and the application with windows, once a process; returns the application."""
    global _application
    if _application is None:
        core = start_scene()
        sys.modules["qt"], sys.modules["ctk"] = pythonqt.make_qt(), ctk_widgets.make_ctk()
        _application = WindowedApplication(core)
        _install_widgets()
        slicer.app = _application
        _install_python_layer()
    slicer.app = _application
    return _application


def _install_widgets() -> None:
    from Testing.slicer_host import ui_files

    sys.modules["qt"].QUiLoader = ui_files.QUiLoader  # type: ignore[attr-defined]
    for cls in (*mrml_widgets.WIDGETS, editor_widget.qMRMLSegmentEditorWidget, plot_view.qMRMLPlotView):
        setattr(slicer, cls.__name__, cls)


def _install_python_layer() -> None:
    if REAL_LAYER:
        folder = Path(SOURCE) / "slicer"
        if not folder.is_dir():
            raise RuntimeError(f"SLICER_PYTHON_SRC is {SOURCE}, which has no folder slicer")
        slicer.__path__.append(str(folder))
        for name in ("i18n", "parameterNodeWrapper", "ScriptedLoadableModule"):
            setattr(slicer, name, importlib.import_module(f"slicer.{name}"))
        return
    from Testing.slicer_host import parameter_nodes, scripted_module

    _add("i18n", tr=lambda text: slicer.app.translate("", text), translate=lambda context, text: slicer.app.translate(context, text))
    _add("parameterNodeWrapper", **{name: getattr(parameter_nodes, name) for name in ("parameterNodeWrapper", "WithinRange")})
    bases = ("ScriptedLoadableModule", "ScriptedLoadableModuleWidget", "ScriptedLoadableModuleLogic", "ScriptedLoadableModuleTest")
    _add("ScriptedLoadableModule", __all__=list(bases), **{name: getattr(scripted_module, name) for name in bases})


def _add(name: str, **members: Any) -> None:
    module = ModuleType(f"slicer.{name}")
    vars(module).update(members)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)


class LoadedModule:
    """A scripted module as the module manager holds it: `slicer.modules.<name>`."""

    def __init__(self, path: Path) -> None:
        self.name, self.path = path.stem, str(path)
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        self.python = importlib.import_module(self.name)
        self.parent = SimpleNamespace(path=self.path, icon=None)
        setattr(slicer.modules, self.name.lower(), self)
        self.instance = getattr(self.python, self.name)(self.parent)
        self._representation: Any = None

    def widgetRepresentation(self) -> Any:
        """The panel, created and set up when first asked for."""
        if self._representation is None:
            # A widget of the module panel knows whether it is the one shown; Slicer keeps that in qSlicerAbstractModuleWidget.
            self._representation = ModulePanel(self._create)
            self._representation.setLayout(QtWidgets.QVBoxLayout())
            self._representation.setMRMLScene(slicer.mrmlScene)
            self._create()
        return self._representation

    def _create(self) -> None:
        """The Python half, from the code as it is in `sys.modules` now; as in Slicer, `enter` is not called."""
        self.python = sys.modules[self.name]
        widget = getattr(self.python, f"{self.name}Widget")(self._representation)
        setattr(slicer.modules, f"{self.name}Widget", widget)
        widget.setup()

    def widget(self) -> Any:
        self.widgetRepresentation()
        return getattr(slicer.modules, f"{self.name}Widget")

    def enter(self) -> Any:
        widget = self.widget()
        self._representation.isEntered = True
        widget.enter()
        return widget

    def exit(self) -> None:
        self.widget().exit()
        self._representation.isEntered = False

    def unload(self) -> None:
        """What happens to the panel when the application closes."""
        if self._representation is None:
            return
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self.name)
        delattr(slicer.modules, f"{self.name}Widget")
        self._representation.deleteLater()
        self._representation = None
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)


class ModulePanel(mrml_widgets.qMRMLWidget):
    """The widget in which a module's panel stands; `create` makes its Python half."""

    isEntered = ctk_widgets.stored(bool, "isEntered", False)

    def __init__(self, create: Callable[[], None]) -> None:
        super().__init__()
        self._create = create

    def reload(self) -> None:
        """What qSlicerScriptedLoadableModuleWidget does after the code was read again."""
        self._create()
