"""What `itermask3d segment` takes on real sizes of scans, and how long the commands that print a few lines take.

    python -m benchmarks.segment                       the bundled brain, 240 x 240 x 155 at 1 mm, 512 x 512 x 400
    python -m benchmarks.segment --only 240 --threads 1
    python -m benchmarks.segment --checkout FOLDER     the same with the sources of another checkout

Every run is a process of its own, as a user starts it. It prints a table: seconds that were waited and that were told,
processor seconds, and of these the shares of the start of the program (imports), of the network, and of reading,
preparing, restoring, measuring, writing and the report together (the rest is scoring); the network's share once more
without the start, as in a batch and in the panel, where the program is there already; and the highest resident memory.
The two scans are made by a formula and stripped (see `benchmarks.preparation`). What else the machine does changes
seconds, and hardly the processor's; memory not at all.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import MethodType
from typing import Any

_SOURCES = Path(__file__).parents[1] / "IterMask3D"
_ANSWERS = (("--help",), ("segment", "--help"), ("models", "list"))
_REPEATS = 7
_COLUMNS = (
    "scan",
    "waited, s",
    "told, s",
    "processor, s",
    "of it start",
    "network",
    "reading to report",
    "network, without the start",
    "peak memory, GB",
)
_STATUS = Path("/proc/self/status")


class Stopwatch:
    """Processor seconds in some functions together; what one calls of another counts once.

    `first`: the processor seconds of the process when the first of them was called.
    """

    def __init__(self) -> None:
        self.cpu, self.first, self._is_running = 0.0, 0.0, False

    def on(self, owner: Any, name: str) -> None:
        """Times a function of a module, or a method of a class."""
        function = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            if self._is_running:
                return function(*given, **named)
            before = time.process_time()
            self._is_running, self.first = True, self.first or before
            try:
                return function(*given, **named)
            finally:
                self.cpu += time.process_time() - before
                self._is_running = False

        setattr(owner, name, staticmethod(timed) if isinstance(function, MethodType) else timed)


def measured(words: list[str]) -> dict[str, Any]:
    """Runs the command line in this process; seconds of the whole, of the network and of reading to writing."""
    network, beside = Stopwatch(), Stopwatch()
    network.on(_runner_class(), "__call__")
    _watch_the_rest(beside)
    from IterMask3DLib.cli import main

    code = main(words)
    # What `getrusage` says would begin with the memory of the process that started this one.
    (peak,) = (int(line.split()[1]) / 1e6 for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    cpu = {"whole": time.process_time(), "network": network.cpu, "beside": beside.cpu, "start": beside.first}
    return {"code": code, "cpu": cpu, "peak": peak}


def _watch_the_rest(watch: Stopwatch) -> None:
    """Reading, preparing, restoring, measuring, writing and the report; not of earlier versions."""
    with suppress(ImportError, AttributeError):
        from IterMask3DLib import batch, run
        from IterMask3DLib.preprocessing.prepare import Prepared

        for owner, name in (
            (batch.CaseFiles, "read"),
            (run, "prepare"),
            (Prepared, "restore"),
            (batch.CaseLesions, "of"),
            (batch, "write_case"),
        ):
            watch.on(owner, name)


def _runner_class() -> Any:
    try:
        from IterMask3DLib.runtime.runner import Runner
    except ImportError:  # As earlier versions called it.
        from IterMask3DLib.engine.device import Runner  # type: ignore[import-not-found, no-redef]
    return Runner


def run(scan: Path, checkout: Path, threads: int, *more: str) -> dict[str, Any]:
    """One run of `segment` on a scan in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["segment", str(scan), "-o", folder, "--device", "cpu", *more]
        begun = time.perf_counter()
        done = _python(checkout, threads, "-m", "benchmarks.segment", "--measure", *words)
        seconds = time.perf_counter() - begun
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        if found["code"]:
            raise SystemExit(f"{' '.join(words)} ended with {found['code']}:\n{done.stderr[-2000:]}")
        (record,) = Path(folder).glob("*/*_run.json")
        told = json.loads(record.read_text(encoding="utf-8"))["seconds"]
    return {**found, "seconds": seconds, "told": told}


def answer_seconds(words: tuple[str, ...], checkout: Path) -> float:
    """The median time until a command that prints a few lines has ended."""
    taken = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        _python(checkout, 1, "-m", "IterMask3DLib.cli", *words)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def _python(checkout: Path, threads: int, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(checkout / "IterMask3D"), str(_SOURCES.parent)))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done


def scans(only: str | None, folder: Path) -> dict[str, Path]:
    """The files that are segmented, by name."""
    from benchmarks.preparation import SCANS, scan
    from IterMask3DLib.core.resources import sample_volume
    from IterMask3DLib.preprocessing.nifti import write_nifti

    files = {"sample": sample_volume()} if only in (None, "sample") else {}
    for name, size in SCANS.items():
        if only in (None, name):
            image = scan(*size)
            files[" x ".join(map(str, image.array.shape))] = folder / f"{name}.nii.gz"
            write_nifti(image.array, image.affine, folder / f"{name}.nii.gz")
    return files


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measured(sys.argv[2:])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("sample", "240", "512"), help="one scan alone")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="(default: all)")
    parser.add_argument("--checkout", type=Path, default=_SOURCES.parent, metavar="FOLDER", help="other sources")
    options = parser.parse_args()
    print(f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|")
    with tempfile.TemporaryDirectory() as folder:
        for name, path in scans(options.only, Path(folder)).items():
            for more in ((), ("--save-iterations",)):
                done = run(path, options.checkout, options.threads, *more)
                cpu = done["cpu"]
                cells = [f"{each:.1f}" for each in (done["seconds"], done["told"], cpu["whole"])]
                cells += [f"{cpu[part] / cpu['whole']:.0%}" for part in ("start", "network", "beside")]
                cells.append(f"{cpu['network'] / (cpu['whole'] - cpu['start']):.0%}")
                print(f"| {' '.join((name, *more))} | {' | '.join(cells)} | {done['peak']:.2f} |", flush=True)
    for words in _ANSWERS:
        print(f"itermask3d {' '.join(words)}: {answer_seconds(words, options.checkout):.2f} s")


if __name__ == "__main__":
    main()
