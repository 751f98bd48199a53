"""A scene that was saved and opened again holds everything a run made, and so does one of a run that was cancelled."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.nodes import names
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from Testing.scene.engine import Gate, pump, settled
from Testing.scene.samples import anomaly_of, centred, head_node, oblique, phantom_node, reopened, voxels

VOLUMES = ("layer.heatmap", "layer.reconstruction", "brain")
SEQUENCES = ("step.mask", "step.error_map", "step.reconstruction")
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
    held: dict[str, Any] = {role: places(nodes.node(role)) for role in VOLUMES}
    for role in SEQUENCES:
        sequence = nodes.node(role)
        for number in range(sequence.GetNumberOfDataNodes()):
            held[f"{role} {sequence.GetNthIndexValue(number)}"] = places(sequence.GetNthDataNode(number))
    segment = nodes.segmentation.GetSegmentation().GetSegment(nodes.segment_id)
    held["anomaly voxels"] = int(anomaly_of(nodes).sum())
    held["segment"] = [segment.GetName(), np.round(segment.GetColor(), 3).tolist(), segment.GetTerminology()]
    held["tables"] = {role: cells(nodes.node(role)) for role in TABLES}
    held["artifacts"], held["outcome"], held["request"] = nodes.artifacts, nodes.outcome, asdict(nodes.request)
    held["series"] = [nodes.curve_chart.GetNthPlotSeriesNode(i).GetTableNode().GetName() for i in range(3)]
    held["title"] = nodes.curve_chart.GetTitle()
    held["log"] = nodes.curve_chart.GetYAxisLogScale()
    held["steps"] = [(s.number, s.phase, sorted(s.scalars)) for s in nodes.steps]
    held["numbers"] = np.array([[s.seconds, *s.scalars.values()][:3] for s in nodes.steps])
    held["kinds"], held["brain ml"], held["run id"] = nodes.step_layers, nodes.brain_ml, nodes.run_id
    display = nodes.heatmap.GetDisplayNode()
    held["heat window"] = [display.GetWindowLevelMax(), display.GetLowerThreshold()]
    return held


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, np.ndarray):
            # Six digits are what a table keeps.
            np.testing.assert_allclose(other[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
        elif name == "heat window":
            assert other[name] == pytest.approx(value, rel=1e-4)
        else:
            assert other[name] == value, name


@pytest.mark.parametrize(("ending", "own"), [(".mrb", False), (".mrb", True), (".mrml", False)])
@pytest.mark.parametrize(
    "directions", [np.diag([4.0, 4.0, 4.0]), oblique(21)[:3, :3] @ np.diag([-4.0, 4.0, 4.0])], ids=["RAS", "turned"]
)
def test_a_scene_that_was_opened_again_holds_everything(
    logic: Any, choices: Request, tmp_path: Path, ending: str, own: bool, directions: Any
) -> None:
    shape = (48, 56, 48)
    node = head_node(centred(directions, shape), shape)
    wanted = replace(choices, seed=7, settings={"median_multiple": 100.0, "sweep_passes": 5})
    nodes = logic.process(node, wanted).nodes
    if ending == ".mrml":
        store_all(tmp_path)
    before = everything(nodes)
    opened = reopened(tmp_path / f"scene{ending}", own)
    same(before, everything(opened))
    assert opened.request == wanted and isinstance(opened.curve, ThresholdCurve)
    assert len(logic.reject_lesions(opened, [1])) == len(before["tables"]["lesion_table"][0]) - 2
    for item in (0, len(opened.steps) - 1):
        logic.show_iteration(opened, item)
        for layer in ("mask", "error_map"):
            kept = opened.sequence(layer).GetNthDataNode(item)
            np.testing.assert_array_equal(voxels(opened.proxy(layer)), voxels(kept))


def store_all(folder: Path) -> None:
    """Writes every node that has a file of its own, as the application does before it writes a .mrml file."""
    for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
        if node.GetSaveWithScene() and not node.GetHideFromEditors() and node.GetDefaultStorageNodeClassName():
            if node.GetStorageNode() is None:
                node.AddDefaultStorageNode()
            ending = node.GetStorageNode().GetDefaultWriteFileExtension()
            path = folder / f"{node.GetID()}.{ending}"
            node.GetStorageNode().SetFileName(str(path))
            assert node.GetStorageNode().WriteData(node), node.GetName()


def test_the_provenance_names_model_hash_settings_seed_and_versions(logic: Any, toy: str, tmp_path: Path) -> None:
    wanted = Request(model=toy, device="cpu", backend="pytorch", quality="full", seed=3, settings={"gamma": 0.5})
    logic.process(phantom_node(), wanted)
    card = json.loads((Path(toy) / "card.json").read_text(encoding="utf-8"))
    made = reopened(tmp_path / "scene.mrb").provenance
    assert made["model"] == "toy" and made["model_sha256"] == card["files"] and made["method"] == "itermask3d"
    assert made["seed"] == made["request"]["seed"] == 3 and made["settings"]["gamma"] == 0.5
    assert made["request"]["quality"] == "full" and made["settings"]["sweep_passes"] == 12
    assert made["settings"]["visited"] is None and {"itermask3d", "torch", "numpy"} <= set(made["versions"])
    assert made["device"].startswith("cpu") and made["seconds"] > 0


def test_two_results_are_told_apart_also_in_a_scene_that_is_added_to_another(
    logic: Any, choices: Request, tmp_path: Path
) -> None:
    logic.process(phantom_node("one"), replace(choices, settings={"sweep_passes": 5}))
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"), {})
    slicer.mrmlScene.Clear(False)
    logic.process(phantom_node("two"), replace(choices, settings={"sweep_passes": 7}))
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), {})
    found = {nodes.input.GetName(): len(nodes.curve.thresholds) for nodes in ResultNodes.all() if nodes.curve}
    assert found == {"one": 5, "two": 7}
    for nodes in ResultNodes.all():
        assert nodes == ResultNodes.find(nodes.input)
        assert nodes.segmentation.GetName().startswith(nodes.input.GetName())


def test_a_cancelled_run_is_saved_with_what_it_reached(
    logic: Any, gate: Gate, choices: Request, tmp_path: Path
) -> None:
    node = phantom_node()
    gate.allow(3)
    # More passes than the engine may be ahead.
    logic.start(node, replace(choices, settings={"sweep_passes": 30}))
    pump(logic, lambda: (nodes := ResultNodes.find(node)) is not None and len(nodes.steps) == 3)
    logic.cancel()
    gate.allow(None)
    settled(logic)
    kept = len(ResultNodes.all()[0].steps)
    nodes = reopened(tmp_path / "scene.mrb")
    assert len(nodes.steps) == kept == nodes.sequence("mask").GetNumberOfDataNodes() and nodes.curve is None
    logic.use_iteration(nodes, 2)
    assert anomaly_of(nodes).any()


def test_the_nodes_say_what_they_are_by_names_that_scenes_rely_on(logic: Any, choices: Request) -> None:
    """Renaming one of these makes saved scenes unreadable."""
    nodes = logic.process(phantom_node(), choices).nodes
    assert nodes.root.GetAttribute("IterMask3D.Role") == "result"
    assert nodes.root.GetNodeReference("IterMask3D.input") is nodes.input
    for role in (*VOLUMES, *SEQUENCES, *TABLES, "segmentation", "browser", "curve_chart"):
        node = nodes.root.GetNodeReference(f"IterMask3D.{role}")
        assert node is not None and node.GetAttribute("IterMask3D.Role") == role
    parameters = {"format", "run_id", "request", "channels", "artifacts", "outcome", "brain_ml", "segment", "folder"}
    assert {name for name in parameters if not nodes.root.GetParameter(name)} == set()
    assert names.BRAIN_MASK == "IterMask3D.brainMask"
    # Selectors leave the module's nodes out, those that a browser makes too.
    logic.show_iteration(nodes, 1)
    for layer in nodes.step_layers:
        assert nodes.proxy(layer).GetAttribute("IterMask3D.Role") == f"step.{layer}"
    assert nodes.input.GetAttribute("IterMask3D.Role") is None
