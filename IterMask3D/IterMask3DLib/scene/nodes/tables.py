"""Table nodes of a result: iterations, threshold curve and lesions."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import vtk

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.lesion import Lesion
from IterMask3DLib.core.result import Step

_ITERATION, _PASS, _PHASE, _SECONDS, _MASKED_ML = "Iteration", "Pass", "Phase", "Seconds", "Masked ml"
CURVE_COLUMNS = ("Point", "Threshold", "Fit", "Derivative")
CHOSEN_COLUMNS = ("Point", "Chosen")
LESION_COLUMNS = ("Lesion", "Volume ml", "Mean error", "Peak error", "R mm", "A mm", "S mm", "Voxels")
_REVIEW, _ACCEPTED = "Review", "accepted"
_SHARE = "_fraction"
MASKED_FRACTION = f"masked{_SHARE}"
"""Scalar of a step: the share of the brain that is still hidden from the network."""


def clear_table(node: Any, columns: Sequence[str]) -> None:
    """An empty table with these columns of float64; a phase and a review are texts."""
    was = node.StartModify()
    node.RemoveAllColumns()
    for name in columns:
        node.AddColumn(_new_column(name, 0))
    node.SetUseColumnTitleAsColumnHeader(True)
    node.SetLocked(True)
    node.EndModify(was)


def fill_table(node: Any, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replaces what a table holds."""
    was = node.StartModify()
    clear_table(node, columns)
    for row in rows:
        _append(node.GetTable(), row)
    node.GetTable().Modified()
    node.EndModify(was)


def clear_steps(node: Any) -> None:
    """An empty table of iterations; the columns of their scalars come with the first of them."""
    clear_table(node, (_ITERATION, _PASS, _PHASE, _SECONDS))


def append_step(node: Any, step: Step, brain_ml: float) -> None:
    """Adds an iteration, with a column for each of its scalars; shares of the brain in percent, and in ml."""
    table = node.GetTable()
    columns = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    values: dict[str, Any] = {
        _ITERATION: table.GetNumberOfRows() + 1,
        _PASS: step.number,
        _PHASE: step.phase,
        _SECONDS: step.seconds,
    }
    for name, value in step.scalars.items():
        values[_title(name)] = 100 * value if name.endswith(_SHARE) else value
        if name == MASKED_FRACTION:
            values[_MASKED_ML] = value * brain_ml
    for title in values:
        if title not in columns:
            node.AddColumn(_new_column(title, table.GetNumberOfRows()))
            columns.append(title)
    _append(table, [values.get(title, math.nan) for title in columns])
    table.Modified()


def cut_steps(node: Any, count: int) -> None:
    """Keeps the first iterations alone."""
    table = node.GetTable()
    while table.GetNumberOfRows() > count:
        table.RemoveRow(table.GetNumberOfRows() - 1)
    table.Modified()


def read_steps(node: Any) -> list[Step]:
    """The iterations of a table, which may come from a scene that was loaded."""
    steps = []
    for row in _rows(node, _ITERATION):
        scalars = {_scalar(title): _number(value) for title, value in row.items() if title not in _FIXED}
        scalars = {n: v / 100 if n.endswith(_SHARE) else v for n, v in scalars.items() if not math.isnan(v)}
        steps.append(Step(int(_number(row[_PASS])), 0, _text(row[_PHASE]), _number(row[_SECONDS]), scalars))
    return steps


def write_curve(node: Any, curve: ThresholdCurve) -> None:
    """One row a point of the curve."""
    points = range(1, len(curve.thresholds) + 1)
    fill_table(node, CURVE_COLUMNS, zip(points, curve.thresholds, curve.drawn_fit, curve.derivative, strict=True))


def write_chosen(node: Any, curve: ThresholdCurve) -> None:
    """The chosen point, as a table of one row, which a plot shows as a marker."""
    fill_table(node, CHOSEN_COLUMNS, [(curve.chosen + 1, curve.threshold)])


def write_lesions(node: Any, lesions: Iterable[Lesion], accepted: Collection[int] = ()) -> None:
    """One row a lesion. `accepted`: the numbers of those that a reader has accepted."""
    rows = (
        (x.number, x.volume_ml, x.mean_score, x.peak_score, *x.centroid_ras, x.voxels, _review(x.number in accepted))
        for x in lesions
    )
    fill_table(node, (*LESION_COLUMNS, _REVIEW), rows)


def read_lesions(node: Any) -> list[Lesion]:
    """The lesions of a table. Scenes of earlier versions do not count their voxels."""
    found = []
    for row in _rows(node, LESION_COLUMNS[0]):
        number, ml, mean, peak, r, a, s, voxels = (_number(row.get(title, 0)) for title in LESION_COLUMNS)
        found.append(Lesion(int(number), int(voxels), ml, (r, a, s), mean, peak))
    return found


def read_accepted(node: Any) -> set[int]:
    """The numbers of the lesions that a reader has accepted."""
    rows = _rows(node, LESION_COLUMNS[0])
    return {int(_number(row[LESION_COLUMNS[0]])) for row in rows if _text(row.get(_REVIEW, "")) == _ACCEPTED}


def _review(accepted: bool) -> str:
    return _ACCEPTED if accepted else ""


_FIXED = (_ITERATION, _PASS, _PHASE, _SECONDS, _MASKED_ML)


def _title(scalar: str) -> str:
    """The column of a scalar: shares are shown in percent."""
    shown = f"{scalar.removesuffix(_SHARE)} %" if scalar.endswith(_SHARE) else scalar
    return shown.replace("_", " ").capitalize()


def _scalar(title: str) -> str:
    name = title.lower().replace(" ", "_")
    return f"{name.removesuffix('_%')}{_SHARE}" if name.endswith("_%") else name


def _new_column(name: str, rows: int) -> Any:
    is_text = name in (_PHASE, _REVIEW)
    column = vtk.vtkStringArray() if is_text else vtk.vtkDoubleArray()
    column.SetName(name)
    column.SetNumberOfTuples(rows)
    if not is_text:
        column.FillComponent(0, math.nan)
    return column


def _append(table: Any, row: Sequence[Any]) -> None:
    # Column by column, in the column's own type: vtkVariant rows cost ten times as much.
    for index, value in enumerate(row):
        column = table.GetColumn(index)
        column.InsertNextValue(value if isinstance(value, str) else float(value))


def _rows(node: Any, needed: str) -> list[dict[str, Any]]:
    """The rows of a table by the names of its columns; none where it is not there or holds something else."""
    # By columns: a table's own cells come as text with six digits.
    table = node.GetTable() if node is not None else None
    if table is None or table.GetColumnByName(needed) is None:
        return []
    columns = {table.GetColumnName(n): table.GetColumn(n) for n in range(table.GetNumberOfColumns())}
    return [{name: column.GetValue(row) for name, column in columns.items()} for row in range(table.GetNumberOfRows())]


def _number(value: Any) -> float:
    text = _text(value)
    return float(text) if text else math.nan


def _text(value: Any) -> str:
    # Text comes back from a saved table in quotation marks.
    return str(value).strip('"')
