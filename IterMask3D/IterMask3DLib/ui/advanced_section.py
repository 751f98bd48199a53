"""The settings of a run and of the model's method, and under Details the engine, models and diagnostics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from IterMask3DLib.scene.run.engine_client import engine_command
from IterMask3DLib.ui.engine_process import process_of
from IterMask3DLib.ui.input_section import InputSection
from IterMask3DLib.ui.parameters import GENERAL, chosen_settings
from IterMask3DLib.ui.session import Session
from IterMask3DLib.ui.settings_form import SettingsForm


class AdvancedSection:
    """Its forms are made of what is known of the settings: a method that has others shows others.

    Those that a method does not call advanced stand beside the model; they also make a result anew.
    """

    def __init__(self, session: Session, inputs: InputSection) -> None:
        self._session, self._ui, self._inputs = session, session.ui, inputs
        self.general = SettingsForm(self._ui.generalSettingsFrame, self.on_general_changed)
        self.method = SettingsForm(
            self._ui.methodSettingsFrame, lambda changed: self.on_method_changed(self.method, changed)
        )
        self.usual = SettingsForm(self._ui.usualSettingsFrame, self.on_usual_changed, prominent=True)
        self._engine = ""
        for button, slot in (
            (self._ui.resetSettingsButton, self.on_reset),
            (self._ui.engineButton, self.on_engine),
            (self._ui.openFolderButton, self.on_open_folder),
            (self._ui.clearFolderButton, self.on_clear_folder),
            (self._ui.freeMemoryButton, self.on_free_memory),
            (self._ui.diagnosticsButton, self.on_diagnostics),
        ):
            button.connect("clicked()", slot)

    def update(self) -> None:
        busy, ui, parameters = self._session.logic.busy, self._ui, self._session.parameters
        if parameters is not None:
            general, method = chosen_settings(parameters)
            self.general.show(GENERAL, general)
            known = self._session.settings
            for form, advanced in ((self.method, True), (self.usual, False)):
                theirs = {name: info for name, info in known.items() if info.about.advanced is advanced}
                form.show({name: (info.about, info.value) for name, info in theirs.items()}, method)
            ui.usualSettingsFrame.visible = not all(info.about.advanced for info in known.values())
            self._tell_engine(parameters.engineCommand)
        for form in (self.general, self.method, self.usual):
            form.set_enabled(not busy)
        for button in (ui.resetSettingsButton, ui.engineButton, ui.freeMemoryButton):
            button.enabled = not busy
        folder = self._model_folder
        ui.openFolderButton.enabled = folder is not None
        ui.clearFolderButton.enabled = folder is not None and not busy
        ui.modelFolderLabel.text = str(folder) if folder is not None else _("Known once the engine has answered.")

    @property
    def _model_folder(self) -> Path | None:
        description = self._session.logic.description
        return description.model_folder if description is not None else None

    def on_general_changed(self, changed: dict[str, Any]) -> None:
        if self._session.parameters is not None:
            self._session.parameters.generalSettings = json.dumps(changed)

    def on_method_changed(self, form: SettingsForm, changed: dict[str, Any]) -> None:
        parameters = self._session.parameters
        if parameters is not None:
            # What was chosen for the method of another model waits until that one is chosen again.
            _general, chosen = chosen_settings(parameters)
            others = {name: value for name, value in chosen.items() if form.control(name) is None}
            parameters.methodSettings = json.dumps(others | changed)

    def on_usual_changed(self, changed: dict[str, Any]) -> None:
        """A result that the engine remembers follows at once; for another one, the next run does."""
        self.on_method_changed(self.usual, changed)
        session = self._session
        if not session.ready or not changed or session.result.request.model != session.request.model:
            return
        if session.logic.can_adjust(session.result):
            session.run(lambda **options: session.logic.adjust(session.result, changed, **options))
        else:
            session.messages.show(_("Press Segment to see what this changes."))

    def on_reset(self) -> None:
        for form in (self.general, self.method, self.usual):
            form.reset()

    def on_engine(self) -> None:
        """The engine that the line names is used from now on; it tells its own models."""
        command = self._ui.engineLineEdit.text.strip()
        self._session.parameters.engineCommand = command
        if self._session.attempt(lambda: self.use_engine(command)):
            self._session.refresh()

    def use_engine(self, command: str) -> bool:
        """Lets the logic use the engine of a command ("": this computer). Raises `UserError`."""
        if command == self._engine:
            return True
        self._session.logic.use_engine(process_of(engine_command(command)))
        self._engine = command
        self._session.logic.describe(on_done=self._inputs.show_models, on_error=self._session.messages.problem)
        return True

    def on_open_folder(self) -> None:
        folder = self._model_folder
        assert folder is not None  # The button is disabled.
        folder.mkdir(parents=True, exist_ok=True)
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))

    def on_clear_folder(self) -> None:
        folder = self._model_folder
        if not slicer.util.confirmOkCancelDisplay(
            _("Remove every installed model from {folder}?").format(folder=folder)
        ):
            return

        def cleared(count: int) -> None:
            self._session.logic.describe(on_done=self._inputs.show_models, on_error=self._session.messages.problem)
            self._session.messages.report(_("{count} models were removed.").format(count=count))

        logic, problem = self._session.logic, self._session.messages.problem
        self._session.attempt(lambda: logic.clear_models(on_done=cleared, on_error=problem))

    def on_free_memory(self) -> None:
        logic, messages = self._session.logic, self._session.messages
        self._session.attempt(lambda: logic.free_memory(on_done=messages.report, on_error=messages.problem))

    def on_diagnostics(self) -> None:
        def copied(text: str) -> None:
            slicer.app.clipboard().setText(text)
            self._session.messages.show(_("The diagnostics are in the clipboard."))

        logic, problem = self._session.logic, self._session.messages.problem
        self._session.attempt(lambda: logic.diagnostics(on_done=copied, on_error=problem))

    def _tell_engine(self, command: str) -> None:
        if not command:
            text = _("The engine runs on this computer; no volume leaves it.")
        else:
            text = _("Volumes leave this application for the engine of this command: {command}").format(command=command)
        self._ui.engineLabel.text = text
