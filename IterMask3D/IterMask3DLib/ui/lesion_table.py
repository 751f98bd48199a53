"""The table of lesions: jump to one, keep or delete some, write them as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from IterMask3DLib.scene.records import LesionRow
from IterMask3DLib.ui.session import Session

_ROW_HEIGHT = 22
_SHOWN_ROWS = 6


class LesionTable:
    """One row for each connected part of the anomaly, largest first, as it was when it was last measured."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._table = session.ui.lesionsTable
        self._rows: Sequence[LesionRow] = ()
        headings = (_("Lesion"), _("ml"), _("Mean error"), _("Peak error"), _("Center (R, A, S)"))
        self._table.setColumnCount(len(headings))
        self._table.setHorizontalHeaderLabels(list(headings))
        self._table.verticalHeader().setVisible(False)
        self._table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self._table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        self._table.horizontalHeader().setHighlightSections(False)
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setFixedHeight(_ROW_HEIGHT * (_SHOWN_ROWS + 1) + 6)
        self._table.connect("cellClicked(int,int)", self.onJump)
        self._table.connect("itemSelectionChanged()", self.updateButtons)
        self._ui.measureButton.connect("clicked()", self.onMeasure)
        self._ui.keepButton.connect("clicked()", self.onKeep)
        self._ui.deleteButton.connect("clicked()", self.onDelete)
        self._ui.csvButton.connect("clicked()", self.onSave)

    def update(self) -> None:
        nodes = self._session.nodes
        rows = tuple(self._session.logic.lesions(nodes)) if nodes is not None else ()
        if rows != self._rows or nodes is None:
            self._rows = rows
            self._fill()
        self.updateButtons()

    def updateButtons(self) -> None:
        ready = self._session.ready and self._session.result.segmentation is not None
        self._ui.measureButton.enabled = ready
        self._ui.csvButton.enabled = ready and bool(self._rows)
        self._ui.keepButton.enabled = self._ui.deleteButton.enabled = ready and bool(self._selected())

    def onJump(self, row: int, _column: int) -> None:
        self._session.logic.jumpToLesion(self._session.result, self._rows[row].number)

    def onMeasure(self) -> None:
        self._change(lambda: self._session.logic.measureLesions(self._session.result))

    def onKeep(self) -> None:
        self._change(lambda: self._session.logic.keepLesions(self._session.result, self._selected()))

    def onDelete(self) -> None:
        self._change(lambda: self._session.logic.deleteLesions(self._session.result, self._selected()))

    def onSave(self) -> None:
        nodes = self._session.result
        path = Path(self._ui.saveDirectoryButton.directory) / f"{nodes.input.GetName()}_lesions.csv"
        written = self._session.attempt(lambda: self._session.logic.saveLesions(nodes, path))
        if written is not None:
            self._session.messages.tell(_("The lesions are in {path}.").format(path=written))

    def _change(self, action: Callable[[], Any]) -> None:
        self._session.attempt(action)
        self._session.refresh()

    def _selected(self) -> list[int]:
        rows = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        return [self._rows[row].number for row in rows if row < len(self._rows)]

    def _fill(self) -> None:
        self._table.setRowCount(len(self._rows))
        for row, lesion in enumerate(self._rows):
            texts = (
                str(lesion.number),
                f"{lesion.volumeMl:.2f}",
                f"{lesion.meanError:.4g}",
                f"{lesion.peakError:.4g}",
                ", ".join(f"{value:.0f}" for value in lesion.centroidRas),
            )
            for column, text in enumerate(texts):
                self._table.setItem(row, column, qt.QTableWidgetItem(text))
        total = sum(lesion.volumeMl for lesion in self._rows)
        none = _("No lesions yet.") if self._session.nodes is None else _("No lesions.")
        text = _("{count} lesions, {total:.1f} ml. Click one to jump to it.").format(count=len(self._rows), total=total)
        self._ui.lesionsLabel.text = text if self._rows else none
