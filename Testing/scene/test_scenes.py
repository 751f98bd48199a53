"""A scene that was saved and opened again holds everything a run made, and so does one that is closed at the wrong moment: nothing broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from IterMask3DLib.scene import names
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import CurveInfo, RunOptions
from Testing.scene.fake_engine import FakeEngine, pump
from Testing.scene.samples import anomaly_of, centred, head_node, oblique, phantom_node, reopened, voxels

VOLUMES = ("heatmap", "reconstruction", "brain")
SEQUENCES = ("maskSequence", "errorSequence", "reconstructionSequence")
TABLES = ("iteration_table", "curve_table", "chosen_table", "lesion_table")


def places(node: Any) -> np.ndarray[Any, Any]:
    """RAS and value of every voxel that is not 0, in one order: what a picture holds, however its array lies."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    affine, array = slicer.util.arrayFromVTKMatrix(matrix), voxels(node)
    index = np.argwhere(array != 0)
    found = np.column_stack([np.round(index @ affine[:3, :3].T + affine[:3, 3], 3), array[array != 0]])
    return found[np.lexsort(found[:, :3].T)]


def cells(table: Any) -> list[list[str]]:
    """What a table shows, numbers to six digits."""

    def shown(value: Any) -> str:
        text = str(value).strip('"')
        try:
            return f"{float(text):.6g}" if text else "nan"
        except ValueError:
            return text

    columns = [table.GetTable().GetColumn(i) for i in range(table.GetTable().GetNumberOfColumns())]
    return [
        [column.GetName(), *(shown(column.GetValue(row)) for row in range(column.GetNumberOfTuples()))]
        for column in columns
    ]


def everything(nodes: ResultNodes) -> dict[str, Any]:
    """All that a result holds, comparable."""
    curve = nodes.curve
    assert curve is not None
    held: dict[str, Any] = {role: places(getattr(nodes, role)) for role in VOLUMES}
    for role in SEQUENCES:
        sequence = getattr(nodes, role)
        for number in range(sequence.GetNumberOfDataNodes()):
            held[f"{role} {sequence.GetNthIndexValue(number)}"] = places(sequence.GetNthDataNode(number))
    segment = nodes.segmentation.GetSegmentation().GetSegment(nodes.segment_id)
    held["anomaly ml"] = int(anomaly_of(nodes).sum())
    held["segment"] = [segment.GetName(), np.round(segment.GetColor(), 3).tolist(), segment.GetTerminology()]
    held["tables"] = {role: cells(getattr(nodes, role)) for role in TABLES}
    held["curve"] = {name: np.asarray(value) for name, value in asdict(curve).items()}
    held["series"] = [nodes.curve_chart.GetNthPlotSeriesNode(i).GetTableNode().GetName() for i in range(3)]
    held["title"] = nodes.curve_chart.GetTitle()
    held["steps"] = [(s.item, s.number, s.phase) for s in nodes.steps]
    held["numbers"] = np.array(
        [
            (s.threshold, s.maskedMl, s.maskedFraction, s.seconds, -1 if s.ratio is None else s.ratio)
            for s in nodes.steps
        ]
    )
    held["options"], held["provenance"], held["record"] = asdict(nodes.options), nodes.provenance, nodes.record
    held["heat window"] = [
        nodes.heatmap.GetDisplayNode().GetWindowLevelMax(),
        nodes.heatmap.GetDisplayNode().GetLowerThreshold(),
    ]
    return held


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, np.ndarray):
            # Six digits are what a table keeps.
            np.testing.assert_allclose(other[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
        elif name == "curve":
            for part in value:
                np.testing.assert_array_equal(other[name][part], value[part], err_msg=part)
        elif name == "heat window":
            assert other[name] == pytest.approx(value, rel=1e-4)
        else:
            assert other[name] == value, name


@pytest.mark.parametrize("ending", [".mrb", ".mrml"])
@pytest.mark.parametrize(
    "directions", [np.diag([4.0, 4.0, 4.0]), oblique(21)[:3, :3] @ np.diag([-4.0, 4.0, 4.0])], ids=["RAS", "turned"]
)
def test_a_scene_that_was_opened_again_holds_everything(
    logic: Any, tmp_path: Path, ending: str, directions: Any
) -> None:
    shape = (48, 56, 48)
    node = head_node(centred(directions, shape), shape)
    nodes = logic.process(node, RunOptions(gamma=0.3, seed=7, passes=9)).nodes
    if ending == ".mrml":
        store_all(tmp_path)
    before = everything(nodes)
    opened = reopened(tmp_path / f"scene{ending}")
    same(before, everything(opened))
    assert opened.options == RunOptions(gamma=0.3, seed=7, passes=9)
    assert isinstance(opened.curve, CurveInfo)
    assert len(logic.delete_lesions(opened, [1])) == len(before["tables"]["lesion_table"][0]) - 2
    for item in (0, len(opened.steps) - 1):
        logic.show_iteration(opened, item)
        np.testing.assert_array_equal(voxels(opened.maskProxy), voxels(opened.maskSequence.GetNthDataNode(item)))
        np.testing.assert_array_equal(voxels(opened.errorProxy), voxels(opened.errorSequence.GetNthDataNode(item)))


def store_all(folder: Path) -> None:
    """Writes every node that a file of its own is for, as the application's save dialog does before it writes a .mrml file."""
    for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
        if node.GetSaveWithScene() and not node.GetHideFromEditors() and node.GetDefaultStorageNodeClassName():
            if node.GetStorageNode() is None:
                node.AddDefaultStorageNode()
            ending = node.GetStorageNode().GetDefaultWriteFileExtension()
            path = folder / f"{node.GetID()}.{ending}"
            node.GetStorageNode().SetFileName(str(path))
            assert node.GetStorageNode().WriteData(node), node.GetName()


def test_the_provenance_names_model_hash_settings_seed_and_versions(
    make_logic: Callable[..., Any], toy: str, tmp_path: Path
) -> None:
    nodes = make_logic().process(phantom_node(), RunOptions(model=toy, gamma=0.5, seed=3, quality="full")).nodes
    card = json.loads((Path(toy) / "card.json").read_text(encoding="utf-8"))
    made = reopened(tmp_path / "scene.mrb").provenance
    assert made["model"] == "toy" and made["model_sha256"] == card["sha256"]
    assert made["seed"] == made["settings"]["seed"] == 3 and made["settings"]["curve"]["gamma"] == 0.5
    assert made["quality"] == "full" and made["settings"]["passes"] == 12 and made["settings"]["visited"] is None
    assert {"itermask3d", "torch", "numpy"} <= set(made["versions"])
    assert made["device"].startswith("cpu") and made["seconds"] > 0
    assert nodes.root is None or made["point_chosen_by"] == "gamma"


def test_two_results_are_told_apart_also_in_a_scene_that_is_added_to_another(
    make_logic: Callable[..., Any], tmp_path: Path
) -> None:
    logic = make_logic(FakeEngine())
    logic.process(phantom_node("one"), RunOptions(passes=5))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"), {})
    slicer.mrmlScene.Clear(False)
    logic.process(phantom_node("two"), RunOptions(passes=7))
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {})
    found = {
        nodes.input.GetName(): len(nodes.curve.thresholds) for nodes in ResultNodes.all() if nodes.curve is not None
    }
    assert found == {"one": 5, "two": 7}
    for nodes in ResultNodes.all():
        assert nodes == ResultNodes.find(nodes.input)
        assert nodes.segmentation.GetName().startswith(nodes.input.GetName())


def test_a_cancelled_run_is_saved_with_what_it_reached(make_logic: Callable[..., Any], tmp_path: Path) -> None:
    engine = FakeEngine(gated=True)
    logic = make_logic(engine)
    node = phantom_node()
    logic.start(node)
    engine.allow(4)
    pump(logic, lambda: (nodes := ResultNodes.find(node)) is not None and len(nodes.steps) == 4)
    logic.cancel()
    engine.allow(1000)
    pump(logic, lambda: not logic.busy)
    kept = len(ResultNodes.all()[0].steps)
    nodes = reopened(tmp_path / "scene.mrb")
    assert len(nodes.steps) == kept == nodes.sequence("mask").GetNumberOfDataNodes() and nodes.curve is None
    logic.use_iteration(nodes, 2)
    assert anomaly_of(nodes).any()


def test_the_nodes_say_what_they_are_by_names_that_older_scenes_rely_on() -> None:
    """Renaming one of these makes saved scenes unreadable."""
    assert (names.ROLE, names.RESULT, names.INPUT, names.BRAIN_MASK) == (
        "IterMask3D.Role",
        "result",
        "IterMask3D.input",
        "IterMask3D.brain_mask",
    )
    assert names.reference("heatmap") == "IterMask3D.heatmap"
    assert (names.STAMP, names.OPTIONS, names.CURVE, names.RECORD, names.PROVENANCE) == (
        "stamp",
        "options",
        "curve",
        "record",
        "provenance",
    )
    assert {*VOLUMES, *SEQUENCES, *TABLES, "segmentation", "browser", "curve_chart"} <= set(names.OWNED)
