"""What the engine's process costs beside a run in the same process: on the bundled brain with the bundled model.

    python -m benchmarks.process
    python -m benchmarks.process --repeats 9

Both prepare, run, and measure lesions; the process also sends every mask, error map and reconstruction. Runs alternate;
the ratios are those of the fastest ones, by the clock and by the CPU time of both sides (Linux), which other work on
the machine changes less.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from IterMask3DLib.core.image import Case
from IterMask3DLib.core.request import ByPoint, Request
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.wire import Message
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.results.case_lesions import CaseLesions
from IterMask3DLib.run import CaseRun, finish
from IterMask3DLib.scene.run.engine_client import EngineClient, engine_command
from IterMask3DLib.scene.run.transport import pipes_to

MODEL = "t1w-2mm"
POINT = 90


class Here:
    """Runs in this process."""

    def __init__(self) -> None:
        self.image, self.model = read_image(sample_volume()), load_model(find_model(MODEL))

    def segment(self) -> None:
        self.run = CaseRun.of(Case.of(self.image), self.model, Request())
        self.result = finish(self.run.infer())
        CaseLesions.of(self.result)

    def choose(self) -> None:
        CaseLesions.of(finish(self.run.resume(self.result.state, ByPoint(POINT))))


class There:
    """Runs in a process of its own."""

    def __init__(self) -> None:
        image = read_image(sample_volume())
        self.client = EngineClient(pipes_to(engine_command()))
        self.case = {"key": "one", "case": image.name, "channels": [""], "affines": {"": image.affine}}
        self.case["request"] = {"model": MODEL}
        self.voxels = np.ascontiguousarray(image.array.T)
        self.received = 0

    def segment(self) -> None:
        self.received = 0
        self._ask("prepare", self.case, {"image:": self.voxels})
        self._ask("infer", {"key": "one"})

    def choose(self) -> None:
        self._ask("resume", {"key": "one", "edit": {"by": "point", "point": POINT}})

    def _ask(self, kind: str, fields: dict[str, Any], arrays: dict[str, Any] | None = None) -> None:
        self.client.request(kind, fields, arrays, self._hear)
        self.client.wait()

    def _hear(self, message: Message) -> None:
        if message.kind == "error":
            raise RuntimeError(message.fields["sentence"])
        self.received += sum(array.nbytes for array in message.arrays.values())


def spent(work: Callable[[], None], process: str | None = None) -> tuple[float, float]:
    """Seconds by the clock, and of the CPU: of this process and of another one."""
    begun, used = time.perf_counter(), time.process_time() + cpu_of(process)
    work()
    return time.perf_counter() - begun, time.process_time() + cpu_of(process) - used


def cpu_of(process: str | None) -> float:
    if process is None:
        return 0.0
    user, system = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    here, there = Here(), There()
    begun = time.perf_counter()
    there.client.request("describe")
    there.client.wait()
    print(f"process started and described: {time.perf_counter() - begun:.2f} s")
    for work in (here.segment, there.segment):
        work()
    megabytes = there.received / 1e6
    process = str(there.client.engine["pid"])
    print("| | in this process, s (CPU) | in its own, s (CPU) | ratio (CPU) |\n|---|---|---|---|")
    for name in ("segment", "choose"):
        rows = [(*spent(getattr(here, name)), *spent(getattr(there, name), process)) for _ in range(repeats)]
        one, one_cpu, other, other_cpu = (min(column) for column in zip(*rows, strict=True))
        ratios = f"{other / one:.2f} ({other_cpu / one_cpu:.2f})"
        print(f"| {name} | {one:.2f} ({one_cpu:.2f}) | {other:.2f} ({other_cpu:.2f}) | {ratios} |")
    print(f"sent by a run: {megabytes:.0f} MB")
    there.client.close()


if __name__ == "__main__":
    main()
