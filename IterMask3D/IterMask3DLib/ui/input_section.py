"""Input: the volume, the brain mask, the model, and in words what is wrong or odd about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from IterMask3DLib.scene.nodes.result_nodes import is_ours
from IterMask3DLib.scene.records import Description, InputCheck, Severity
from IterMask3DLib.ui.node_selectors import ChannelSelectors, hide_own_nodes
from IterMask3DLib.ui.session import Session


class InputSection:
    """Chooses what is segmented and with which model; says before the run what would stop it."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._models: tuple[Mapping[str, Any], ...] = ()
        self._volume: Any = None
        self._volume_events = slicer.util.VTKObservationMixin()
        self._scene_events = slicer.util.VTKObservationMixin()
        self._channels = ChannelSelectors(session.ui.channelsFrame, self.on_channel)
        self._checked: tuple[Any, ...] | None = None
        self._filling = False
        self.checks: list[InputCheck] = []
        self._ui.modelComboBox.connect("currentIndexChanged(int)", self.on_model_chosen)
        self._ui.installModelButton.connect("clicked()", self.on_install_model)
        self._ui.hardenTransformButton.connect("clicked()", self.on_harden_transform)
        self._scene_events.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self.on_node_added)

    @property
    def usable(self) -> bool:
        """Whether nothing that was found would stop a run."""
        return not any(check.severity is Severity.ERROR for check in self.checks)

    def show_models(self, description: Description) -> None:
        """Fills the list of models; models that cannot be used are named, with the reason, and stay."""
        self._models = description.models
        self._filling = True
        self._ui.modelComboBox.clear()
        for model in self._models:
            title = model["title"] or model["name"]
            inputs = ", ".join(model["inputs"])
            self._ui.modelComboBox.addItem(model["name"] if model["problem"] else f"{title} ({inputs})")
        self._filling = False
        parameters = self._session.parameters
        unchosen = parameters is not None and not parameters.model
        self.select_model()
        if unchosen and parameters.inputVolume is not None:
            self._follow(parameters.inputVolume)

    def select_model(self) -> None:
        """Shows the model of the parameters; a scene without one gets the default."""
        parameters = self._session.parameters
        if parameters is None or not self._models:
            return
        names = [model["name"] for model in self._models]
        if parameters.model not in names:
            if parameters.model:
                text = _("The model {name} of this scene is not installed here; {other} is chosen instead.")
                self._session.messages.report(text.format(name=parameters.model, other=names[0]))
            parameters.model = names[0]
        self._filling = True
        self._ui.modelComboBox.currentIndex = names.index(parameters.model)
        self._filling = False
        self._describe()

    def on_model_chosen(self, index: int) -> None:
        if not self._filling and self._session.parameters is not None and index >= 0:
            self._session.parameters.model = self._models[index]["name"]
            self._describe()
            self._session.refresh()

    def on_install_model(self) -> None:
        path = self._ui.modelPathLineEdit.currentPath

        def installed(name: str) -> None:
            self._ui.modelPathLineEdit.addCurrentPathToHistory()
            self._session.parameters.model = name
            self._session.logic.describe(on_done=self.show_models, on_error=self._session.messages.problem)
            self._session.messages.report(_("Model {name} was installed.").format(name=name))

        self._session.attempt(
            lambda: self._session.logic.install_model(path, on_done=installed, on_error=self._session.messages.problem)
        )

    def on_harden_transform(self) -> None:
        volume = self._session.parameters.inputVolume
        self._session.attempt(lambda: self._session.logic.harden_transform(volume))
        self._checked = None
        self._session.refresh()

    def update(self) -> None:
        parameters, busy = self._session.parameters, self._session.logic.busy
        ui = self._ui
        for widget in (ui.inputVolumeSelector, ui.brainMaskSelector, ui.modelComboBox, ui.installModelButton):
            widget.enabled = not busy
        if parameters is None:
            return
        self._channels.show(self._session.inputs[1:], parameters.parameterNode, not busy)
        hide_own_nodes([ui.inputVolumeSelector, ui.brainMaskSelector, *self._channels.all])
        volume, mask = parameters.inputVolume, parameters.brainMask
        if volume is not None and volume is not self._volume and not busy:
            self._follow(volume)
        self._observe(volume)
        transform = volume.GetParentTransformNode() if volume is not None else None
        volumes = self._session.volumes
        now = (volume, volume and volume.GetImageData(), transform, mask, parameters.model, volumes)
        if now != self._checked and not busy:
            self._checked = now
            self.checks = self._check(volumes, mask) if volume is not None else []
        ui.hardenTransformButton.visible = transform is not None
        ui.checksLabel.text = self._words(volume)

    def choose_first_volume(self) -> None:
        """A volume that was there before the panel is chosen, if nothing else is."""
        parameters = self._session.parameters
        if parameters is None or parameters.inputVolume is not None:
            return
        shown = self._ui.inputVolumeSelector.currentNode()
        candidates = [shown, *slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
        wanted = (node for node in candidates if node is not None and _is_input(node))
        parameters.inputVolume = next(wanted, None)

    def channel(self, name: str) -> Any:
        """The selector of another input of the model, None where it has none of that name."""
        return self._channels.of(name)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def on_node_added(self, _scene: Any, _event: Any, node: Any) -> None:
        """A volume that is loaded while none is chosen is chosen."""
        parameters = self._session.parameters
        if parameters is None or slicer.mrmlScene.IsImporting() or self._session.logic.busy:
            return
        if parameters.inputVolume is None and _is_input(node):
            parameters.inputVolume = node

    def on_channel(self) -> None:
        self._checked = None
        self._session.refresh()

    def forget_scene(self) -> None:
        self._observe(None)
        self._channels.forget()

    def close(self) -> None:
        self._scene_events.removeObservers()

    def on_volume_modified(self, *_event: object) -> None:
        """A volume is in the scene before its image is, and the user may put it under a transform at any time."""
        if not self._session.logic.busy:
            self._checked = None
            self._session.refresh()

    def _check(self, volumes: Any, mask: Any) -> list[InputCheck]:
        """What there is to say; first of all, which input of the model lacks its volume."""
        if isinstance(volumes, dict) and None in volumes.values():
            text = _("The model takes {inputs}; choose the volume for {name} too.")
            lacking = ", ".join(name for name, node in volumes.items() if node is None)
            text = text.format(inputs=", ".join(volumes), name=lacking)
            return [InputCheck(Severity.ERROR, text)]
        return self._session.logic.check_input(volumes, mask, self._session.parameters.model or None)

    def _follow(self, volume: Any) -> None:
        """Chooses the model for what the name of a volume says that it is, and tells; the user may choose another."""
        description, parameters = self._session.logic.description, self._session.parameters
        found = description.model_for(volume.GetName()) if description is not None and self._models else None
        now = description.model(parameters.model or None) if description is not None else None
        if found is None or now is None or list(now["inputs"]) == list(found["inputs"]) or self._session.nodes:
            return
        parameters.model = found["name"]
        self.select_model()
        text = _("{volume} is {contrast} by its name: the model {model} was chosen for it.")
        contrast = ", ".join(found["inputs"])
        self._session.messages.report(text.format(volume=volume.GetName(), contrast=contrast, model=found["name"]))

    def _observe(self, volume: Any) -> None:
        if volume is self._volume:
            return
        self._volume_events.removeObservers()
        self._volume = volume
        if volume is not None:
            for event in (vtk.vtkCommand.ModifiedEvent, volume.ImageDataModifiedEvent, volume.TransformModifiedEvent):
                self._volume_events.addObserver(volume, event, self.on_volume_modified)

    def _words(self, volume: Any) -> str:
        if volume is None:
            return _("Load a brain MRI, or take the one of this module in Sample Data.")
        if not self.checks:
            return _("Nothing odd was found about the input.")
        marks = {Severity.ERROR: _("Problem:"), Severity.WARNING: _("Note:"), Severity.INFO: "•"}
        return "\n".join(f"{marks[check.severity]} {check.text}" for check in self.checks)

    def _describe(self) -> None:
        index = self._ui.modelComboBox.currentIndex
        model = self._models[index] if 0 <= index < len(self._models) else None
        if model is None:
            text = ""
        elif model["problem"]:
            text = _("Cannot be used: {problem}").format(problem=model["problem"])
        else:
            text = _("Trained on {training}. Voxels of {spacing:g} mm.").format(
                training=str(model["training"]).rstrip("."), spacing=model["spacing"]
            )
        self._ui.modelLabel.text = self._ui.modelComboBox.toolTip = text


def _is_input(node: Any) -> bool:
    """Whether a node can be a volume that the user brought: no label map, and none of the module's own."""
    plain = node.GetClassName() == "vtkMRMLScalarVolumeNode"
    return plain and not is_ours(node) and not node.GetHideFromEditors()
