"""Table nodes of a result: iterations, threshold curve and lesions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import vtk

from IterMask3DLib.core.image import up_to_pole
from IterMask3DLib.scene.records import CurveInfo, LesionRow, StepInfo

ITERATION_COLUMNS = ("Iteration", "Pass", "Phase", "Threshold", "Masked ml", "Masked %", "Seconds", "Lifted %")
CURVE_COLUMNS = ("Point", "Threshold", "Fit", "Derivative")
CHOSEN_COLUMNS = ("Point", "Chosen")
LESION_COLUMNS = ("Lesion", "Volume ml", "Mean error", "Peak error", "R mm", "A mm", "S mm")
_TEXT = {"Phase"}


def clearTable(node: Any, columns: Sequence[str]) -> None:
    """An empty table with these columns: text where they say so, else float64."""
    was = node.StartModify()
    node.RemoveAllColumns()
    for name in columns:
        column = vtk.vtkStringArray() if name in _TEXT else vtk.vtkDoubleArray()
        column.SetName(name)
        node.AddColumn(column)
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(was)


def fillTable(node: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replaces what a table holds."""
    was = node.StartModify()
    clearTable(node, columns)
    for row in rows:
        _append(node.GetTable(), row)
    node.GetTable().Modified()
    node.EndModify(was)


def appendStep(node: Any, step: StepInfo) -> None:
    """Adds one iteration to its table."""
    ratio = math.nan if step.ratio is None else 100 * step.ratio
    numbers = (step.item, step.number, step.phase, step.threshold, step.maskedMl, 100 * step.maskedFraction, step.seconds, ratio)
    _append(node.GetTable(), numbers)
    node.GetTable().Modified()


def cutSteps(node: Any, items: int) -> None:
    """Keeps the first `items` iterations alone."""
    table = node.GetTable()
    while table.GetNumberOfRows() > items:
        table.RemoveRow(table.GetNumberOfRows() - 1)
    table.Modified()


def readSteps(node: Any) -> list[StepInfo]:
    """The iterations of a table, which may come from a scene that was loaded."""
    if node is None or node.GetTable().GetNumberOfColumns() != len(ITERATION_COLUMNS):
        return []
    return [_step(row) for row in _rows(node)]


def _step(row: Sequence[Any]) -> StepInfo:
    item, number, phase, threshold, ml, percent, seconds, lifted = row
    ratio = _number(lifted)
    return StepInfo(
        item=int(_number(item)),
        number=int(_number(number)),
        phase=_text(phase),
        threshold=_number(threshold),
        maskedMl=_number(ml),
        maskedFraction=_number(percent) / 100,
        seconds=_number(seconds),
        ratio=None if math.isnan(ratio) else ratio / 100,
    )


def writeCurve(node: Any, curve: CurveInfo) -> None:
    """One row a point of the curve."""
    rows = zip(range(1, len(curve.thresholds) + 1), curve.thresholds, up_to_pole(curve.fit), curve.derivative, strict=True)
    fillTable(node, CURVE_COLUMNS, rows)


def writeChosen(node: Any, curve: CurveInfo) -> None:
    """The chosen point, as a table of one row, which a plot shows as a marker."""
    fillTable(node, CHOSEN_COLUMNS, [(curve.chosen + 1, curve.threshold)])


def writeLesions(node: Any, lesions: Iterable[LesionRow]) -> None:
    """One row a lesion."""
    fillTable(node, LESION_COLUMNS, ((x.number, x.volumeMl, x.meanError, x.peakError, *x.centroidRas) for x in lesions))


def readLesions(node: Any) -> list[LesionRow]:
    """The lesions of a table."""
    if node is None or node.GetTable().GetNumberOfColumns() != len(LESION_COLUMNS):
        return []
    rows = ([_number(value) for value in row] for row in _rows(node))
    return [LesionRow(int(n), ml, mean, peak, (r, a, s)) for n, ml, mean, peak, r, a, s in rows]


def _append(table: Any, row: Sequence[Any]) -> None:
    # Column by column, in the column's own type: vtkVariant rows cost ten times as much.
    for index, value in enumerate(row):
        column = table.GetColumn(index)
        column.InsertNextValue(value if isinstance(value, str) else float(value))


def _rows(node: Any) -> list[tuple[Any, ...]]:
    # By columns: a table's own cells come as text with six digits.
    table = node.GetTable()
    columns = [table.GetColumn(index) for index in range(table.GetNumberOfColumns())]
    return [tuple(column.GetValue(row) for column in columns) for row in range(table.GetNumberOfRows())]


def _number(value: Any) -> float:
    text = _text(value)
    return float(text) if text else math.nan


def _text(value: Any) -> str:
    # Text comes back from a saved table in quotation marks.
    return str(value).strip('"')
