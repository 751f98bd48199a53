"""The loop goes on from a mask the user painted on, with a real network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import load_model
from IterMask3DLib.methods.itermask3d.threshold import fit_curve
from IterMask3DLib.methods.itermask3d.loop import result_of, shrink
from IterMask3DLib.run import Request, study
from IterMask3DLib.scene.geometry import volumeOf
from IterMask3DLib.scene.records import RunOptions
from Testing.scene.fake_engine import FakeEngine, pump
from Testing.scene.samples import anomaly_of, phantom_node, reopened, voxels

GAMMA = 0.5


def history(nodes: Any) -> list[NDArray[Any]]:
    return [voxels(nodes.sequence("mask").GetNthDataNode(item)) for item in range(len(nodes.steps))]


@pytest.mark.parametrize("opened", [False, True])
def test_the_loop_goes_on_from_a_mask_the_user_edited(
    make_logic: Callable[..., Any], toy: str, opened: bool, tmp_path: Path
) -> None:
    options = RunOptions(model=toy, gamma=GAMMA, quality="full")
    logic = make_logic()
    nodes = logic.process(phantom_node(), options).nodes
    if opened:
        nodes = reopened(tmp_path / "scene.mrb")
        logic = make_logic()
    before, steps = history(nodes), nodes.steps
    segmentation, segment_id = logic.edit_iteration(nodes, 6)
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment_id, nodes.input)
    np.testing.assert_array_equal(mask.T > 0, on_input(nodes, before[6]))
    mask[:, :, :22] = 0
    mask[18:22, 22:27, 20:30] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment_id, nodes.input)

    made = study(volumeOf(nodes.input), load_model(Path(toy)), Request(gamma=GAMMA, quality="full"))
    curve, _ = fit_curve(nodes.curve.thresholds, made.settings.curve)
    begin = np.zeros(made.case.brain.shape, dtype=bool)
    shift = np.round(np.linalg.inv(made.prepared.affine) @ np.append(nodes.input.GetOrigin(), 1))[:3].astype(int)
    i, j, k = np.argwhere(mask.T > 0).T + shift[:, None]
    begin[i, j, k] = True
    begin &= made.case.brain
    shrunk = sum(step.phase == "shrink" for step in steps)
    result = result_of(
        shrink(made.case, made.runner, curve, made.settings, begin, first=made.settings.passes + 1 + shrunk)
    )

    done: list[Any] = []
    logic.continue_from(nodes, segmentation, segment_id, on_done=done.append)
    pump(logic, lambda: not logic.busy)
    assert done and not done[0].cancelled
    np.testing.assert_array_equal(
        voxels(nodes.heatmap), made.prepared.restore_map(result.heatmap) * made.prepared.brain_mask.array
    )
    np.testing.assert_array_equal(anomaly_of(nodes), made.prepared.restore_mask(result.mask) > 0)
    for mine, theirs in zip(history(nodes), before, strict=False):
        np.testing.assert_array_equal(mine, theirs)
    edited = nodes.steps[len(steps)]
    assert (edited.phase, edited.number) == ("edited", 0)
    np.testing.assert_array_equal(voxels(nodes.sequence("mask").GetNthDataNode(edited.item)) > 0, begin)
    assert edited.maskedMl == pytest.approx(begin.sum() * 4**3 / 1000)
    assert [step.number for step in nodes.steps[len(steps) + 1 :]] == list(
        range(len(steps) + 1, len(steps) + 1 + len(result.shrink))
    )
    assert nodes.provenance["settings"]["start"] == "edited"


def on_input(nodes: Any, mask: NDArray[Any]) -> NDArray[np.bool_]:
    """A mask of the 4 mm model grid on the phantom's grid, which has the same voxels."""
    sequence = nodes.sequence("mask").GetNthDataNode(0)
    shift = np.round((np.array(nodes.input.GetOrigin()) - sequence.GetOrigin()) / 4).astype(int)
    found = np.zeros(nodes.input.GetImageData().GetDimensions(), dtype=bool)
    for place in np.argwhere(mask > 0) - shift:
        if (place >= 0).all() and (place < found.shape).all():
            found[tuple(place)] = True
    return found


def test_an_empty_edited_mask_is_refused(make_logic: Callable[..., Any]) -> None:
    logic = make_logic(FakeEngine())
    nodes = logic.process(phantom_node()).nodes
    segmentation, segment_id = logic.edit_iteration(nodes, 2)
    segmentation.GetSegmentation().GetSegment(segment_id).RemoveAllRepresentations()
    with pytest.raises(UserError, match="The edited mask is empty; paint what is to stay hidden from the network"):
        logic.continue_from(nodes, segmentation, segment_id)
