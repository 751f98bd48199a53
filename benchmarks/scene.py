"""What the main thread spends while a run on the bundled brain fills the scene: longest and mean time of a tick, wall clock and own CPU time.

    python -m benchmarks.scene                  the bundled model, the passes that decide
    python -m benchmarks.scene --quality full   every pass of the sweep

Needs slicer-core. The timer is Slicer's: a tick every 100 ms. In every tenth tick the user also steps to another iteration.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

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


def run_with(logic: Any, timer: Tick, calls: dict[str, Calls], name: str, begin: Callable[[], Any]) -> float:
    """Begins a job and ticks until its end; returns its seconds."""
    from IterMask3DLib.scene.nodes import ResultNodes

    begun = time.perf_counter()
    calls.setdefault(name, Calls()).time(begin)
    due, ticks = time.perf_counter(), 0
    while logic.busy:
        due += TICK_S
        time.sleep(max(0.0, due - time.perf_counter()))
        calls.setdefault("tick", Calls()).time(timer.call)
        ticks += 1
        nodes = next(iter(ResultNodes.all()), None)
        if ticks % STEP_EVERY == 0 and nodes is not None and nodes.steps:
            calls.setdefault("step to another iteration", Calls()).time(partial(logic.showIteration, nodes, ticks % len(nodes.steps)))
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", choices=("fast", "full"), default="fast")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    start_scene()
    clear_scene()
    import slicer.util

    from IterMask3DLib.core.resources import sample_volume
    from IterMask3DLib.scene.logic import SceneLogic
    from IterMask3DLib.scene.nodes import ResultNodes
    from IterMask3DLib.scene.records import RunOptions

    timers: list[Tick] = []

    def make(call: Callable[[], None]) -> Tick:
        timers.append(Tick(call))
        return timers[-1]

    logic = SceneLogic(timerFactory=make)
    node = slicer.util.loadVolume(str(sample_volume()), {})
    calls: dict[str, Calls] = {}
    options = RunOptions(quality=given.quality, device=given.device)
    calls.setdefault("check the input", Calls()).time(lambda: logic.checkInput(node, None, options))
    seconds = run_with(logic, timers[0], calls, "start", lambda: logic.start(node, options))
    (nodes,) = ResultNodes.all()
    curve = nodes.curve
    assert curve is not None
    passes = len(nodes.steps)
    again = run_with(logic, timers[0], calls, "shrink again", lambda: logic.rerunShrink(nodes, point=max(curve.chosen - 2, 0)))
    size = " x ".join(str(n) for n in node.GetImageData().GetDimensions())
    print(f"{size} voxels, {passes} passes in {seconds:.1f} s, the shrink phase again in {again:.1f} s, {nodes.provenance['device']}\n")
    print("| call | calls | longest ms | mean ms | longest CPU ms | mean CPU ms |\n|---|---:|---:|---:|---:|---:|")
    for name, each in calls.items():
        print(each.row(name))
    logic.close()


if __name__ == "__main__":
    main()
