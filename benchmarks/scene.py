"""What the main thread spends while a run fills the scene: longest and mean time of a call, by clock and CPU.

    python -m benchmarks.scene                  the bundled brain and model, the passes that decide
    python -m benchmarks.scene --quality full   every pass of the sweep
    python -m benchmarks.scene --large          a volume of 240 x 240 x 155 voxels of 1 mm

Needs slicer-core. The timer is the panel's: a tick every 100 ms. In every tenth tick the user also steps to another
iteration.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from Testing.slicer_host import clear_scene, start_scene

TICK_S = 0.1
STEP_EVERY = 10


@dataclass
class Calls:
    """Seconds of every call of one kind: by the clock, and of this thread's CPU."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def time(self, call: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        found = call()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.thread_time() - cpu)
        return found

    def row(self, name: str) -> str:
        figures = (max(self.wall), sum(self.wall) / len(self.wall), max(self.cpu), sum(self.cpu) / len(self.cpu))
        return f"| {name} | {len(self.wall)} | " + " | ".join(f"{1000 * figure:.1f}" for figure in figures) + " |"


class Tick:
    """A timer that the benchmark drives itself."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def start(self) -> None:
        """The loop below ticks whenever a job is under way."""

    def stop(self) -> None:
        """See `start`."""


class MainThread:
    """A logic whose calls are timed."""

    def __init__(self) -> None:
        from IterMask3DLib.scene.logic import SceneLogic

        self.calls: dict[str, Calls] = {}
        self.ticks: list[Tick] = []
        self.logic = SceneLogic(timer_factory=self._timer)

    def _timer(self, call: Callable[[], None]) -> Tick:
        self.ticks.append(Tick(call))
        return self.ticks[-1]

    def call(self, name: str, call: Callable[[], Any]) -> Any:
        return self.calls.setdefault(name, Calls()).time(call)

    def run(self, name: str, begin: Callable[[], Any]) -> float:
        """Begins a job and ticks until its end; returns its seconds."""
        from IterMask3DLib.scene.nodes.result_nodes import ResultNodes

        begun = time.perf_counter()
        self.call(name, begin)
        due, ticks = time.perf_counter(), 0
        while self.logic.busy:
            due += TICK_S
            time.sleep(max(0.0, due - time.perf_counter()))
            self.call(f"tick ({name})", self.ticks[0].call)
            ticks += 1
            nodes = next(iter(ResultNodes.all()), None)
            if ticks % STEP_EVERY == 0 and nodes is not None and nodes.steps:
                step = partial(self.logic.show_iteration, nodes, ticks % len(nodes.steps))
                self.call("step to another iteration", step)
        return time.perf_counter() - begun


def large_volume() -> Any:
    """The bundled brain on 240 x 240 x 155 voxels of 1 mm."""
    import slicer.util

    from IterMask3DLib.core.resources import sample_volume
    from IterMask3DLib.preprocessing.read import read_image

    image = read_image(str(sample_volume()))
    brain = np.argwhere(image.array > 0)
    array = np.zeros((240, 240, 155), dtype=image.array.dtype)
    low = brain.min(axis=0)
    part = image.array[tuple(slice(a, b + 1) for a, b in zip(low, brain.max(axis=0), strict=True))]
    part = part[tuple(slice(0, n) for n in array.shape)]
    start = [(n - m) // 2 for n, m in zip(array.shape, part.shape, strict=True)]
    array[tuple(slice(a, a + m) for a, m in zip(start, part.shape, strict=True))] = part
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [-120, -120, -77]
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(array.T), ijkToRAS=affine, name="large")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", choices=("fast", "full"), default="fast")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--large", action="store_true")
    given = parser.parse_args()
    start_scene()
    clear_scene()
    import slicer.util

    from IterMask3DLib.core.request import Request
    from IterMask3DLib.core.resources import sample_volume
    from IterMask3DLib.scene.nodes.result_nodes import ResultNodes

    bench = MainThread()
    logic = bench.logic
    node = large_volume() if given.large else slicer.util.loadVolume(str(sample_volume()), {})
    request = Request(quality=given.quality, device=given.device)
    bench.call("check the input", lambda: logic.check_input(node))
    seconds = bench.run("start", lambda: logic.start(node, request))
    (nodes,) = ResultNodes.all()
    curve = nodes.curve
    assert curve is not None
    passes = len(nodes.steps)
    again = bench.run("choose again", lambda: logic.choose_again(nodes, point=max(curve.chosen - 2, 0)))
    threshold = 0.5 * logic.heatmap_range(nodes)[1]
    bench.call("threshold the heatmap", lambda: logic.threshold_heatmap(nodes, threshold))
    bench.call("measure lesions", lambda: logic.measure_lesions(nodes))
    bench.call("use an iteration", lambda: logic.use_iteration(nodes, passes - 1))
    with tempfile.TemporaryDirectory() as folder:
        bench.run("save", lambda: logic.save(nodes, folder))
    size = " x ".join(str(n) for n in node.GetImageData().GetDimensions())
    device = nodes.provenance["device"]
    print(f"{size} voxels, {passes} passes in {seconds:.1f} s, chosen again in {again:.1f} s, {device}\n")
    print("| call | calls | longest ms | mean ms | longest CPU ms | mean CPU ms |\n|---|---:|---:|---:|---:|---:|")
    for name, each in bench.calls.items():
        print(each.row(name))
    logic.close()


if __name__ == "__main__":
    main()
