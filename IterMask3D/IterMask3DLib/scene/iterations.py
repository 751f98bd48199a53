"""The iterations of a run: three sequences that one browser steps in lock-step, and a table with their numbers.

They lie on the model grid, as the network saw them; the affine puts them in their place. A mask is kept for every pass. Error maps (rounded to
half precision) and reconstructions (in whole numbers where the input has them) may leave passes out, see `jobs.SERIES_BYTES`; the browser then
shows the last one before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.image import Affine, BoolVolume, PackedMask
from IterMask3DLib.scene import names, tables
from IterMask3DLib.scene.colors import maskColors
from IterMask3DLib.scene.geometry import affineOf, setVoxels, shapeOf
from IterMask3DLib.scene.messages import StepMessage
from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.scene.records import StepInfo
from IterMask3DLib.scene.volumes import showAsError, showLike

EDITED = "edited"

_SERIES = {
    "maskSequence": ("masks", "mask", "vtkMRMLLabelMapVolumeNode"),
    "errorSequence": ("error maps", "error map", "vtkMRMLScalarVolumeNode"),
    "reconstructionSequence": ("reconstructions", "reconstruction at iteration", "vtkMRMLScalarVolumeNode"),
}


def beginIterations(nodes: ResultNodes) -> None:
    """Empties the sequences and their table, or makes them."""
    browser = nodes.own("browser", "iterations")
    browser.SetIndexDisplayFormat("%.0f")
    for role, (name, _, _) in _SERIES.items():
        sequence = nodes.own(role, name)
        sequence.SetIndexName("iteration")
        sequence.SetIndexUnit("")
        sequence.SetIndexTypeFromString("numeric")
        sequence.RemoveAllDataNodes()
        if not browser.IsSynchronizedSequenceNode(sequence, True):
            browser.AddSynchronizedSequenceNode(sequence)
        browser.SetOverwriteProxyName(sequence, False)
        # Off, as by default: what the user paints on a view of the past must not become the past.
        browser.SetSaveChanges(sequence, False)
    tables.clearTable(nodes.own("iterationTable", "iterations table"), tables.ITERATION_COLUMNS)


def writeVolume(nodes: ResultNodes, role: str, item: int, array: NDArray[Any], affine: Affine) -> None:
    """Puts one volume of an iteration, in VTK's order, into the sequence of a role; users see iterations counted from 1."""
    scratch = getattr(slicer, _SERIES[role][2])()
    scratch.SetName(f"{nodes.input.GetName()} {_SERIES[role][1]}")
    setVoxels(scratch, array, affine)
    getattr(nodes, role).SetDataNodeAtValue(scratch, str(item + 1))


def writeNumbers(nodes: ResultNodes, message: StepMessage, item: int, number: int, brainMl: float) -> StepInfo:
    """Puts the numbers of pass `number` into the table, once its volumes are there."""
    info = StepInfo(
        item,
        number,
        message.phase,
        message.threshold,
        message.fraction * brainMl,
        message.fraction,
        message.seconds,
        message.ratio,
    )
    tables.appendStep(nodes.iterationTable, info)
    return info


def addEdited(nodes: ResultNodes, mask: BoolVolume, threshold: float, brainMl: float) -> StepInfo:
    """Appends a mask the user edited, [x, y, z] on the model grid."""
    affine = iterationAffine(nodes)
    item = nodes.maskSequence.GetNumberOfDataNodes()
    writeVolume(nodes, "maskSequence", item, np.ascontiguousarray(mask.T).view(np.uint8), affine)
    ml = float(mask.sum()) * abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    info = StepInfo(item, 0, EDITED, threshold, ml, ml / brainMl if brainMl else 0.0, 0.0, None)
    tables.appendStep(nodes.iterationTable, info)
    return info


def cutIterations(nodes: ResultNodes, items: int) -> None:
    """Takes every iteration from number `items` on away."""
    for role in _SERIES:
        sequence = getattr(nodes, role)
        while sequence.GetNumberOfDataNodes() and float(sequence.GetNthIndexValue(sequence.GetNumberOfDataNodes() - 1)) > items:
            sequence.RemoveDataNodeAtValue(sequence.GetNthIndexValue(sequence.GetNumberOfDataNodes() - 1))
    tables.cutSteps(nodes.iterationTable, items)


def select(nodes: ResultNodes, item: int) -> None:
    """Shows an iteration in the browser, and gives the proxies their display when they are new."""
    nodes.browser.SetSelectedItemNumber(item)
    for role, proxy in (
        ("maskSequence", nodes.maskProxy),
        ("errorSequence", nodes.errorProxy),
        ("reconstructionSequence", nodes.reconstructionProxy),
    ):
        if proxy is None:
            continue
        if proxy.GetDisplayNode() is None:
            proxy.CreateDefaultDisplayNodes()
        if proxy.GetDisplayNode().GetAttribute(names.ROLE) == role:
            continue
        # The browser may have made a display of its own; this one is the user's from now on.
        proxy.GetDisplayNode().SetAttribute(names.ROLE, role)
        if role == "maskSequence":
            proxy.GetDisplayNode().SetAndObserveColorNodeID(maskColors().GetID())
        elif role == "errorSequence":
            showAsError(proxy)
        else:
            showLike(proxy, nodes.input)


def iterationAffine(nodes: ResultNodes) -> Affine:
    """Model voxel to RAS mm."""
    return affineOf(nodes.maskSequence.GetNthDataNode(0))


def iterationShape(nodes: ResultNodes) -> tuple[int, int, int]:
    return shapeOf(nodes.maskSequence.GetNthDataNode(0))


def iterationMask(nodes: ResultNodes, item: int) -> BoolVolume:
    """The mask of an iteration, [x, y, z] on the model grid."""
    return np.asarray(slicer.util.arrayFromVolume(nodes.maskSequence.GetNthDataNode(item)).T > 0)


def sweepMasks(nodes: ResultNodes) -> tuple[PackedMask, ...]:
    """The mask of every sweep pass, as bits."""
    return tuple(PackedMask.of(iterationMask(nodes, step.item)) for step in nodes.steps if step.phase == "sweep")
