"""Save: what is ticked goes into the folder."""

from __future__ import annotations

from pathlib import Path

from slicer.i18n import tr as _

from IterMask3DLib.ui import dicom_export
from IterMask3DLib.ui.parameters import files_to_save
from IterMask3DLib.ui.session import Session


class SaveSection:
    """Writes the results of the volume that is shown; the engine makes the files, and the panel stays at hand."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._ui.saveDirectoryButton.directory = str(Path.home())
        self._ui.saveButton.connect("clicked()", self.on_save)
        self._ui.dicomButton.connect("clicked()", self.on_dicom)

    def update(self) -> None:
        nodes, ready = self._session.nodes, self._session.ready
        self._ui.saveCollapsibleButton.visible = nodes is not None and (ready or bool(nodes.outcome))
        self._ui.saveButton.enabled = self._ui.dicomButton.enabled = ready
        self._ui.dicomButton.visible = nodes is not None and dicom_export.is_offered(nodes)

    def on_save(self) -> None:
        nodes, folder = self._session.result, self._ui.saveDirectoryButton.directory
        callbacks = {name: call for name, call in self._session.run_callbacks.items() if name != "on_step"}
        callbacks["on_done"] = self.on_saved
        what = files_to_save(self._session.parameters)
        self._session.attempt(lambda: self._session.logic.save(nodes, folder, what, **callbacks))
        self._session.refresh()

    def on_dicom(self) -> None:
        nodes, folder = self._session.result, Path(self._ui.saveDirectoryButton.directory)
        written = self._session.attempt(lambda: dicom_export.export(nodes, folder))
        if written is not None:
            text = _("The DICOM segmentation is in {path} and in the DICOM database.")
            self._session.messages.report(text.format(path=written))

    def on_saved(self, written: list[Path]) -> None:
        text = _("{count} files were written to {folder}.")
        folder = self._ui.saveDirectoryButton.directory
        self._session.messages.report(text.format(count=len(written), folder=folder))
        for path in written:
            self._session.messages.log(str(path))
        self._session.refresh()
