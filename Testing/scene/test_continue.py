"""The loop goes on from a mask the user painted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import PackedMask
from IterMask3DLib.core.request import ByGamma, FromMask, Request
from IterMask3DLib.core.result import ANOMALY, HEATMAP, Step
from IterMask3DLib.run import finish
from Testing.scene.alone import run_of, segment_on
from Testing.scene.samples import affine_of, anomaly_of, phantom_node, reopened, voxels


def history(nodes: Any) -> list[NDArray[Any]]:
    return [voxels(nodes.sequence("mask").GetNthDataNode(item)) for item in range(len(nodes.steps))]


def moved(mask: NDArray[Any], one: Any, other: Any) -> NDArray[np.bool_]:
    """A mask of one node's grid on another one's; both have voxels of 4 mm along the same axes."""
    i, j, k = np.argwhere(mask).T
    places = np.linalg.inv(affine_of(other)) @ affine_of(one) @ np.stack([i, j, k, np.ones_like(i)])
    found = np.zeros(voxels(other).shape, dtype=bool)
    within = [tuple(place) for place in np.round(places[:3]).astype(int).T if (place >= 0).all()]
    for place in within:
        if all(p < n for p, n in zip(place, found.shape, strict=True)):
            found[place] = True
    return found


@pytest.mark.parametrize("opened", [False, True])
def test_the_loop_goes_on_from_a_mask_the_user_edited(
    make_logic: Callable[..., Any], choices: Request, toy: str, opened: bool, tmp_path: Path
) -> None:
    choices = replace(choices, model=toy, quality="full")
    logic = make_logic()
    nodes = logic.process(phantom_node(), choices).nodes
    if opened:
        nodes = reopened(tmp_path / "scene.mrb")
        logic = make_logic()
    before, steps = history(nodes), nodes.steps
    first = nodes.sequence("mask").GetNthDataNode(0)
    segmentation, segment_id = logic.edit_iteration(nodes, 6)
    mask = segment_on(segmentation, segment_id, nodes.input)
    np.testing.assert_array_equal(mask.T > 0, moved(before[6] > 0, first, nodes.input))
    mask[:, :, :22] = 0
    mask[18:22, 22:27, 20:30] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment_id, nodes.input)
    drawn = moved(mask.T > 0, nodes.input, first)

    run = run_of(nodes.input, choices)
    state = finish(run.infer()).state
    passes: list[Step] = []
    alone = finish(
        run.resume(state, FromMask(PackedMask.of(drawn), ByGamma(0.5), sum(step.phase == "shrink" for step in steps))),
        lambda event: passes.append(event) if isinstance(event, Step) else None,
    )

    done = logic.wait_for(logic.continue_from, nodes, segmentation, segment_id)
    assert not done.cancelled and done.nodes == nodes
    np.testing.assert_array_equal(voxels(nodes.heatmap), alone.array(HEATMAP))
    np.testing.assert_array_equal(anomaly_of(nodes), alone.array(ANOMALY))
    for mine, theirs in zip(history(nodes), before, strict=False):
        np.testing.assert_array_equal(mine, theirs)
    edited = nodes.steps[len(steps)]
    assert (edited.phase, edited.number) == ("edited", 0)
    np.testing.assert_array_equal(history(nodes)[len(steps)] > 0, drawn)
    assert edited.scalars["masked_fraction"] == pytest.approx(drawn.sum() * 0.064 / nodes.brain_ml)
    later = nodes.steps[len(steps) + 1 :]
    assert [step.number for step in later] == list(range(len(steps) + 1, len(steps) + 1 + len(passes)))
    assert [step.scalars["threshold"] for step in later] == [step.scalars["threshold"] for step in passes]


def test_an_empty_edited_mask_is_refused(logic: Any, choices: Request) -> None:
    nodes = logic.process(phantom_node(), choices).nodes
    segmentation, segment_id = logic.edit_iteration(nodes, 2)
    segmentation.GetSegmentation().GetSegment(segment_id).RemoveAllRepresentations()
    with pytest.raises(UserError, match="The edited mask is empty; paint what is to stay hidden from the network"):
        logic.continue_from(nodes, segmentation, segment_id)
