"""The bundled brain with the bundled model, through the scene: the same as the command line, and the main thread stays free."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from IterMask3DLib.models.store import find_model, load_model
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import Request, segment
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import RunOptions
from Testing.scene.fake_engine import Clicker
from Testing.scene.samples import anomaly_of, brain_node, reopened, voxels

PASSES = 8
SLOWEST_S = 0.1


def run(logic: Any, timer: Clicker, begin: Callable[..., Any]) -> tuple[Any, list[float]]:
    """Ticks as the application does until the run has ended; the CPU seconds of the main thread in each tick, and in the call itself."""
    done: list[Any] = []
    costs = []
    clock = time.thread_time()
    begin(on_done=done.append)
    costs.append(time.thread_time() - clock)
    while logic.busy:
        logic._runs._worker.wait(0.1)
        clock = time.thread_time()
        timer.tick()
        costs.append(time.thread_time() - clock)
    (summary,) = done
    return summary, costs


def test_the_bundled_brain_in_the_scene_is_segmented_as_by_the_command_line_without_holding_the_main_thread(
    make_logic: Callable[..., Any], tmp_path: Path
) -> None:
    timers: list[Clicker] = []
    logic = make_logic(None, lambda call: timers.append(Clicker(call)) or timers[-1])
    node = brain_node()
    options = RunOptions(passes=PASSES, seed=1)
    summary, costs = run(logic, timers[0], lambda **hears: logic.start(node, options, **hears))
    nodes = summary.nodes
    outcome = segment(read_image(str(sample_volume())), load_model(find_model(None)), Request(passes=PASSES, seed=1))
    np.testing.assert_array_equal(anomaly_of(nodes), outcome.anomaly)
    np.testing.assert_array_equal(voxels(nodes.heatmap), outcome.heatmap)
    assert summary.anomaly_ml > 0 and nodes.provenance["model_sha256"] == outcome.provenance["model_sha256"]
    assert max(costs) < SLOWEST_S, f"the longest call took {max(costs):.3f} s"

    point = max(nodes.curve.chosen - 1, 0)
    _, costs = run(logic, timers[0], lambda **hears: logic.choose_again(nodes, point=point, **hears))
    again = (anomaly_of(nodes), voxels(nodes.heatmap))
    assert max(costs) < SLOWEST_S, f"the longest call took {max(costs):.3f} s"
    opened = reopened(tmp_path / "scene.mrb")
    assert opened == ResultNodes.find(slicer.util.getNode(node.GetName()))
    other = make_logic(None, lambda call: timers.append(Clicker(call)) or timers[-1])
    run(other, timers[-1], lambda **hears: other.choose_again(opened, point=point, **hears))
    np.testing.assert_array_equal(anomaly_of(opened), again[0])
    np.testing.assert_array_equal(voxels(opened.heatmap), again[1])
