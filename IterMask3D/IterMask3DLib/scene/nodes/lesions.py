"""The lesions of the anomaly as it is now: measured, kept, deleted and saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.lesion import Components, Lesion
from IterMask3DLib.scene.nodes import tables
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes, need_input
from IterMask3DLib.scene.nodes.segmentations import read_segment
from IterMask3DLib.scene.nodes.volumes import affine_of, voxels_of
from IterMask3DLib.scene.translation import tr as _


def measure(nodes: ResultNodes, anomaly: NDArray[np.bool_] | None = None) -> tuple[Lesion, ...]:
    """The lesions of the segment as it is now, largest first, with the scores of the heatmap in them.

    Raises `UserError`.

    Args:
        anomaly: the segment, where it is known already.
    """
    need_input(nodes)
    heatmap = voxels_of(nodes.heatmap).T if nodes.heatmap is not None else None
    anomaly = read_segment(nodes) if anomaly is None else anomaly
    return Components.of(anomaly.T).lesions(heatmap, affine_of(nodes.input))


def without(nodes: ResultNodes, numbers: Sequence[int]) -> tuple[NDArray[np.uint8], tuple[Lesion, ...]]:
    """The segment without some lesions of the table, [k, j, i], and those that are left, numbered anew.

    Raises `UserError` where the segment was edited since they were measured, and for a number that is not there.
    """
    need_input(nodes)
    rows, components = lesions_of(nodes), Components.of(read_segment(nodes).T)
    _known(rows, numbers)
    found = components.lesions(None, affine_of(nodes.input))
    if len(found) != len(rows) or not all(map(_same, found, rows)):
        raise UserError(_("The anomaly has changed since its lesions were measured; measure them again."))
    left = (lesion for lesion in rows if lesion.number not in numbers)
    renumbered = tuple(replace(lesion, number=number) for number, lesion in enumerate(left, 1))
    return components.without(numbers).T.view(np.uint8), renumbered


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
