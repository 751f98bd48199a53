"""Save: what is ticked goes into the folder."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from IterMask3DLib.ui.parameters import saveOptions
from IterMask3DLib.ui.session import Session


class SaveSection:
    """Writes the results of the volume that is shown."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._ui.saveDirectoryButton.directory = str(Path.home())
        self._ui.saveButton.connect("clicked()", self.onSave)

    def update(self) -> None:
        self._ui.saveButton.enabled = self._session.ready

    def onSave(self) -> None:
        nodes, folder = self._session.result, self._ui.saveDirectoryButton.directory
        what = saveOptions(self._session.parameters)
        with slicer.util.WaitCursor():
            written = self._session.attempt(lambda: self._session.logic.save(nodes, folder, what))
        if written is not None:
            self._session.messages.tell(_("{count} files were written to {folder}.").format(count=len(written), folder=folder))
            for path in written:
                self._session.messages.log(str(path))
