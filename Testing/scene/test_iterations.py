"""Every iteration of a run can be looked at and used: mask, error map, reconstruction and numbers in lock-step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import Step
from Testing.scene.alone import run_of, segment_on
from Testing.scene.engine import SWEEP, Gate
from Testing.scene.samples import anomaly_of, phantom_node, reopened, voxels


@pytest.fixture
def nodes(logic: Any, choices: Request) -> Any:
    return logic.process(phantom_node(), choices).nodes


def test_each_iteration_shows_what_the_network_made_of_it(logic: Any, choices: Request, toy: str) -> None:
    choices = replace(choices, model=toy, quality="full")
    nodes = logic.process(phantom_node(), choices).nodes
    run = run_of(nodes.input, choices)
    count = 0
    for item, step in enumerate(event for event in run.infer() if isinstance(event, Step)):
        shown = logic.show_iteration(nodes, item)
        mask = step.layers["mask"].read()
        np.testing.assert_array_equal(voxels(nodes.proxy("mask")) > 0, mask)
        errors = step.layers["error_map"].read()
        np.testing.assert_allclose(voxels(nodes.proxy("error_map")), errors, rtol=1e-3, atol=1e-6)
        seen = run.prepared.unscaled(step.layers["reconstruction"].read())
        np.testing.assert_allclose(voxels(nodes.proxy("reconstruction")), seen, atol=0.5)
        assert (shown.number, shown.phase) == (step.number, step.phase) and shown.seconds > 0
        assert shown.scalars == pytest.approx(step.scalars)
        assert shown.scalars["masked_fraction"] == pytest.approx(mask.sum() / run.prepared.brain.sum())
        count += 1
    assert count == len(nodes.steps) == nodes.browser.GetNumberOfItems()


def test_stepping_the_browser_as_its_toolbar_does_moves_all_three_views(nodes: Any) -> None:
    nodes.browser.SetSelectedItemNumber(0)
    for _ in range(4):
        nodes.browser.SelectNextItem()
    for proxy, sequence in (
        (nodes.proxy("mask"), nodes.sequence("mask")),
        (nodes.proxy("error_map"), nodes.sequence("error_map")),
    ):
        np.testing.assert_array_equal(voxels(proxy), voxels(sequence.GetNthDataNode(4)))
    np.testing.assert_array_equal(
        voxels(nodes.proxy("reconstruction")), voxels(nodes.sequence("reconstruction").GetNthDataNode(4))
    )


def test_what_is_painted_on_a_view_of_the_past_does_not_become_the_past(logic: Any, nodes: Any) -> None:
    logic.show_iteration(nodes, 2)
    before = voxels(nodes.proxy("mask"))
    slicer.util.updateVolumeFromArray(nodes.proxy("mask"), np.zeros(before.T.shape, np.uint8))
    logic.show_iteration(nodes, 3)
    logic.show_iteration(nodes, 2)
    np.testing.assert_array_equal(voxels(nodes.proxy("mask")), before)


def test_views_of_iterations_keep_the_display_the_user_gave_them(logic: Any, nodes: Any) -> None:
    logic.show_iteration(nodes, 1)
    display = nodes.proxy("error_map").GetDisplayNode()
    display.SetWindowLevelMinMax(0.5, 3.0)
    logic.show_iteration(nodes, 5)
    assert nodes.proxy("error_map").GetDisplayNode() is display
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.5, 3.0)
    reconstruction, brain = nodes.proxy("reconstruction").GetDisplayNode(), nodes.input.GetDisplayNode()
    assert (reconstruction.GetWindow(), reconstruction.GetLevel()) == (brain.GetWindow(), brain.GetLevel())
    assert nodes.proxy("error_map").GetDisplayNode().GetColorNode() is nodes.heatmap.GetDisplayNode().GetColorNode()
    colors = nodes.proxy("mask").GetDisplayNode().GetColorNode().GetLookupTable()
    assert colors.GetTableValue(0)[3] == 0 and colors.GetTableValue(1)[3] == 1


def test_an_iteration_that_is_not_there_is_told_in_a_sentence(logic: Any, nodes: Any) -> None:
    count = len(nodes.steps)
    assert logic.step(nodes, count) is None and logic.step(nodes, -1) is None
    assert logic.step(nodes, count - 1) == nodes.steps[-1]
    for call in (logic.show_iteration, logic.use_iteration, logic.edit_iteration):
        with pytest.raises(UserError, match=f"There is no iteration {count + 1}"):
            call(nodes, count)


def test_the_mask_of_an_iteration_becomes_the_anomaly(logic: Any, nodes: Any) -> None:
    found = anomaly_of(nodes)
    logic.use_iteration(nodes, 2)
    mask = nodes.sequence("mask").GetNthDataNode(2)
    used = anomaly_of(nodes)
    assert used.sum() == voxels(mask).sum() > found.sum()
    shift = np.round((np.array(nodes.input.GetOrigin()) - mask.GetOrigin()) / 4).astype(int)
    i, j, k = np.argwhere(used).T + shift[:, None]
    assert voxels(mask)[i, j, k].all()
    assert sum(lesion.volume_ml for lesion in logic.lesions(nodes)) == pytest.approx(used.sum() * 4**3 / 1000)
    logic.use_iteration(nodes, len(nodes.steps) - 1)
    np.testing.assert_array_equal(anomaly_of(nodes), found)


def test_the_mask_to_edit_is_one_segmentation_that_is_used_again(logic: Any, nodes: Any) -> None:
    first, segment = logic.edit_iteration(nodes, 3)
    area = segment_on(first, segment, nodes.input).sum()
    count = slicer.mrmlScene.GetNumberOfNodes()
    second, segment = logic.edit_iteration(nodes, 4)
    assert second is first is nodes.edited_mask and slicer.mrmlScene.GetNumberOfNodes() == count
    assert second.GetSegmentation().GetNumberOfSegments() == 1
    assert segment_on(second, segment, nodes.input).sum() < area
    assert second.GetNodeReference(second.GetReferenceImageGeometryReferenceRole()) is nodes.input


@pytest.mark.parametrize("opened", [False, True])
def test_where_memory_is_short_every_mask_is_kept_and_the_browser_shows_the_last_error_map_before(
    logic: Any, gate: Gate, choices: Request, opened: bool, tmp_path: Path
) -> None:
    gate.whole_every = 3
    nodes = logic.process(phantom_node(), choices).nodes
    if opened:
        nodes = reopened(tmp_path / "scene.mrb")
    shrinks = len(nodes.steps) - SWEEP
    assert nodes.sequence("mask").GetNumberOfDataNodes() == len(nodes.steps)
    assert nodes.sequence("error_map").GetNumberOfDataNodes() == SWEEP // 3 + shrinks
    for item in range(len(nodes.steps)):
        logic.show_iteration(nodes, item)
        shown = item if item >= SWEEP else item - item % 3
        expected = nodes.sequence("error_map").GetDataNodeAtValue(str(shown + 1))
        np.testing.assert_array_equal(voxels(nodes.proxy("error_map")), voxels(expected))
        np.testing.assert_array_equal(voxels(nodes.proxy("mask")), voxels(nodes.sequence("mask").GetNthDataNode(item)))


def test_the_numbers_are_a_table_a_user_can_read(nodes: Any) -> None:
    table = nodes.iteration_table.GetTable()
    columns = {table.GetColumnName(i): table.GetColumn(i) for i in range(table.GetNumberOfColumns())}
    wanted = ["Iteration", "Pass", "Phase", "Seconds", "Threshold", "Masked %", "Masked ml", "Unmasked %"]
    assert list(columns) == wanted
    assert table.GetNumberOfRows() == len(nodes.steps)
    assert nodes.iteration_table.GetLocked()
    shares = [100 * step.scalars["masked_fraction"] for step in nodes.steps]
    assert [columns["Masked %"].GetValue(row) for row in range(len(shares))] == shares
    mls = [columns["Masked ml"].GetValue(row) for row in range(len(shares))]
    assert mls == pytest.approx([share / 100 * nodes.brain_ml for share in shares])
    assert [columns["Iteration"].GetValue(row) for row in range(len(shares))] == list(range(1, len(shares) + 1))


def test_a_use_that_is_refused_leaves_the_anomaly_as_it_is(logic: Any, nodes: Any) -> None:
    found = anomaly_of(nodes)
    slicer.mrmlScene.RemoveNode(nodes.sequence("mask"))
    with pytest.raises(UserError, match="Iteration 3 has no mask"):
        logic.use_iteration(nodes, 2)
    np.testing.assert_array_equal(anomaly_of(nodes), found)
    assert not logic.is_edited(nodes)
