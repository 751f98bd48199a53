"""The part of the application that is Qt: `slicer.app` with settings and clipboard, and the modules `qt` and `ctk`.

With SLICER_PYTHON_SRC naming a checkout of Slicer's Base/Python, the base classes of scripted modules, the parameter
node wrapper and the translation come from there; without it, from the stand-ins of this package.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from Testing.slicer_host import ctk_widgets, event_loop, pythonqt, stand_ins, start_scene, ui_files
from Testing.slicer_host.callers import asked_from_outside
from Testing.slicer_host.modules import LoadedModule, qSlicerModuleManager

__all__ = ["REAL_LAYER", "LoadedModule", "WindowedApplication", "finish_startup", "start_application"]

SOURCE = os.environ.get("SLICER_PYTHON_SRC", "")
REAL_LAYER = bool(SOURCE)


@stand_ins.stands_for("qSlicerApplication")
class WindowedApplication:
    """The members of qSlicerApplication that need Qt; the others are those of the application without it."""

    documentationBaseUrl = "https://slicer.readthedocs.io/en/latest/"

    def __init__(self, core: Any) -> None:
        self._core = core
        self._qt = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["slicer-host"])
        QtCore.QCoreApplication.setApplicationName("Slicer")
        QtCore.QCoreApplication.setOrganizationName("SlicerHost")
        ini, user = QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope
        QtCore.QSettings.setDefaultFormat(ini)
        QtCore.QSettings.setPath(ini, user, tempfile.mkdtemp(prefix="slicer-host-"))
        self._modules = qSlicerModuleManager()
        self._layout: Any = None
        self._at_startup: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if asked_from_outside() and (name.startswith("_") or stand_ins.refusal(type(self), name)):
            raise AttributeError(stand_ins.lacking(type(self), name))
        return getattr(self._core, name)

    def connect(self, signal: str, slot: Any) -> bool:
        if signal == "startupCompleted()":
            self._at_startup.append(slot)
            return True
        if signal == "aboutToQuit()":
            return bool(self._qt.connect(signal, slot))
        raise ValueError(f"the application has no signal {signal}")

    def processEvents(self) -> None:
        event_loop.process_events()

    def translate(self, context: str, text: str) -> str:
        return text

    def layoutManager(self) -> Any:
        return self._layout

    def moduleManager(self) -> Any:
        return self._modules

    def moduleDocumentationUrl(self, name: str) -> str:
        return self.documentationBaseUrl + name

    def topLevelWidgets(self) -> list[Any]:
        return []

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def clipboard(self) -> Any:
        return QtGui.QGuiApplication.clipboard()

    def userSettings(self) -> QtCore.QSettings:
        return QtCore.QSettings()

    settings = revisionUserSettings = userSettings


_application: WindowedApplication | None = None


def start_application() -> WindowedApplication:
    """Installs `qt`, `ctk`, the qMRML classes and the application with windows, once a process, and returns it."""
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


def finish_startup() -> None:
    """The application has started: the module that was loaded last hears of it, if it asked to."""
    start_application()._at_startup[-1]()


def _install_widgets() -> None:
    sys.modules["qt"].QUiLoader = ui_files.QUiLoader  # type: ignore[attr-defined]
    for cls in ui_files.STAND_INS:
        if not hasattr(sys.modules["ctk"], cls.__name__):
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

    _add(
        "i18n",
        tr=lambda text: slicer.app.translate("", text),
        translate=lambda where, text: slicer.app.translate(where, text),
    )
    wrapped = ("parameterNodeWrapper", "WithinRange")
    _add("parameterNodeWrapper", **{name: getattr(parameter_nodes, name) for name in wrapped})
    bases = [f"ScriptedLoadableModule{kind}" for kind in ("", "Widget", "Logic", "Test")]
    _add("ScriptedLoadableModule", __all__=bases, **{name: getattr(scripted_module, name) for name in bases})


def _add(name: str, **members: Any) -> None:
    module = ModuleType(f"slicer.{name}")
    vars(module).update(members)
    sys.modules[module.__name__] = module
    setattr(slicer, name, module)
