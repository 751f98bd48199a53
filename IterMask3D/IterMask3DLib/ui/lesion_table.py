"""The table of lesions: jump to one, accept or reject some, write them as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from IterMask3DLib.core.lesion import Lesion
from IterMask3DLib.ui.session import Session

_ROW_HEIGHT = 22
_SHOWN_ROWS = 6


class LesionTable:
    """One row for each connected part of the anomaly, largest first, as it was when it was last measured."""

    def __init__(self, session: Session) -> None:
        self._session, self._ui = session, session.ui
        self._table = session.ui.lesionsTable
        self._lesions: Sequence[Lesion] = ()
        self._table.setColumnCount(5)
        self._table.verticalHeader().setVisible(False)
        self._table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self._table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        self._table.horizontalHeader().setHighlightSections(False)
        self._table.horizontalHeader().setStretchLastSection(True)
        self._table.setFixedHeight(_ROW_HEIGHT * (_SHOWN_ROWS + 1) + 6)
        self._table.connect("cellClicked(int,int)", self.on_jump)
        self._table.connect("itemSelectionChanged()", self.update_buttons)
        self._ui.measureButton.connect("clicked()", self.on_measure)
        self._ui.keepButton.connect("clicked()", self.on_keep)
        self._ui.deleteButton.connect("clicked()", self.on_delete)
        self._ui.csvButton.connect("clicked()", self.on_save)

    def update(self) -> None:
        nodes = self._session.nodes
        lesions = tuple(self._session.logic.lesions(nodes)) if nodes is not None else ()
        if lesions != self._lesions or not lesions:
            self._lesions = lesions
            self._fill(nodes.unit if nodes is not None else "")
        self.update_buttons()

    def update_buttons(self) -> None:
        ready = self._session.ready and self._session.result.segmentation is not None
        self._ui.measureButton.enabled = ready
        self._ui.csvButton.enabled = ready and bool(self._lesions)
        self._ui.keepButton.enabled = self._ui.deleteButton.enabled = ready and bool(self._selected())

    def on_jump(self, row: int, _column: int) -> None:
        self._session.logic.jump_to_lesion(self._session.result, self._lesions[row].number)

    def on_measure(self) -> None:
        self._change(lambda: self._session.logic.measure_lesions(self._session.result))

    def on_keep(self) -> None:
        self._change(lambda: self._session.logic.keep_lesions(self._session.result, self._selected()))

    def on_delete(self) -> None:
        self._change(lambda: self._session.logic.delete_lesions(self._session.result, self._selected()))

    def on_save(self) -> None:
        nodes = self._session.result
        path = Path(self._ui.saveDirectoryButton.directory) / f"{nodes.input.GetName()}_lesions.csv"
        written = self._session.attempt(lambda: self._session.logic.save_lesions(nodes, path))
        if written is not None:
            self._session.messages.report(_("The lesions are in {path}.").format(path=written))

    def _change(self, action: Callable[[], Any]) -> None:
        self._session.attempt(action)
        self._session.refresh()

    def _selected(self) -> list[int]:
        rows = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        return [self._lesions[row].number for row in rows if row < len(self._lesions)]

    def _fill(self, unit: str) -> None:
        headings = (_("No."), _("ml"), _("Mean error"), _("Peak error"), _("Center (R, A, S)"))
        self._table.setHorizontalHeaderLabels(list(headings))
        self._table.setRowCount(len(self._lesions))
        for row, lesion in enumerate(self._lesions):
            texts = (
                str(lesion.number),
                f"{lesion.volume_ml:.2f}",
                f"{lesion.mean_score:.4g}",
                f"{lesion.peak_score:.4g}",
                ", ".join(f"{value:.0f}" for value in lesion.centroid_ras),
            )
            for column, text in enumerate(texts):
                self._table.setItem(row, column, qt.QTableWidgetItem(text))
        self._ui.lesionsLabel.text = self._summary(unit)

    def _summary(self, unit: str) -> str:
        total, count = sum(lesion.volume_ml for lesion in self._lesions), len(self._lesions)
        if count:
            text = _("1 lesion, {total:.1f} ml. Click it to jump to it.") if count == 1 else None
            text = text or _("{count} lesions, {total:.1f} ml. Click one to jump to it.")
            text = text.format(count=count, total=total)
            return text + " " + _("Errors in {unit}.").format(unit=unit) if unit else text
        nodes = self._session.nodes
        if nodes is None or not nodes.outcome:
            return _("No lesions yet.")
        return _("No anomaly was found at this threshold; the heatmap shows how far the volume is from healthy.")
