"""A result on 240 x 240 x 155 voxels of 1 mm: nothing on the main thread computes for a tenth of a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import MASK, LayerKind, Step
from IterMask3DLib.scene.nodes import segmentations, sequences
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.nodes.volumes import set_voxels
from IterMask3DLib.scene.records import RunProgress
from Testing.scene.samples import anomaly_of, volume_node, voxels

LIMIT_S = 0.1
SHAPE, MODEL_SHAPE, PASSES = (155, 240, 240), (80, 96, 80), 5
BALL_MM, SPOTS = 67.5, 12


def ball(shape: tuple[int, ...], radius: float) -> NDArray[np.bool_]:
    """A ball in the middle [k, j, i]."""
    k, j, i = (np.arange(size, dtype=np.float32) - (size - 1) / 2 for size in shape)
    return (k**2)[:, None, None] + (j**2)[:, None] + i**2 <= radius**2


@pytest.fixture
def nodes() -> ResultNodes:
    """The result of a run: noise that does not compress, and an anomaly of 1.3 litres with twelve small ones."""
    random, affine = np.random.default_rng(0), np.diag([1.0, 1.0, 1.0, 1.0])
    head, anomaly = ball(SHAPE, 90), ball(SHAPE, BALL_MM)
    for number in range(SPOTS):
        anomaly[5:9, 5 + 15 * number : 9 + 15 * number, 5:9] = True
    noise = random.exponential(1, SHAPE).astype(np.float32)
    values = np.where(head, 200 + 100 * noise, 0).astype(np.int16)
    volume = volume_node(values.T, affine, "head")
    nodes = ResultNodes.create({"T1w": volume})
    nodes.begin("run", Request(), {"T1w": volume}, None)
    sequences.begin_iterations(nodes)
    for item in range(PASSES):
        mask = ball(MODEL_SHAPE, 39 - item).astype(np.uint8)
        error = mask * noise[item : item + 80, :96, :80]
        rebuilt = (200 + 100 * error).astype(np.int16)
        for name, kind, array in (
            (MASK, LayerKind.MASK, mask),
            ("error_map", LayerKind.SCORE, error),
            ("reconstruction", LayerKind.INTENSITY, rebuilt),
        ):
            sequences.write_volume(nodes, name, kind, item, array, np.diag([2.0, 2.0, 2.0, 1.0]))
        sequences.append(nodes, Step(item + 1, PASSES, "sweep", 0.5, {"masked_fraction": 0.5}))
    heat = nodes.own("layer.heatmap", "heatmap", "vtkMRMLScalarVolumeNode")
    set_voxels(heat, head * noise, affine)
    set_voxels(nodes.own("brain", "brain mask"), head.view(np.uint8), affine)
    segmentations.ensure_segmentation(nodes)
    segmentations.write_segment(nodes.segmentation, segmentations.ensure_segment(nodes), anomaly.view(np.uint8), volume)
    return nodes


def longest(logic: Any, call: Callable[[], None]) -> float:
    """Seconds of the longest computation until what was started has ended; checks that nothing stands in its way."""
    found = []
    step: Callable[[], None] = call
    while step is call or logic.busy:
        start = time.thread_time()
        step()
        found.append(time.thread_time() - start)
        step = logic.poll
    return max(found)


def content() -> dict[str, Any]:
    """Every volume of the scene, those of the sequences too, with what a sequence says of itself."""
    found: dict[str, Any] = {}
    for node in slicer.util.getNodesByClass("vtkMRMLVolumeNode"):
        found[node.GetName()] = voxels(node)
    for node in slicer.util.getNodesByClass("vtkMRMLSequenceNode"):
        frames = [node.GetNthDataNode(number) for number in range(node.GetNumberOfDataNodes())]
        about = [(frame.GetClassName(), frame.GetAttribute("IterMask3D.Role")) for frame in frames]
        values = [node.GetNthIndexValue(number) for number in range(len(frames))]
        found[node.GetName()] = np.stack([voxels(frame) for frame in frames])
        items = [*about, *values, node.GetIndexName(), node.GetIndexTypeAsString()]
        found[f"{node.GetName()}: items"] = np.array(list(map(str, items)))
    return found


def test_saving_the_scene_keeps_nobody_waiting_and_everything_is_there(
    logic: Any, nodes: ResultNodes, tmp_path: Path
) -> None:
    told: list[RunProgress] = []
    written: list[Path] = []
    what = {"on_progress": told.append, "on_done": written.extend}
    before, anomaly, place = content(), anomaly_of(nodes), slicer.mrmlScene.GetURL()
    names = {node.GetID(): node.GetFileName() for node in slicer.util.getNodesByClass("vtkMRMLStorageNode")}
    assert longest(logic, lambda: logic.save(nodes, tmp_path, ("scene",), **what)) < LIMIT_S
    assert written == [tmp_path / "head_scene.mrb"] == list(tmp_path.iterdir())
    shares = [progress.fraction for progress in told]
    assert len(shares) > 50 and shares == sorted(shares) and "scene" in told[-1].text
    assert slicer.mrmlScene.GetURL() == place
    for node in slicer.util.getNodesByClass("vtkMRMLStorageNode"):
        assert node.GetFileName() == names.get(node.GetID())
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(written[0]), {})
    after = content()
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    np.testing.assert_array_equal(anomaly_of(ResultNodes.all()[0]), anomaly)


def test_rejecting_a_lesion_of_a_large_anomaly_keeps_nobody_waiting(logic: Any, nodes: ResultNodes) -> None:
    measured = logic.measure_lesions(nodes)
    assert len(measured) == 1 + SPOTS and measured[0].volume_ml > 1200
    before = anomaly_of(nodes)
    assert longest(logic, lambda: logic.reject_lesions(nodes, [2])) < LIMIT_S
    assert int(before.sum() - anomaly_of(nodes).sum()) == measured[1].voxels
    assert longest(logic, lambda: logic.reject_lesions(nodes, [1])) < LIMIT_S
    assert [lesion.voxels for lesion in logic.lesions(nodes)] == [64] * (SPOTS - 1)
    with pytest.raises(UserError, match="There is no lesion 12"):
        logic.reject_lesions(nodes, [12])
