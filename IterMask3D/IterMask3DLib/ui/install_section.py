"""What is missing for the engine, and the button that installs it."""

from __future__ import annotations

import traceback
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from IterMask3DLib.ui.dependencies import InstallError, install, wanted
from IterMask3DLib.ui.session import Session


class InstallSection:
    """Shown only while something is missing; nothing is installed before the user clicks and agrees."""

    def __init__(self, session: Session, requirements: Path) -> None:
        self._session, self._ui, self._requirements = session, session.ui, requirements
        self._ui.installButton.connect("clicked()", self.onInstall)
        self.look()

    def look(self) -> None:
        """Finds out what is missing."""
        self._session.missing = self._session.logic.missingPackages()
        packages = ", ".join(self._session.missing)
        self._ui.installFrame.visible = bool(self._session.missing)
        self._ui.installLabel.text = _(
            "The network needs Python packages that Slicer does not have yet: {packages}. Everything else of the panel can be looked at without them."
        ).format(packages=packages)

    def onInstall(self) -> None:
        packages = "\n".join(wanted(self._session.missing, self._requirements))
        question = _("These packages will be downloaded and installed into Slicer's Python:\n\n{packages}\n\nGo on?")
        if not slicer.util.confirmOkCancelDisplay(question.format(packages=packages)):
            return
        self._ui.installButton.enabled = False
        try:
            install(self._session.missing, self._requirements, self._say)
        except InstallError as error:
            self._session.messages.problem(str(error), traceback.format_exc())
        finally:
            self._ui.installButton.enabled = True
        known = self._session.missing
        self.look()
        if not self._session.missing:
            self._session.messages.tell(_("Everything is installed."))
        elif self._session.missing != known:
            self._session.messages.tell(_("Some packages are still missing; start Slicer again if they were just installed."))
        self._session.refresh()

    def _say(self, text: str) -> None:
        self._session.messages.tell(text)
        slicer.app.processEvents()
