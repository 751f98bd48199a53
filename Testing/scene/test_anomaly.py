"""The segment: how it says who made it, where it stands, and that nothing of the user's is overwritten; its lesions."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from scipy import ndimage

from IterMask3DLib import __version__
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes, is_ours
from IterMask3DLib.scene.records import NeedsConfirmation, found_text
from Testing.scene.engine import Gate, pump, settled
from Testing.scene.samples import anomaly_of, centred, phantom_node, reopened, volume_node, voxels


def tag(nodes: ResultNodes, name: str) -> str:
    value = vtk.reference("")
    nodes.segmentation.GetSegmentation().GetSegment(nodes.segment_id).GetTag(name, value)
    return str(value)


def made(nodes: ResultNodes) -> tuple[str, str]:
    return tag(nodes, "DICOM.SegmentAlgorithmType"), tag(nodes, "DICOM.SegmentAlgorithmName")


AUTOMATIC = ("AUTOMATIC", f"IterMask3D {__version__}")
EDITED = ("SEMIAUTOMATIC", f"IterMask3D {__version__}, edited")


def write(nodes: ResultNodes, mask: Any, segment_id: str = "") -> None:
    """What an effect of the Segment Editor does to a segment."""
    array = np.ascontiguousarray(mask.T).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        array, nodes.segmentation, segment_id or nodes.segment_id, nodes.input
    )


def children(item: int) -> list[str]:
    """Names of the items under one of the subject hierarchy."""
    hierarchy, found = slicer.mrmlScene.GetSubjectHierarchyNode(), vtk.vtkIdList()
    hierarchy.GetItemChildren(item, found)
    return [hierarchy.GetItemName(found.GetId(index)) for index in range(found.GetNumberOfIds())]


def three_spots() -> Any:
    """A brain with three bright spots of 8, 4 and 2 voxels' radius apart from each other."""
    shape = (44, 52, 44)
    i, j, k = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    brain = ((i - 21.5) / 17) ** 2 + ((j - 25.5) / 20) ** 2 + ((k - 21.5) / 16) ** 2 <= 1
    values = 300 + 12 * np.sin(i / 3) + 8 * np.cos(j / 4)
    for (x, y, z), radius in (((14, 26, 22), 3.6), ((30, 18, 20), 2.5), ((27, 34, 26), 1.5)):
        values[(i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2 <= radius**2] = 650
    return volume_node(np.where(brain, values, 0).astype(np.int16), centred(np.diag([4.0, -4.0, 4.0]), shape))


@pytest.fixture
def spots(choices: Request) -> Request:
    """Choices that find the three spots and nothing else."""
    return replace(choices, settings={"median_multiple": 20.0})


@pytest.fixture
def nodes(logic: Any, spots: Request) -> ResultNodes:
    return logic.process(three_spots(), spots).nodes


def edit(nodes: ResultNodes) -> Any:
    """Erases a part of the anomaly as a user does; gives what is left."""
    mask = anomaly_of(nodes)
    mask[14:16, 26, 22] = False
    write(nodes, mask)
    return mask


def test_an_automatic_result_says_so_until_the_user_edits_it(logic: Any, nodes: ResultNodes, spots: Request) -> None:
    edited: list[ResultNodes] = []
    logic.on_edited = edited.append
    assert made(nodes) == AUTOMATIC and not logic.is_edited(nodes)
    edit(nodes)
    assert made(nodes) == EDITED and set(edited) == {nodes} and logic.is_edited(nodes)
    edited.clear()
    logic.process(nodes.input, spots, when_edited="replace")
    assert made(nodes) == AUTOMATIC and not edited and not logic.is_edited(nodes)


def test_a_run_on_an_edited_anomaly_asks_first(logic: Any, nodes: ResultNodes, spots: Request) -> None:
    left = edit(nodes)
    sentence = "The anomaly of brain was edited; keep it and write a new segmentation, or replace it"
    with pytest.raises(NeedsConfirmation, match=sentence):
        logic.start(nodes.input, spots)
    with pytest.raises(NeedsConfirmation, match=sentence):
        logic.choose_again(nodes, gamma=0.1)
    segmentation, segment_id = logic.edit_iteration(nodes, 3)
    with pytest.raises(NeedsConfirmation, match=sentence):
        logic.continue_from(nodes, segmentation, segment_id)
    assert not logic.busy
    np.testing.assert_array_equal(anomaly_of(nodes), left)


@pytest.mark.parametrize("how", ["segment", "choose again"])
def test_a_new_segmentation_leaves_the_edited_one_to_the_user(
    logic: Any, nodes: ResultNodes, spots: Request, how: str
) -> None:
    found = anomaly_of(nodes)
    left, mine, segment_id = edit(nodes), nodes.segmentation, nodes.segment_id
    if how == "segment":
        logic.process(nodes.input, spots, when_edited="new")
    else:
        logic.wait_for(logic.choose_again, nodes, settings={"start": "best"}, when_edited="new")
    assert nodes.segmentation is not mine and nodes.segmentation.GetName() != mine.GetName()
    assert made(nodes) == AUTOMATIC and not is_ours(mine)
    np.testing.assert_array_equal(anomaly_of(nodes), found)
    kept = slicer.util.arrayFromSegmentBinaryLabelmap(mine, segment_id, nodes.input).T > 0
    np.testing.assert_array_equal(kept, left)
    # The same again is asked no more: nobody has edited the new one.
    logic.process(nodes.input, spots)


def test_what_is_edited_during_a_run_is_not_overwritten_either(
    logic: Any, gate: Gate, nodes: ResultNodes, spots: Request
) -> None:
    mine, segment_id = nodes.segmentation, nodes.segment_id
    told: list[str] = []
    gate.allow(2)
    logic.start(nodes.input, spots, when_edited="replace", on_log=told.append)
    pump(logic, lambda: len(nodes.steps) == 2)
    left = edit(nodes)
    gate.allow(None)
    settled(logic)
    assert nodes.segmentation is not mine
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(mine, segment_id, nodes.input).T > 0, left)
    assert any("edited during the run" in text for text in told)


def test_that_an_anomaly_was_edited_is_known_in_a_scene_that_was_opened_again(
    logic: Any, nodes: ResultNodes, spots: Request, tmp_path: Path
) -> None:
    edit(nodes)
    opened = reopened(tmp_path / "scene.mrb")
    with pytest.raises(NeedsConfirmation):
        logic.start(opened.input, spots)


@pytest.mark.parametrize(
    "change",
    [
        lambda logic, nodes: logic.use_iteration(nodes, 1),
        lambda logic, nodes: logic.threshold_heatmap(nodes, 0.05),
        lambda logic, nodes: logic.reject_lesions(nodes, [2]),
    ],
    ids=["use an iteration", "threshold", "reject"],
)
def test_what_the_user_does_through_the_panel_counts_as_editing_and_can_be_undone(
    logic: Any, nodes: ResultNodes, change: Callable[..., Any]
) -> None:
    checkpoints: list[int] = []
    logic.before_write = lambda node: checkpoints.append(int(anomaly_of(nodes).sum()))
    before = int(anomaly_of(nodes).sum())
    change(logic, nodes)
    assert made(nodes) == EDITED and logic.is_edited(nodes)
    assert checkpoints == [before] and int(anomaly_of(nodes).sum()) != before


def test_a_run_lets_the_user_save_the_undo_state_before_it_writes(
    logic: Any, nodes: ResultNodes, spots: Request
) -> None:
    seen: list[tuple[Any, int]] = []
    logic.before_write = lambda node: seen.append((node, node.GetSegmentation().GetNumberOfSegments()))
    logic.process(nodes.input, spots)
    logic.process(phantom_node("new"), spots)
    assert seen[0] == (nodes.segmentation, 1)
    assert len(seen) == 2 and seen[1][1] == 0


def test_going_on_from_an_edited_mask_gives_a_semiautomatic_result_and_another_gamma_an_automatic_one(
    logic: Any, nodes: ResultNodes
) -> None:
    segmentation, segment_id = logic.edit_iteration(nodes, 3)
    logic.wait_for(logic.continue_from, nodes, segmentation, segment_id)
    # By a person's hand, but nobody's work that could be lost.
    assert made(nodes) == EDITED and not logic.is_edited(nodes)
    logic.wait_for(logic.choose_again, nodes, gamma=0.1)
    assert made(nodes) == AUTOMATIC


def test_editing_another_segment_or_another_segmentation_is_not_editing_the_anomaly(
    logic: Any, nodes: ResultNodes
) -> None:
    other = nodes.segmentation.GetSegmentation().AddEmptySegment("", "Ventricles")
    write(nodes, voxels(nodes.input) == 650, other)
    segmentation, _ = logic.edit_iteration(nodes, 3)
    assert segmentation is not nodes.segmentation
    assert made(nodes) == AUTOMATIC


def test_edits_are_noticed_in_a_scene_that_was_opened_again(logic: Any, nodes: ResultNodes, tmp_path: Path) -> None:
    found = anomaly_of(nodes)
    opened = reopened(tmp_path / "scene.mrb")
    assert made(opened) == AUTOMATIC
    write(opened, found & (np.arange(44) < 20)[:, None, None])
    assert made(opened) == EDITED


def test_the_segment_has_name_colour_terminology_and_the_grid_of_the_input(nodes: ResultNodes) -> None:
    segment = nodes.segmentation.GetSegmentation().GetSegment(nodes.segment_id)
    assert segment.GetName() == "Anomaly" and segment.GetColor() == pytest.approx((1.0, 0.3, 0.1))
    assert "Morphologically Altered Structure" in segment.GetTerminology() and "Brain" in segment.GetTerminology()
    assert (
        nodes.segmentation.GetNodeReference(nodes.segmentation.GetReferenceImageGeometryReferenceRole()) is nodes.input
    )


def test_the_segmentation_stands_under_the_study_of_the_volume_and_the_rest_in_one_folder_there(
    logic: Any, spots: Request
) -> None:
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    volume = three_spots()
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Patient")
    study = hierarchy.CreateStudyItem(patient, "Study")
    hierarchy.CreateItem(study, volume)
    nodes = logic.process(volume, spots).nodes
    logic.edit_iteration(nodes, 2)
    logic.process(volume, spots)
    item = hierarchy.GetItemByDataNode
    assert hierarchy.GetItemParent(item(nodes.segmentation)) == study
    (folder,) = {
        hierarchy.GetItemParent(item(node))
        for node in (nodes.heatmap, nodes.browser, nodes.lesion_table, nodes.edited_mask)
    }
    assert hierarchy.GetItemName(folder) == "brain IterMask3D" and hierarchy.GetItemParent(folder) == study
    assert len(children(study)) == 3
    nodes.remove()
    assert children(study) == ["brain"]


def test_a_result_that_is_removed_leaves_nothing_but_the_volume_and_the_colours(logic: Any, spots: Request) -> None:
    volume = three_spots()
    logic.process(phantom_node("first"), spots)
    before = sorted(
        node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode") if "Color" not in node.GetClassName()
    )
    logic.process(volume, spots)
    nodes = ResultNodes.find(volume)
    assert nodes is not None
    nodes.remove()
    after = sorted(
        node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode") if "Color" not in node.GetClassName()
    )
    assert after == before and ResultNodes.find(volume) is None


def test_lesions_are_measured_in_millilitres_errors_and_ras(logic: Any, nodes: ResultNodes) -> None:
    found, count = ndimage.label(anomaly_of(nodes), np.ones((3, 3, 3)))
    rows = logic.lesions(nodes)
    assert count == len(rows) == 3
    assert [row.number for row in rows] == [1, 2, 3]
    assert sorted((row.volume_ml for row in rows), reverse=True) == [row.volume_ml for row in rows]
    heatmap = voxels(nodes.heatmap)
    for row in rows:
        label = next(n for n in (1, 2, 3) if (found == n).sum() * 0.064 == pytest.approx(row.volume_ml))
        here = found == label
        assert row.mean_score == pytest.approx(heatmap[here].mean()) and row.peak_score == pytest.approx(
            heatmap[here].max()
        )
        i, j, k = np.argwhere(here).mean(axis=0)
        # Of the grid in `three_spots`: 4 mm, j runs to posterior, its middle in the middle of space.
        assert row.centroid_ras == pytest.approx((4 * (i - 21.5), -4 * (j - 25.5), 4 * (k - 21.5)), abs=1e-3)


def test_lesions_can_be_rejected_and_what_was_accepted_stays_so(logic: Any, nodes: ResultNodes) -> None:
    before, rows = anomaly_of(nodes), logic.lesions(nodes)
    logic.accept_lesions(nodes, [3])
    left = logic.reject_lesions(nodes, [2])
    assert [row.volume_ml for row in left] == [rows[0].volume_ml, rows[2].volume_ml] and [
        row.number for row in left
    ] == [1, 2]
    assert logic.lesions(nodes) == left
    assert (anomaly_of(nodes) & ~before).sum() == 0
    assert logic.accepted_lesions(nodes) == {2}, "the one that was the third"
    kept = logic.reject_lesions(nodes, [1])
    assert [row.centroid_ras for row in kept] == [rows[2].centroid_ras] and logic.accepted_lesions(nodes) == {1}
    assert anomaly_of(nodes).sum() * 0.064 == pytest.approx(rows[2].volume_ml)
    assert logic.reject_lesions(nodes, [1]) == [] and not anomaly_of(nodes).any()
    with pytest.raises(UserError, match="There is no lesion 1; measure the lesions again"):
        logic.reject_lesions(nodes, [1])


def test_numbers_of_lesions_the_user_has_edited_since_are_refused_until_measured_again(
    logic: Any, nodes: ResultNodes
) -> None:
    found = anomaly_of(nodes)
    largest = logic.lesions(nodes)[0]
    write(nodes, found & (np.arange(44) > 20)[:, None, None])
    with pytest.raises(UserError, match="The anomaly has changed since its lesions were measured; measure them again"):
        logic.reject_lesions(nodes, [1])
    rows = logic.measure_lesions(nodes)
    assert len(rows) == 2 and largest not in rows
    assert len(logic.reject_lesions(nodes, [1])) == 1


def test_slices_jump_to_a_lesion(logic: Any, nodes: ResultNodes) -> None:
    slice_ = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    lesion = logic.lesions(nodes)[1]
    logic.jump_to_lesion(nodes, 2)
    matrix = slice_.GetSliceToRAS()
    assert [matrix.GetElement(axis, 3) for axis in range(3)] == pytest.approx(lesion.centroid_ras, abs=1e-6)
    with pytest.raises(UserError, match="There is no lesion 9"):
        logic.jump_to_lesion(nodes, 9)


def test_the_lesions_are_saved_with_the_columns_of_the_command_line(
    logic: Any, nodes: ResultNodes, tmp_path: Path
) -> None:
    path = logic.save_lesions(nodes, tmp_path / "lesions.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["volume_ml"]) for row in rows] == pytest.approx(
        [row.volume_ml for row in logic.lesions(nodes)], abs=1e-4
    )
    assert sum(int(row["voxels"]) for row in rows) == anomaly_of(nodes).sum()
    with pytest.raises(UserError, match="cannot be written"):
        logic.save_lesions(nodes, tmp_path / "nowhere" / "lesions.csv")


def test_an_empty_anomaly_has_no_lesions_and_can_be_saved(logic: Any, nodes: ResultNodes, tmp_path: Path) -> None:
    assert logic.threshold_heatmap(nodes, 1e6) == 0
    assert logic.measure_lesions(nodes) == [] and not anomaly_of(nodes).any()
    assert logic.save_lesions(nodes, tmp_path / "none.csv").read_text(encoding="utf-8").count("\n") == 1


def test_what_was_found_is_said_in_words_that_fit_its_number(logic: Any, choices: Request) -> None:
    assert [found_text(*found) for found in ((0.0, 0), (1.25, 1), (3.0, 2))] == [
        "no anomaly",
        "1.2 ml in 1 lesion",
        "3.0 ml in 2 lesions",
    ]
    nothing = replace(choices, settings={"median_multiple": 1e5})
    summary = logic.process(phantom_node(), nothing)
    assert summary.anomaly_ml == 0 and summary.text.startswith("No anomaly, ")
