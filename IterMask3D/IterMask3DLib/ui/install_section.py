"""What the engine lacks, or would be faster with, and the buttons that install it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from IterMask3DLib.ui.dependencies import InstallError, install, wanted
from IterMask3DLib.ui.session import Session


class InstallSection:
    """Shown only while something is lacking; nothing is installed before the user clicks and agrees."""

    def __init__(self, session: Session, requirements: Path, describe: Callable[[], None]) -> None:
        self._session, self._ui, self._requirements, self._describe = session, session.ui, requirements, describe
        self._ui.installFrame.visible = False
        self._ui.installButton.connect("clicked()", self.on_install)
        self._ui.fasterButton.connect("clicked()", self.on_install)

    def update(self) -> None:
        missing, faster = self._session.missing, self._session.faster
        self._ui.fasterFrame.visible = bool(faster) and not missing
        self._ui.fasterLabel.text = _("{packages} would make runs several times as fast on this computer.").format(
            packages=", ".join(faster)
        )
        self._ui.installFrame.visible = bool(missing)
        self._ui.installLabel.text = _(
            "The network needs Python packages that Slicer does not have yet: {packages}. "
            "Everything else of the panel can be looked at without them."
        ).format(packages=", ".join(missing))

    def on_install(self) -> None:
        lacking = (*self._session.missing, *self._session.faster)
        packages = "\n".join(wanted(lacking, self._requirements))
        question = _("These packages will be downloaded and installed into Slicer's Python:\n\n{packages}\n\nGo on?")
        if not slicer.util.confirmOkCancelDisplay(question.format(packages=packages)):
            return
        buttons = (self._ui.installButton, self._ui.fasterButton)
        for button in buttons:
            button.enabled = False
        try:
            install(lacking, self._requirements, self._tell)
            self._session.messages.report(_("The packages were installed."))
        except InstallError as error:
            self._session.messages.problem(str(error), traceback.format_exc())
        finally:
            for button in buttons:
                button.enabled = True
        # The engine looks again, and says what is missing still.
        self._describe()

    def _tell(self, text: str) -> None:
        self._session.messages.report(text)
        slicer.app.processEvents()
