"""The table of lesions: see, accept, reject or edit each, and write them as CSV."""

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
_COLUMNS = 6


class LesionTable:
    """One row for each connected part of the anomaly, largest first, as it was when it was last measured."""

    def __init__(self, session: Session, edit: Callable[[], None]) -> None:
        self._session, self._ui, self._edit = session, session.ui, edit
        self._table = session.ui.lesionsTable
        self._lesions: Sequence[Lesion] = ()
        self._accepted: set[int] = set()
        self._table.setColumnCount(_COLUMNS)
        self._table.verticalHeader().setVisible(False)
        self._table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self._table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        self._table.horizontalHeader().setHighlightSections(False)
        self._table.horizontalHeader().setSectionResizeMode(_COLUMNS - 1, qt.QHeaderView.Stretch)
        self._table.setFixedHeight(_ROW_HEIGHT * (_SHOWN_ROWS + 1) + 6)
        self._table.connect("cellClicked(int,int)", self.on_jump)
        self._table.connect("itemSelectionChanged()", self.update_buttons)
        self._ui.measureButton.connect("clicked()", self.on_measure)
        self._ui.acceptButton.connect("clicked()", self.on_accept)
        self._ui.rejectButton.connect("clicked()", self.on_reject)
        self._ui.editButton.connect("clicked()", self.on_edit)
        self._ui.csvButton.connect("clicked()", self.on_save)

    def update(self) -> None:
        nodes = self._session.nodes
        lesions = tuple(self._session.logic.lesions(nodes)) if nodes is not None else ()
        accepted = self._session.logic.accepted_lesions(nodes) if nodes is not None else set()
        if (lesions, accepted) != (self._lesions, self._accepted) or not lesions:
            self._lesions, self._accepted = lesions, accepted
            self._fill(nodes.unit if nodes is not None else "")
        self.update_buttons()

    def update_buttons(self) -> None:
        ready = self._session.ready and self._session.result.segmentation is not None
        self._ui.measureButton.enabled = ready
        self._ui.csvButton.enabled = ready and bool(self._lesions)
        for button in (self._ui.acceptButton, self._ui.rejectButton, self._ui.editButton):
            button.enabled = ready and bool(self._selected())

    def on_jump(self, row: int, _column: int) -> None:
        self._session.logic.jump_to_lesion(self._session.result, self._lesions[row].number)

    def go(self, by: int) -> None:
        """Selects and shows the lesion after (1) or before (-1) the one that is selected, in the order of the table."""
        rows = self._rows()
        if self._lesions:
            last = len(self._lesions) - 1
            row = min(max(rows[-1] + by, 0), last) if rows else 0
            self._table.selectRow(row)
            self.on_jump(row, 0)

    def on_measure(self) -> None:
        self._change(lambda: self._session.logic.measure_lesions(self._session.result))

    def on_accept(self) -> None:
        rows = self._rows()
        self._change(lambda: self._session.logic.accept_lesions(self._session.result, self._selected()))
        self._table.selectRow(rows[-1])
        self.go(1)

    def on_reject(self) -> None:
        row = self._rows()[0]
        self._change(lambda: self._session.logic.reject_lesions(self._session.result, self._selected()))
        self._table.selectRow(max(row - 1, 0))
        self.go(min(row, 1))

    def on_edit(self) -> None:
        self.on_jump(self._rows()[0], 0)
        self._edit()

    def on_save(self) -> None:
        nodes = self._session.result
        path = Path(self._ui.saveDirectoryButton.directory) / f"{nodes.input.GetName()}_lesions.csv"
        written = self._session.attempt(lambda: self._session.logic.save_lesions(nodes, path))
        if written is not None:
            self._session.messages.report(_("The lesions are in {path}.").format(path=written))

    def _change(self, action: Callable[[], Any]) -> None:
        self._session.attempt(action)
        self._session.refresh()

    def _rows(self) -> list[int]:
        rows = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        return [row for row in rows if row < len(self._lesions)]

    def _selected(self) -> list[int]:
        return [self._lesions[row].number for row in self._rows()]

    def _fill(self, unit: str) -> None:
        headings = (_("No."), _("ml"), _("Mean"), _("Peak"), _("Center (R, A, S)"), _("Review"))
        self._table.setHorizontalHeaderLabels(list(headings))
        self._table.setRowCount(len(self._lesions))
        for row, lesion in enumerate(self._lesions):
            texts = (
                str(lesion.number),
                f"{lesion.volume_ml:.2f}",
                f"{lesion.mean_score:.3g}",
                f"{lesion.peak_score:.3g}",
                ", ".join(f"{value:.0f}" for value in lesion.centroid_ras),
                _("accepted") if lesion.number in self._accepted else "–",
            )
            for column, text in enumerate(texts):
                self._table.setItem(row, column, qt.QTableWidgetItem(text))
        warnings = self._session.nodes.outcome.get("warnings", ()) if self._session.nodes is not None else ()
        notes = [_("Note: {text}").format(text=text) for text in warnings]
        self._ui.lesionsLabel.text = "\n".join([self._summary(unit), *notes])

    def _summary(self, unit: str) -> str:
        total, count = sum(lesion.volume_ml for lesion in self._lesions), len(self._lesions)
        if count:
            text = _("1 lesion, {total:.1f} ml.") if count == 1 else _("{count} lesions, {total:.1f} ml.")
            parts = [text.format(count=count, total=total)]
            if self._accepted:
                parts.append(_("{count} accepted.").format(count=len(self._accepted)))
            if unit:
                parts.append(_("Mean and peak error in {unit}.").format(unit=unit))
            return " ".join(parts)
        nodes = self._session.nodes
        if nodes is None or not nodes.outcome:
            return _("No lesions yet.")
        return _("No anomaly was found at this threshold; the heatmap shows how far the volume is from healthy.")
