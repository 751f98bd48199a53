"""Every iteration of a run can be looked at and used: mask, error map, reconstruction and numbers in lock-step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import load_model
from IterMask3DLib.methods.itermask3d.loop import refine
from IterMask3DLib.run import Request, study
from IterMask3DLib.scene import jobs
from IterMask3DLib.scene.geometry import volumeOf
from IterMask3DLib.scene.records import RunOptions, StepInfo
from Testing.scene.fake_engine import FakeEngine
from Testing.scene.samples import anomaly_of, phantom_node, reopened, voxels


@pytest.fixture
def nodes(logic: Any) -> Any:
    return logic.process(phantom_node()).nodes


def test_each_iteration_shows_what_the_network_made_of_it(make_logic: Callable[..., Any], toy: str) -> None:
    logic = make_logic()
    nodes = logic.process(phantom_node(), RunOptions(model=toy, gamma=0.5, quality="full")).nodes
    made = study(volumeOf(nodes.input), load_model(Path(toy)), Request(gamma=0.5, quality="full"))
    scaled = made.prepared.scaled
    count = 0
    for item, step in enumerate(refine(made.case, made.runner, made.settings)):
        info = logic.show_iteration(nodes, item)
        np.testing.assert_array_equal(voxels(nodes.proxy("mask")) > 0, step.mask.unpack())
        np.testing.assert_allclose(voxels(nodes.proxy("error_map")), step.error_map(), rtol=1e-3, atol=1e-6)
        seen = np.where(made.case.brain, step.reconstruction() * scaled.factor + scaled.offset, 0)
        np.testing.assert_allclose(voxels(nodes.proxy("reconstruction")), seen, atol=0.5)
        assert (info.item, info.number, info.phase) == (item, step.number, step.phase)
        assert info.threshold == step.threshold and info.maskedFraction == pytest.approx(step.masked_fraction)
        assert info.maskedMl == pytest.approx(step.mask.unpack().sum() * 4**3 / 1000)
        assert info.ratio == (None if step.ratio is None else pytest.approx(step.ratio))
        assert info.seconds > 0
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
    assert isinstance(logic.step(nodes, count - 1), StepInfo)
    for call in (logic.show_iteration, logic.use_iteration, logic.edit_iteration):
        with pytest.raises(UserError, match=f"There is no iteration {count + 1}"):
            call(nodes, count)


def test_the_mask_of_an_iteration_becomes_the_anomaly(logic: Any, nodes: Any) -> None:
    found = anomaly_of(nodes)
    logic.use_iteration(nodes, 5)
    mask = nodes.sequence("mask").GetNthDataNode(5)
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
    area = slicer.util.arrayFromSegmentBinaryLabelmap(first, segment, nodes.input).sum()
    count = slicer.mrmlScene.GetNumberOfNodes()
    second, segment = logic.edit_iteration(nodes, 8)
    assert second is first is nodes.edited_mask and slicer.mrmlScene.GetNumberOfNodes() == count
    assert second.GetSegmentation().GetNumberOfSegments() == 1
    assert slicer.util.arrayFromSegmentBinaryLabelmap(second, segment, nodes.input).sum() < area
    assert second.GetNodeReference(second.GetReferenceImageGeometryReferenceRole()) is nodes.input


@pytest.mark.parametrize("opened", [False, True])
def test_where_memory_is_short_every_mask_is_kept_and_the_browser_shows_the_last_error_map_before(
    make_logic: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, opened: bool, tmp_path: Path
) -> None:
    monkeypatch.setattr(jobs, "SERIES_BYTES", 22 * 48**3 * 6 // 3)
    logic = make_logic(FakeEngine())
    nodes = logic.process(phantom_node()).nodes
    if opened:
        nodes = reopened(tmp_path / "scene.mrb")
    sweeps = sum(step.phase == "sweep" for step in nodes.steps)
    shrinks = len(nodes.steps) - sweeps
    assert nodes.sequence("mask").GetNumberOfDataNodes() == len(nodes.steps)
    assert nodes.sequence("error_map").GetNumberOfDataNodes() == sweeps // 3 + shrinks
    for item in range(len(nodes.steps)):
        logic.show_iteration(nodes, item)
        shown = item if item >= sweeps else item - item % 3
        expected = nodes.sequence("error_map").GetDataNodeAtValue(str(shown + 1))
        np.testing.assert_array_equal(voxels(nodes.proxy("error_map")), voxels(expected))
        np.testing.assert_array_equal(voxels(nodes.proxy("mask")), voxels(nodes.sequence("mask").GetNthDataNode(item)))


def test_the_numbers_are_a_table_a_user_can_read(nodes: Any) -> None:
    table = nodes.iteration_table.GetTable()
    names = [table.GetColumnName(i) for i in range(table.GetNumberOfColumns())]
    assert names == ["Iteration", "Pass", "Phase", "Threshold", "Masked ml", "Masked %", "Seconds", "Lifted %"]
    assert table.GetNumberOfRows() == len(nodes.steps)
    assert nodes.iteration_table.GetLocked()
