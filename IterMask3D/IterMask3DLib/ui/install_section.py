"""What is missing for the engine, and the button that installs it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from IterMask3DLib.ui.dependencies import InstallError, install, wanted
from IterMask3DLib.ui.session import Session


class InstallSection:
    """Shown only while something is missing; nothing is installed before the user clicks and agrees."""

    def __init__(self, session: Session, requirements: Path, describe: Callable[[], None]) -> None:
        self._session, self._ui, self._requirements, self._describe = session, session.ui, requirements, describe
        self._ui.installFrame.visible = False
        self._ui.installButton.connect("clicked()", self.on_install)

    def update(self) -> None:
        missing = self._session.missing
        self._ui.installFrame.visible = bool(missing)
        self._ui.installLabel.text = _(
            "The network needs Python packages that Slicer does not have yet: {packages}. "
            "Everything else of the panel can be looked at without them."
        ).format(packages=", ".join(missing))

    def on_install(self) -> None:
        packages = "\n".join(wanted(self._session.missing, self._requirements))
        question = _("These packages will be downloaded and installed into Slicer's Python:\n\n{packages}\n\nGo on?")
        if not slicer.util.confirmOkCancelDisplay(question.format(packages=packages)):
            return
        self._ui.installButton.enabled = False
        try:
            install(self._session.missing, self._requirements, self._tell)
            self._session.messages.report(_("The packages were installed."))
        except InstallError as error:
            self._session.messages.problem(str(error), traceback.format_exc())
        finally:
            self._ui.installButton.enabled = True
        # The engine looks again, and says what is missing still.
        self._describe()

    def _tell(self, text: str) -> None:
        self._session.messages.report(text)
        slicer.app.processEvents()
