"""The status line and the log of the panel."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from slicer.i18n import tr as _


class Messages:
    """Says things to the user; everything also goes to Slicer's own log."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._logger = logging.getLogger("IterMask3D")

    def show(self, text: str) -> None:
        """The status line; not kept."""
        self._ui.statusLabel.text = text

    def report(self, text: str) -> None:
        """The status line and the log."""
        self.show(text)
        self.log(text)

    def problem(self, text: str, details: str = "") -> None:
        """Something went wrong, in one sentence; the details go to the log."""
        self.show(_("Problem: {text}").format(text=text))
        self._write(text)
        if details:
            self._write(details)
        # Not an error of the program: Slicer counts errors as failures of a test.
        self._logger.warning(text)

    def log(self, text: str) -> None:
        self._write(text)
        self._logger.info(text)

    def _write(self, text: str) -> None:
        self._ui.logText.appendPlainText(f"{datetime.now():%H:%M:%S}  {text}")
