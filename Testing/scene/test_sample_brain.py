"""The bundled brain with the bundled model, through the scene: as without it, and the main thread stays free."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from IterMask3DLib.core.image import Case
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.result import ANOMALY, HEATMAP
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import finish, run_case
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.run.engine_client import engine_command
from IterMask3DLib.scene.run.transport import Command, pipes_to
from Testing.scene.engine import Clicker
from Testing.scene.samples import anomaly_of, brain_node, reopened, voxels

SLOWEST_S = 0.1
REQUEST = Request(model="t1w-2mm", device="cpu", backend="pytorch", seed=1, settings={"sweep_passes": 8})


def run(logic: Any, timer: Clicker, begin: Callable[..., Any]) -> tuple[Any, list[float]]:
    """Ticks as the application does until the run has ended.

    Gives its end, and the CPU seconds of the main thread in each tick, and in the call itself.
    """
    done: list[Any] = []
    costs = []
    clock = time.thread_time()
    begin(on_done=done.append)
    costs.append(time.thread_time() - clock)
    while logic.busy:
        time.sleep(0.02)
        clock = time.thread_time()
        timer.tick()
        costs.append(time.thread_time() - clock)
    (summary,) = done
    return summary, costs


def test_the_bundled_brain_in_the_scene_is_segmented_as_without_one_and_does_not_hold_the_main_thread(
    make_logic: Callable[..., Any], tmp_path: Path
) -> None:
    timers: list[Clicker] = []

    def factory(call: Callable[[], None]) -> Clicker:
        timers.append(Clicker(call))
        return timers[-1]

    # With nothing between the engine and the scene, as in the panel; with one thread, as here, for the last bit.
    usual = engine_command()
    transport = pipes_to(Command(usual.arguments, {**usual.environment, "OMP_NUM_THREADS": "1"}))
    logic = make_logic(factory, transport)
    node = brain_node()
    summary, costs = run(logic, timers[0], lambda **hears: logic.start(node, REQUEST, **hears))
    nodes = summary.nodes
    model = load_model(find_model("t1w-2mm"))
    alone = finish(run_case(Case.of(read_image(str(sample_volume()))), model, REQUEST))
    np.testing.assert_array_equal(anomaly_of(nodes), alone.array(ANOMALY))
    np.testing.assert_array_equal(voxels(nodes.heatmap), alone.array(HEATMAP))
    assert summary.anomaly_ml > 0 and nodes.provenance["model_sha256"] == alone.provenance["model_sha256"]
    assert nodes.unit == "× healthy"
    assert max(costs) < SLOWEST_S, f"the longest call took {max(costs):.3f} s"

    point = max(nodes.curve.chosen - 1, 0)
    _, costs = run(logic, timers[0], lambda **hears: logic.choose_again(nodes, point=point, **hears))
    again = (anomaly_of(nodes), voxels(nodes.heatmap))
    assert max(costs) < SLOWEST_S, f"the longest call took {max(costs):.3f} s"
    opened = reopened(tmp_path / "scene.mrb")
    assert opened == ResultNodes.find(opened.input)
    other = make_logic(factory, transport)
    run(other, timers[-1], lambda **hears: other.choose_again(opened, point=point, **hears))
    np.testing.assert_array_equal(anomaly_of(opened), again[0])
    np.testing.assert_array_equal(voxels(opened.heatmap), again[1])
