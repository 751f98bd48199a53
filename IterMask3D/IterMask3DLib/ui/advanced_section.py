"""Advanced: how the network runs, the folder of models, memory, and what to send with a question."""

from __future__ import annotations

from enum import Enum
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from IterMask3DLib.ui.input_section import InputSection
from IterMask3DLib.ui.parameters import Device, Precision, Quality, Start
from IterMask3DLib.ui.session import Session


class AdvancedSection:
    """The settings themselves are bound to the parameters by their names; here are their words and the buttons."""

    def __init__(self, session: Session, inputs: InputSection) -> None:
        self._session, self._ui, self._inputs = session, session.ui, inputs
        self._ui.openFolderButton.connect("clicked()", self.onOpenFolder)
        self._ui.clearFolderButton.connect("clicked()", self.onClearFolder)
        self._ui.freeMemoryButton.connect("clicked()", self.onFreeMemory)
        self._ui.diagnosticsButton.connect("clicked()", self.onDiagnostics)

    def nameChoices(self) -> None:
        """Words for the members of the enumerations, which Slicer shows by their names in capitals."""
        automatic = _("Automatic")
        quality = {Quality.AUTO: _("Automatic"), Quality.FAST: _("Fast"), Quality.FULL: _("Full"), Quality.PUBLISHED: _("Published")}
        self._name(self._ui.qualityComboBox, Quality, quality)
        self._name(self._ui.startComboBox, Start, {Start.BRAIN: _("Whole brain"), Start.BEST: _("Best mask of the sweep")})
        self._name(self._ui.deviceComboBox, Device, {Device.AUTO: automatic, Device.CUDA: "CUDA", Device.MPS: "MPS", Device.CPU: "CPU"})
        precision = {Precision.AUTO: automatic, Precision.HALF: _("Half"), Precision.SINGLE: _("Single")}
        self._name(self._ui.precisionComboBox, Precision, precision)

    def _name(self, box: Any, kind: type[Enum], words: dict[Any, str]) -> None:
        for index, member in enumerate(kind):
            box.setItemText(index, words[member])

    def update(self) -> None:
        busy = self._session.logic.busy
        ui = self._ui
        settings = (
            ui.qualityComboBox,
            ui.startComboBox,
            ui.seedSpinBox,
            ui.deviceComboBox,
            ui.precisionComboBox,
            ui.passesSpinBox,
            ui.modelGammaCheckBox,
        )
        for widget in settings:
            widget.enabled = not busy
        ui.gammaSlider.enabled = not busy and not ui.modelGammaCheckBox.checked
        folder = self._session.logic.modelFolder()
        ui.openFolderButton.enabled = folder is not None
        ui.clearFolderButton.enabled = folder is not None and not busy
        ui.freeMemoryButton.enabled = not busy
        ui.modelFolderLabel.text = str(folder) if folder is not None else _("Known once the missing packages are installed.")

    def onOpenFolder(self) -> None:
        folder = self._session.logic.modelFolder()
        assert folder is not None
        folder.mkdir(parents=True, exist_ok=True)
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))

    def onClearFolder(self) -> None:
        folder = self._session.logic.modelFolder()
        if not slicer.util.confirmOkCancelDisplay(_("Remove every installed model from {folder}?").format(folder=folder)):
            return
        count = self._session.attempt(self._session.logic.clearModelFolder)
        if count is not None:
            self._inputs.listModels()
            self._session.messages.tell(_("{count} models were removed.").format(count=count))

    def onFreeMemory(self) -> None:
        said = self._session.attempt(self._session.logic.freeGpuMemory)
        if said is not None:
            self._session.messages.tell(said)

    def onDiagnostics(self) -> None:
        slicer.app.clipboard().setText(self._session.logic.diagnostics())
        self._session.messages.say(_("The diagnostics are in the clipboard."))
