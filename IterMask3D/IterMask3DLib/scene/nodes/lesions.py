"""The lesions of the anomaly as it is now: measured, kept, deleted and saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import bounding_box
from IterMask3DLib.core.lesion import Lesion, find_lesions
from IterMask3DLib.scene.nodes import tables
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes, need_input
from IterMask3DLib.scene.nodes.segmentations import read_segment
from IterMask3DLib.scene.nodes.volumes import affine_of, voxels_of
from IterMask3DLib.scene.translation import tr as _


@dataclass(frozen=True)
class MeasuredLesions:
    """Lesions, largest first, with their numbers as a label volume [k, j, i] on the grid of the input."""

    lesions: tuple[Lesion, ...]
    labels: NDArray[np.int32]

    def without(self, numbers: Sequence[int]) -> tuple[NDArray[np.uint8], tuple[Lesion, ...]]:
        """A mask of all other lesions, and they, numbered anew. Raises `UserError` for a number that is not there."""
        _known(self.lesions, numbers)
        kept = np.ones(len(self.lesions) + 1, dtype=np.uint8)
        kept[[0, *numbers]] = 0
        rest = (lesion for lesion in self.lesions if kept[lesion.number])
        mask = np.zeros(self.labels.shape, dtype=np.uint8)
        box = bounding_box(self.labels != 0)
        if box is not None:
            mask[box] = kept.take(self.labels[box])
        return mask, tuple(replace(lesion, number=number) for number, lesion in enumerate(rest, 1))


def measure(nodes: ResultNodes, anomaly: NDArray[np.bool_] | None = None) -> MeasuredLesions:
    """The lesions of the segment as it is now, with the scores of the heatmap inside them. Raises `UserError`.

    Args:
        anomaly: the segment, where it is known already.
    """
    need_input(nodes)
    heatmap = voxels_of(nodes.heatmap).T if nodes.heatmap is not None else None
    anomaly = read_segment(nodes) if anomaly is None else anomaly
    lesions, labels = find_lesions(anomaly.T, heatmap, affine_of(nodes.input))
    return MeasuredLesions(lesions, labels.T)


def listed(nodes: ResultNodes) -> MeasuredLesions:
    """The same, if they are those of the table. Raises `UserError` where the segment was edited since."""
    found = measure(nodes)
    rows = lesions_of(nodes)
    if len(found.lesions) != len(rows) or not all(map(_same, found.lesions, rows)):
        raise UserError(_("The anomaly has changed since its lesions were measured; measure them again."))
    return found


def lesions_of(nodes: ResultNodes) -> list[Lesion]:
    """The lesions as last measured, largest first."""
    return tables.read_lesions(nodes.lesion_table)


def accepted_of(nodes: ResultNodes) -> set[int]:
    """The numbers of the lesions that a reader has accepted."""
    return tables.read_accepted(nodes.lesion_table)


def accept(nodes: ResultNodes, numbers: Sequence[int]) -> None:
    """Notes that a reader has accepted lesions of the table. Raises `UserError` for a number that is not there."""
    rows = lesions_of(nodes)
    _known(rows, numbers)
    tables.write_lesions(nodes.lesion_table, rows, accepted_of(nodes) | set(numbers))


def write_lesions(nodes: ResultNodes, lesions: Sequence[Lesion]) -> None:
    """Puts lesions into the table of their result; one that was accepted and is the same still is accepted."""
    accepted = [row for row in lesions_of(nodes) if row.number in accepted_of(nodes)]
    still = [lesion.number for lesion in lesions if any(_same(lesion, row) for row in accepted)]
    tables.write_lesions(nodes.own("lesion_table", "lesions"), lesions, still)


def jump_to(nodes: ResultNodes, number: int) -> None:
    """Brings every slice view to the centroid of a lesion. Raises `UserError`."""
    rows = lesions_of(nodes)
    _known(rows, [number])
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        node.JumpSliceByCentering(*rows[number - 1].centroid_ras)


def _same(one: Lesion, other: Lesion) -> bool:
    """Whether two measurements are of one lesion; nearly, for a table that was saved comes back with six digits."""
    now, then = ((x.volume_ml, *x.centroid_ras) for x in (one, other))
    return bool(np.allclose(now, then, rtol=1e-5, atol=1e-3))


def _known(lesions: Sequence[Lesion], numbers: Sequence[int]) -> None:
    there = {lesion.number for lesion in lesions}
    missing = [str(number) for number in numbers if number not in there]
    if missing:
        raise UserError(_("There is no lesion {numbers}; measure the lesions again.", numbers=", ".join(missing)))
