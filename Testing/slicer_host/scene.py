"""The part of the application that is not Qt: a scene, the logics of application and modules, and the IO manager."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
import vtk

from Testing.slicer_host.io_manager import CoreIOManager
from Testing.slicer_host.stand_ins import stands_for

MODULE_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
}
"""Modules whose logic the wheel holds."""


@stands_for("qSlicerLoadableModule")
class HostModule:
    """What `slicer.modules.<name>` is: its name and its logic, nothing else."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name = name
        self._logic = logic

    def logic(self) -> Any:
        return self._logic


@stands_for("qSlicerApplication")
class HostApplication:
    """The members of qSlicerCoreApplication that need no Qt; a subclass adds those that do."""

    applicationName = "Slicer"
    applicationVersion = "5.11.0"
    revision = "host"

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="slicer-host-")
        self.temporaryPath = self._folder.name
        self._scene = slicer.vtkMRMLScene()
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self._scene.AddNode(crosshair)
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetMRMLScene(self._scene)
        self._logic.GetColorLogic().SetMRMLScene(self._scene)
        self._logic.GetColorLogic().AddDefaultColorNodes()
        self._logic.SetSliceLogics(vtk.vtkCollection())
        self._logic.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(self._logic)
        slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance().SetMRMLApplicationLogic(self._logic)
        self._module_logics = {name: self._make_logic(name, kind) for name, kind in MODULE_LOGICS.items()}
        self._remoteInputOutput()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self._scene, True)
        self._ioManager = CoreIOManager(self._scene)

    def _make_logic(self, name: str, kind: str) -> Any:
        logic = getattr(slicer, kind)()
        if hasattr(logic, "SetModuleShareDirectory"):
            logic.SetModuleShareDirectory(self._folder.name)
        logic.SetMRMLApplicationLogic(self._logic)
        logic.SetMRMLScene(self._scene)
        self._logic.SetModuleLogic(name, logic)
        return logic

    def _remoteInputOutput(self) -> None:
        """Scene files and bundles are read through these two logics, and nothing is said when they are missing."""
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(self._scene)
        self._remote.SetMRMLApplicationLogic(self._logic)
        self._remote.GetCacheManager().SetRemoteCacheDirectory(self._folder.name)
        self._data = slicer.vtkDataIOManagerLogic()
        self._data.SetMRMLScene(self._scene)
        self._data.SetMRMLApplicationLogic(self._logic)
        self._data.SetAndObserveDataIOManager(self._remote.GetDataIOManager())
        self._remote.AddDataIOToScene()

    def mrmlScene(self) -> Any:
        return self._scene

    def applicationLogic(self) -> Any:
        return self._logic

    def coreIOManager(self) -> CoreIOManager:
        return self._ioManager

    def layoutManager(self) -> Any:
        return None

    def testingEnabled(self) -> bool:
        return True

    def processEvents(self) -> None:
        """There is no event loop."""

    def pauseRender(self) -> None:
        """Nothing renders by itself."""

    def resumeRender(self) -> None:
        """Nothing renders by itself."""


_application: HostApplication | None = None


def start(application_class: type[HostApplication]) -> HostApplication:
    """Installs the application once a process; a later call that asks for another class fails."""
    global _application
    if _application is None:
        vtk.vtkObject.GlobalWarningDisplayOff()
        application = application_class()
        modules = ModuleType("slicer.modules")
        for name, logic in application._module_logics.items():
            setattr(modules, name.lower(), HostModule(name, logic))
        sys.modules["slicer.modules"] = modules
        slicer.modules, slicer.app, slicer.mrmlScene = modules, application, application.mrmlScene()
        importlib.import_module("slicer.util")
        _application = application
    if not isinstance(_application, application_class):
        raise RuntimeError(
            f"The host runs as {type(_application).__name__}; start it as {application_class.__name__} first."
        )
    return _application


def clear() -> Any:
    """Closes the scene and puts back what the application keeps in every scene. Returns the scene."""
    slicer.mrmlScene.Clear(False)
    return slicer.mrmlScene


def add_slice_view(name: str) -> Any:
    """A slice view's nodes, as the layout manager makes them. Returns the slice logic, which must be kept."""
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.AddSliceNode(name)
    slicer.app.applicationLogic().GetSliceLogics().AddItem(logic)
    return logic


def sample_folder() -> Path:
    """A folder of the host that is gone when the process ends."""
    return Path(slicer.app.temporaryPath)
