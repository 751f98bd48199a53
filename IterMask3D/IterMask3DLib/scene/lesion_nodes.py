"""The lesions of the anomaly as it is now: measured, shown, kept and deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Affine
from IterMask3DLib.scene import tables
from IterMask3DLib.scene.geometry import affineOf, shapeOf, vtkOrder
from IterMask3DLib.scene.nodes import ResultNodes, needInput
from IterMask3DLib.scene.outcomes import lesionRow
from IterMask3DLib.scene.records import LesionRow
from IterMask3DLib.scene.segmentations import readSegment
from IterMask3DLib.scene.words import tr as _

if TYPE_CHECKING:
    from IterMask3DLib.results.lesions import Lesion


@dataclass(frozen=True)
class Labelled:
    """Lesions, largest first, with their numbers as a label volume of the box `where` of the input's grid [i, j, k]."""

    lesions: tuple[Lesion, ...]
    labels: NDArray[np.int32]
    where: tuple[slice, ...]

    @property
    def rows(self) -> tuple[LesionRow, ...]:
        return tuple(lesionRow(lesion) for lesion in self.lesions)


def measure(nodes: ResultNodes) -> Labelled:
    """The lesions of the segment as it is now, with the errors of the heatmap inside them."""
    from IterMask3DLib.results.lesions import find_lesions

    needInput(nodes)
    anomaly = readSegment(nodes)
    where = _box(anomaly)
    affine = _shifted(affineOf(nodes.input), where)
    heatmap = (
        slicer.util.arrayFromVolume(nodes.heatmap).T[where] if nodes.heatmap is not None else np.zeros(anomaly[where].shape, np.float32)
    )
    lesions, labels = find_lesions(anomaly[where], heatmap, affine)
    return Labelled(lesions, labels, where)


def listed(nodes: ResultNodes) -> Labelled:
    """The same, if they are those of the table. Raises `UserError` where the segment was edited since: numbers would mean other lesions."""
    found = measure(nodes)
    now, then = ([(row.volumeMl, *row.centroidRas) for row in rows] for rows in (found.rows, tables.readLesions(nodes.lesionTable)))
    # Nearly: a table that was saved comes back with six digits.
    if len(now) != len(then) or not np.allclose(now, then, rtol=1e-5, atol=1e-3):
        raise UserError(_("The anomaly has changed since its lesions were measured; measure them again."))
    return found


def writeLesions(nodes: ResultNodes, lesions: Sequence[LesionRow]) -> None:
    """Puts lesions into the table of their result."""
    tables.writeLesions(nodes.own("lesionTable", "lesions"), lesions)


def without(nodes: ResultNodes, found: Labelled, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """The anomaly without some lesions, in VTK's order [k, j, i]. Raises `UserError` for a number that is not there."""
    others = [lesion.number for lesion in found.lesions if lesion.number not in numbers]
    _known(found, numbers)
    return only(nodes, found, others)


def only(nodes: ResultNodes, found: Labelled, numbers: Sequence[int]) -> NDArray[np.uint8]:
    """The anomaly with these lesions alone, in VTK's order [k, j, i]. Raises `UserError` for a number that is not there."""
    _known(found, numbers)
    anomaly = np.zeros(shapeOf(nodes.input), dtype=np.uint8)
    anomaly[found.where] = np.isin(found.labels, list(numbers))
    return vtkOrder(anomaly)


def jump(nodes: ResultNodes, number: int) -> None:
    """Brings every slice view to the centroid of a lesion."""
    lesion = next((lesion for lesion in tables.readLesions(nodes.lesionTable) if lesion.number == number), None)
    if lesion is None:
        raise UserError(_("There is no lesion {number}; measure the lesions again.").format(number=number))
    for sliceNode in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        sliceNode.JumpSliceByCentering(*lesion.centroidRas)


def saveTable(nodes: ResultNodes, path: Path) -> Path:
    """Writes the lesions of the segment as it is now as CSV, with the columns of the command line."""
    from IterMask3DLib.results.tables import write_lesions

    write_lesions(path, measure(nodes).lesions)
    return path


def _known(found: Labelled, numbers: Sequence[int]) -> None:
    there = {lesion.number for lesion in found.lesions}
    missing = [str(number) for number in numbers if number not in there]
    if missing:
        raise UserError(_("There is no lesion {numbers}; measure the lesions again.").format(numbers=", ".join(missing)))


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    # Components are found in the box around the mask: a tenth of the time on a whole head.
    sides = []
    for axis in range(3):
        hits: Any = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        sides.append(slice(int(hits[0]), int(hits[-1]) + 1) if len(hits) else slice(0, 1))
    return tuple(sides)


def _shifted(affine: Affine, where: tuple[slice, ...]) -> Affine:
    shifted = affine.copy()
    shifted[:3, 3] = affine[:3, :3] @ [side.start for side in where] + affine[:3, 3]
    return shifted
