"""Batch: every volume of a folder, one after the other, with the settings of the panel."""

from __future__ import annotations

from pathlib import Path

import qt
from slicer.i18n import tr as _

from IterMask3DLib.scene.records import BatchCase, BatchSummary
from IterMask3DLib.ui.session import Session


class BatchSection:
    """Runs in the engine like any other run; the table says how each case went."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._rows: dict[str, int] = {}
        self._running = False
        table = session.ui.batchTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Case"), _("Status"), _("Message")])
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setStretchLastSection(True)
        for button in (self._ui.batchInputButton, self._ui.batchOutputButton):
            button.directory = str(Path.home())
        self._ui.batchButton.connect("clicked()", self.on_batch)

    def update(self) -> None:
        busy = self._session.logic.busy
        self._running = self._running and busy
        self._ui.batchButton.text = _("Stop") if self._running else _("Run batch")
        self._ui.batchButton.enabled = self._running or (not busy and not self._session.missing)

    def on_batch(self) -> None:
        if self._running:
            self._session.logic.cancel()
            return
        self._rows.clear()
        self._ui.batchTable.setRowCount(0)
        self._ui.batchTable.visible = True
        callbacks = {name: call for name, call in self._session.run_callbacks.items() if name != "on_step"}
        callbacks |= {"on_case": self.on_case, "on_done": self.on_done}
        self._running = True
        self._session.attempt(
            lambda: self._session.logic.start_batch(
                self._ui.batchInputButton.directory,
                self._ui.batchOutputButton.directory,
                self._session.request,
                self._session.parameters.skipExisting,
                **callbacks,
            )
        )
        self._session.refresh()

    def on_case(self, case: BatchCase) -> None:
        table = self._ui.batchTable
        if case.path not in self._rows:
            self._rows[case.path] = len(self._rows)
            table.setRowCount(len(self._rows))
        for column, text in enumerate((case.name, self._status(case.status), case.message)):
            table.setItem(self._rows[case.path], column, qt.QTableWidgetItem(text))

    def on_done(self, summary: BatchSummary) -> None:
        self._running = False
        self._session.messages.report(summary.text)
        self._session.refresh()

    def _status(self, status: str) -> str:
        words = {
            "waiting": _("waiting"),
            "running": _("running"),
            "done": _("done"),
            "skipped": _("skipped"),
            "failed": _("failed"),
            "stopped": _("stopped"),
        }
        return words[status]
