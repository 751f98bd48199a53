"""Batch: every volume of a folder, one after the other, with the settings of the panel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import qt
from slicer.i18n import tr as _

from IterMask3DLib.scene.records import BatchCase
from IterMask3DLib.ui.parameters import runOptions
from IterMask3DLib.ui.session import Session


class BatchSection:
    """Runs in the worker like any other run; the table says how each case went."""

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
        self._ui.batchButton.connect("clicked()", self.onBatch)

    def update(self) -> None:
        busy = self._session.logic.busy
        self._running = self._running and busy
        self._ui.batchButton.text = _("Stop") if self._running else _("Run batch")
        self._ui.batchButton.enabled = self._running or (not busy and not self._session.missing)

    def onBatch(self) -> None:
        if self._running:
            self._session.logic.cancel()
            return
        self._rows.clear()
        self._ui.batchTable.setRowCount(0)
        self._ui.batchTable.visible = True
        parameters, callbacks = self._session.parameters, self._session.runCallbacks
        started = self._session.attempt(
            lambda: self._session.logic.startBatch(
                self._ui.batchInputButton.directory,
                self._ui.batchOutputButton.directory,
                runOptions(parameters),
                parameters.skipExisting,
                onCase=self.onCase,
                onProgress=callbacks["onProgress"],
                onDone=self.onDone,
                onError=callbacks["onError"],
                onLog=callbacks["onLog"],
            )
        )
        self._running = started is not None
        self._session.refresh()

    def onCase(self, case: BatchCase) -> None:
        table = self._ui.batchTable
        if case.path not in self._rows:
            self._rows[case.path] = len(self._rows)
            table.setRowCount(len(self._rows))
        for column, text in enumerate((case.name, self._status(case.status), case.message)):
            table.setItem(self._rows[case.path], column, qt.QTableWidgetItem(text))

    def onDone(self, cases: Sequence[BatchCase]) -> None:
        self._running = False
        done, failed = (sum(case.status == status for case in cases) for status in ("done", "failed"))
        self._session.messages.tell(
            _("Batch: {done} of {count} cases done, {failed} failed.").format(done=done, count=len(cases), failed=failed)
        )
        self._session.refresh()

    def _status(self, status: str) -> str:
        return {
            "waiting": _("waiting"),
            "running": _("running"),
            "done": _("done"),
            "skipped": _("skipped"),
            "failed": _("failed"),
            "stopped": _("stopped"),
        }[status]
