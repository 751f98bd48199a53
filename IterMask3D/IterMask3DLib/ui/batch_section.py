"""Batch: every volume of a folder, one after the other, with the settings of the panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from IterMask3DLib.scene.records import BatchCase, BatchSummary
from IterMask3DLib.ui.session import Session


class BatchSection:
    """Runs in the engine like any other run; the table says how each case went."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._rows: dict[str, int] = {}
        # Of cases with several DICOM series: what the user chooses with, and a file of each series.
        self._choices: dict[str, tuple[Any, list[str]]] = {}
        self._asked = ""
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
        """Looks for folders with several DICOM series first; where there are any, the user chooses in the table."""
        if self._running:
            self._session.logic.cancel()
            return
        folder, self._running = self._ui.batchInputButton.directory, True
        chosen = {name: files[box.currentIndex] for name, (box, files) in self._choices.items()}
        if self._asked == folder and chosen:
            self._start(chosen)
        else:
            callbacks = {**self._callbacks, "on_done": lambda cases: self.on_series(folder, cases)}
            self._session.attempt(lambda: self._session.logic.find_series(folder, **callbacks))
        self._session.refresh()

    def on_series(self, folder: str, cases: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Starts at once where nothing is to be chosen."""
        self._clear()
        if not cases:
            self._running = True
            self._start({})
            return
        self._asked, table = folder, self._ui.batchTable
        table.setRowCount(len(cases))
        for row, (name, series) in enumerate(cases.items()):
            box = qt.QComboBox()
            for _file, words in series:
                box.addItem(words)
            self._choices[name] = (box, [file for file, _words in series])
            table.setItem(row, 0, qt.QTableWidgetItem(name))
            table.setItem(row, 1, qt.QTableWidgetItem(_("choose")))
            table.setCellWidget(row, 2, box)
        text = _("Choose the DICOM series of {count} folders in the table, then press Run batch again.")
        self._session.messages.show(text.format(count=len(cases)))
        self._session.refresh()

    @property
    def _callbacks(self) -> dict[str, Any]:
        return {name: call for name, call in self._session.run_callbacks.items() if name != "on_step"}

    def _clear(self) -> None:
        self._rows.clear()
        self._choices.clear()
        self._asked = ""
        self._ui.batchTable.setRowCount(0)
        self._ui.batchTable.visible = True

    def _start(self, series: Mapping[str, str]) -> None:
        self._clear()
        callbacks = {**self._callbacks, "on_case": self.on_case, "on_done": self.on_done}
        self._session.attempt(
            lambda: self._session.logic.start_batch(
                self._ui.batchInputButton.directory,
                self._ui.batchOutputButton.directory,
                self._session.request,
                self._session.parameters.skipExisting,
                series=series,
                **callbacks,
            )
        )

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
