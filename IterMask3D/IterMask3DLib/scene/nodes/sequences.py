"""The iterations of a run: a sequence for each layer of its steps, which one browser steps in lock-step, and a table.

They lie on the model grid, as the network saw them; the affine puts them in their place. A mask is kept for every pass;
the engine may leave other layers of a pass out to spare memory, and the browser then shows the last one before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, voxel_millilitres
from IterMask3DLib.core.result import MASK, LayerKind, Step
from IterMask3DLib.scene.nodes import names, tables
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes, layer_class
from IterMask3DLib.scene.nodes.volumes import affine_of, grid_between, set_voxels, voxels_of
from IterMask3DLib.scene.translation import tr as _

EDITED = "edited"
"""Phase of a mask that the user drew."""


def begin_iterations(nodes: ResultNodes) -> None:
    """Takes the iterations of an earlier run away; sequences come with the first step that has their layer."""
    nodes.own("browser", "iterations").SetIndexDisplayFormat("%.0f")
    for name in nodes.step_layers:
        nodes.sequence(name).RemoveAllDataNodes()
    tables.clear_steps(nodes.own("iteration_table", "iterations table"))


def end_iterations(nodes: ResultNodes) -> None:
    """Takes away the sequences that this run had no layer for."""
    for name in nodes.step_layers:
        if nodes.sequence(name).GetNumberOfDataNodes() == 0:
            proxy = nodes.proxy(name)
            nodes.browser.RemoveSynchronizedSequenceNode(nodes.sequence(name).GetID())
            nodes.discard(f"{names.STEP}{name}")
            if proxy is not None:
                slicer.mrmlScene.RemoveNode(proxy)


def write_volume(
    nodes: ResultNodes, name: str, kind: LayerKind, item: int, array: NDArray[Any], affine: Affine
) -> None:
    """Puts a layer [k, j, i] of an iteration into its sequence; users see iterations counted from 1."""
    shown = name.replace("_", " ")
    sequence = nodes.sequence(name) or _new_sequence(nodes, name, kind, shown)
    scratch = getattr(slicer, layer_class(kind))()
    scratch.SetName(f"{nodes.input.GetName()} {shown} of the iteration")
    scratch.SetAttribute(names.ROLE, f"{names.STEP}{name}")
    set_voxels(scratch, array, affine)
    sequence.SetDataNodeAtValue(scratch, str(item + 1))


def _new_sequence(nodes: ResultNodes, name: str, kind: LayerKind, shown: str) -> Any:
    sequence = nodes.own(f"{names.STEP}{name}", f"{shown} of the iterations", "vtkMRMLSequenceNode")
    sequence.SetAttribute(names.KIND, kind.value)
    sequence.SetIndexName("iteration")
    sequence.SetIndexUnit("")
    sequence.SetIndexTypeFromString("numeric")
    nodes.browser.AddSynchronizedSequenceNode(sequence)
    nodes.browser.SetOverwriteProxyName(sequence, False)
    # Off, as by default: what the user paints on a view of the past must not become the past.
    nodes.browser.SetSaveChanges(sequence, False)
    return sequence


def append(nodes: ResultNodes, step: Step) -> None:
    """Puts the numbers of an iteration into the table, once its volumes are there."""
    tables.append_step(nodes.iteration_table, step, nodes.brain_ml)


def append_edited(nodes: ResultNodes, mask: NDArray[np.bool_], affine: Affine) -> None:
    """Appends a mask that the user drew, bool [k, j, i] on the model grid."""
    write_volume(nodes, MASK, LayerKind.MASK, len(nodes.steps), mask.view(np.uint8), affine)
    ml = float(np.count_nonzero(mask)) * voxel_millilitres(affine)
    append(nodes, Step(0, 0, EDITED, 0.0, {tables.MASKED_FRACTION: ml / nodes.brain_ml if nodes.brain_ml else 0.0}))


def cut_iterations(nodes: ResultNodes, count: int) -> None:
    """Keeps the first iterations alone."""
    for name in nodes.step_layers:
        sequence = nodes.sequence(name)
        while sequence.GetNumberOfDataNodes():
            last = sequence.GetNthIndexValue(sequence.GetNumberOfDataNodes() - 1)
            if float(last) <= count:
                break
            sequence.RemoveDataNodeAtValue(last)
    tables.cut_steps(nodes.iteration_table, count)


def select(nodes: ResultNodes, item: int) -> None:
    """Shows an iteration in the browser."""
    nodes.browser.SetSelectedItemNumber(item)
    for name in nodes.step_layers:
        proxy = nodes.proxy(name)
        if proxy is not None:
            proxy.SetAttribute(names.ROLE, f"{names.STEP}{name}")


def step_of(nodes: ResultNodes, item: int) -> Step:
    """The numbers of an iteration. Raises `UserError` where there is none of that number."""
    steps = nodes.steps
    if not 0 <= item < len(steps):
        raise UserError(_("There is no iteration {number}.", number=item + 1))
    return steps[item]


def iteration_mask(nodes: ResultNodes, item: int) -> Any:
    """The node of the mask of an iteration, on the model grid. Raises `UserError` where there is none."""
    step_of(nodes, item)
    sequence = nodes.sequence(MASK)
    node = sequence.GetDataNodeAtValue(str(item + 1)) if sequence is not None else None
    if node is None:
        raise UserError(_("Iteration {number} has no mask.", number=item + 1))
    return node


def mask_on_input(nodes: ResultNodes, item: int) -> NDArray[np.uint8]:
    """The mask of an iteration on the grid of the input, within the brain. Raises `UserError`."""
    node = iteration_mask(nodes, item)
    mask = grid_between(node, nodes.input).mask_to_input(voxels_of(node).T > 0).T
    if nodes.brain is not None:
        # On finer voxels a mask reaches a little beyond the brain; a run cuts that off as well.
        mask &= voxels_of(nodes.brain) > 0
    return mask.view(np.uint8)


def mask_on_model(nodes: ResultNodes, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask [k, j, i] of the input's grid on the model grid. Raises `UserError` where the volume was turned since."""
    grid = grid_between(iteration_mask(nodes, 0), nodes.input)
    return np.ascontiguousarray(grid.mask_to_model(mask.T).T)


def model_affine(nodes: ResultNodes) -> Affine:
    """Model voxel to RAS mm, where there is an iteration."""
    return affine_of(iteration_mask(nodes, 0))


def sweep_length(curve: ThresholdCurve) -> int:
    """How many iterations a threshold curve was made of."""
    return max(curve.steps)
