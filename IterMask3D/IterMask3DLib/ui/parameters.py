"""What the user chooses; kept in the scene, and saved with it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Union

from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from IterMask3DLib.core.request import Request
from IterMask3DLib.core.settings import About, about, default_of

GENERAL: dict[str, tuple[About, Any]] = {
    name: (one, default_of(field))
    for name, (field, one) in about(Request).items()
    if name not in ("model", "save_iterations", "dicom_seg")
}
"""The choices of every run, with their usual values: those of `Request` that the panel has no place of its own for."""


@parameterNodeWrapper
class Parameters:
    """Everything the panel remembers; the names are those of the properties SlicerParameterName in the .ui file.

    Scenes keep the names: they are not to be renamed. `generalSettings`, `methodSettings`: JSON, what differs from the
    usual and from the model.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    # Slicer 5.10 does not understand A | B here.
    brainMask: Union[vtkMRMLSegmentationNode, vtkMRMLLabelMapVolumeNode, None]  # noqa: UP007
    outputSegmentation: vtkMRMLSegmentationNode
    model: str = ""
    generalSettings: str = ""
    methodSettings: str = ""
    engineCommand: str = ""
    followRun: bool = True
    maskVisible: bool = True
    heatmapVisible: bool = True
    heatmapLive: bool = False
    heatmapOpacity: Annotated[float, WithinRange(0.0, 1.0)] = 0.6
    legendVisible: bool = False
    saveSegmentation: bool = True
    saveNifti: bool = True
    saveHeatmap: bool = True
    saveLesions: bool = True
    saveReport: bool = True
    saveIterations: bool = False
    saveScene: bool = False
    skipExisting: bool = True


class Binding:
    """Widgets bound to the parameters they name. `undo` leaves no observer on the node.

    `disconnectGui` of Slicer 5.10 forgets the observer that `connectGui` made. It would outlive the parameters, and be
    called by the node after Python's garbage collector has emptied it, which ends the application.
    """

    def __init__(self, parameters: Any, ui: Any) -> None:
        self._parameters = parameters
        self._observers: list[int] = []
        observe = parameters.AddObserver

        def noted(*given: Any) -> int:
            self._observers.append(observe(*given))
            return self._observers[-1]

        parameters.AddObserver = noted
        self._tag = parameters.connectGui(ui)
        del parameters.AddObserver

    def undo(self) -> None:
        self._parameters.disconnectGui(self._tag)
        for tag in self._observers:
            self._parameters.RemoveObserver(tag)


_SAVED = {
    "saveSegmentation": "segmentation",
    "saveNifti": "anomaly",
    "saveHeatmap": "heatmap",
    "saveLesions": "lesions",
    "saveReport": "report",
    "saveIterations": "iterations",
    "saveScene": "scene",
}


def files_to_save(parameters: Any) -> tuple[str, ...]:
    """What is ticked under Save, in the words of the logic."""
    return tuple(word for name, word in _SAVED.items() if getattr(parameters, name))


def chosen_settings(parameters: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the user chose other than usual: for every run, and for the model's method."""
    general = {name: value for name, value in _mapping(parameters.generalSettings).items() if name in GENERAL}
    return general, _mapping(parameters.methodSettings)


def upgrade(node: Any) -> None:
    """Brings the parameters of a scene of an earlier version to their present names; the old ones go.

    There, each choice was a parameter of its own, enumerations were kept by their names in capitals, and gamma counted
    only where `modelGamma` was off.
    """
    old = {name: node.GetParameter(name) for name in _OLD if node.GetParameter(name)}
    if not old:
        return
    general: dict[str, Any] = {name: old[name].lower() for name in ("quality", "device", "precision") if name in old}
    general |= {"seed": int(float(old["seed"]))} if "seed" in old else {}
    method: dict[str, Any] = {"start": old["start"].lower()} if "start" in old else {}
    if old.get("modelGamma", "true").lower() == "false" and "gamma" in old:
        method["gamma"] = float(old["gamma"])
    if "sweepPasses" in old:
        method["sweep_passes"] = int(float(old["sweepPasses"]))
    usual = {name: value for name, (_, value) in GENERAL.items()}
    general = {name: value for name, value in general.items() if value != usual[name]}
    for name in old:
        node.UnsetParameter(name)
    node.SetParameter("generalSettings", json.dumps(general))
    node.SetParameter("methodSettings", json.dumps({k: v for k, v in method.items() if (k, v) not in _OLD_USUAL}))


_OLD = ("quality", "device", "precision", "seed", "start", "gamma", "modelGamma", "sweepPasses")
_OLD_USUAL = (("start", "brain"), ("sweep_passes", 100))


def _mapping(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
