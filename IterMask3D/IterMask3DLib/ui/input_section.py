"""Input: the volume, the brain mask, the model, and in words what is wrong or odd about them."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from IterMask3DLib.scene.records import Finding, ModelInfo, Severity
from IterMask3DLib.ui.parameters import runOptions
from IterMask3DLib.ui.session import Session


class InputSection:
    """Chooses what is segmented and with which model; says before the run what would stop it."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._models: list[ModelInfo] = []
        self._volume: Any = None
        self._volumeEvents = slicer.util.VTKObservationMixin()
        self._checked: tuple[Any, ...] | None = None
        self._filling = False
        self.findings: list[Finding] = []
        self._ui.modelComboBox.connect("currentIndexChanged(int)", self.onModelChosen)
        self._ui.installModelButton.connect("clicked()", self.onInstallModel)
        self._ui.hardenTransformButton.connect("clicked()", self.onHardenTransform)
        self.listModels()

    @property
    def model(self) -> ModelInfo | None:
        index = self._ui.modelComboBox.currentIndex
        return self._models[index] if 0 <= index < len(self._models) else None

    @property
    def usable(self) -> bool:
        """Whether nothing that was found would stop a run."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    def listModels(self) -> None:
        """Fills the list of models; models that cannot be used are named, with the reason, and stay."""
        self._models = self._session.logic.models()
        self._filling = True
        self._ui.modelComboBox.clear()
        for model in self._models:
            self._ui.modelComboBox.addItem(f"{model.title or model.name} ({model.modality})" if not model.problem else model.name)
        self._filling = False
        self.selectModel()

    def selectModel(self) -> None:
        """Shows the model of the parameters; a scene without one gets the first, and its gamma and passes."""
        parameters = self._session.parameters
        if parameters is None or not self._models:
            return
        names = [model.name for model in self._models]
        if parameters.model not in names:
            if parameters.model:
                text = _("The model {name} of this scene is not installed here; {other} is chosen instead.")
                self._session.messages.tell(text.format(name=parameters.model, other=names[0]))
            self._adopt(self._models[0])
        self._filling = True
        self._ui.modelComboBox.currentIndex = names.index(parameters.model)
        self._filling = False
        self._describe()

    def onModelChosen(self, index: int) -> None:
        if not self._filling and self._session.parameters is not None and index >= 0:
            self._adopt(self._models[index])
            self._describe()

    def onInstallModel(self) -> None:
        path = self._ui.modelPathLineEdit.currentPath
        installed = self._session.attempt(lambda: self._session.logic.installModel(path))
        if installed is None:
            return
        self._ui.modelPathLineEdit.addCurrentPathToHistory()
        self.listModels()
        self._adopt(installed)
        self.selectModel()
        self._session.messages.tell(_("Model {name} was installed.").format(name=installed.name))

    def onHardenTransform(self) -> None:
        volume = self._session.parameters.inputVolume
        self._session.attempt(lambda: self._session.logic.hardenTransform(volume))
        self._checked = None
        self._session.refresh()

    def update(self) -> None:
        parameters, busy = self._session.parameters, self._session.logic.busy
        for widget in (self._ui.inputVolumeSelector, self._ui.brainMaskSelector, self._ui.modelComboBox, self._ui.installModelButton):
            widget.enabled = not busy
        if parameters is None:
            return
        volume, mask = parameters.inputVolume, parameters.brainMask
        self._observe(volume)
        transform = volume.GetParentTransformNode() if volume is not None else None
        now = (volume, volume and volume.GetImageData(), transform, mask, parameters.model, parameters.device)
        if now != self._checked and not busy:
            self._checked = now
            self.findings = self._session.logic.checkInput(volume, mask, runOptions(parameters)) if volume is not None else []
        self._ui.hardenTransformButton.visible = transform is not None
        self._ui.checksLabel.text = self._words(volume)

    def close(self) -> None:
        self._observe(None)

    def onVolumeModified(self, *_event: object) -> None:
        """A volume is in the scene before its image is, and the user may put it under a transform at any time."""
        if not self._session.logic.busy:
            self._checked = None
            self._session.refresh()

    def _observe(self, volume: Any) -> None:
        if volume is self._volume:
            return
        self._volumeEvents.removeObservers()
        self._volume = volume
        if volume is not None:
            for event in (vtk.vtkCommand.ModifiedEvent, volume.ImageDataModifiedEvent, volume.TransformModifiedEvent):
                self._volumeEvents.addObserver(volume, event, self.onVolumeModified)

    def _words(self, volume: Any) -> str:
        if volume is None:
            return _("Load a brain MRI, or take the one of this module in Sample Data.")
        if not self.findings:
            return _("Nothing odd was found about the input.")
        return "\n".join(f"{self._mark(finding.severity)} {finding.text}" for finding in self.findings)

    def _mark(self, severity: Severity) -> str:
        return {Severity.ERROR: _("Problem:"), Severity.WARNING: _("Note:"), Severity.INFO: "•"}[severity]

    def _adopt(self, model: ModelInfo) -> None:
        parameters = self._session.parameters
        parameters.model = model.name
        if model.problem is None:
            parameters.gamma, parameters.sweepPasses = model.gamma, model.passes

    def _describe(self) -> None:
        model = self.model
        if model is None:
            self._ui.modelLabel.text = ""
        elif model.problem:
            self._ui.modelLabel.text = _("Cannot be used: {problem}").format(problem=model.problem)
        else:
            self._ui.modelLabel.text = _("Trained on {training}. Voxels of {spacing:g} mm.").format(
                training=model.training.rstrip("."), spacing=model.spacing
            )
