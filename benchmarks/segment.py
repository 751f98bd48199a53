"""What `itermask3d segment` takes on real sizes of scans, and how long the commands that print a few lines take.

    python -m benchmarks.segment                       the bundled brain, 240 x 240 x 155 at 1 mm, 512 x 512 x 400
    python -m benchmarks.segment --only 240 --threads 1
    python -m benchmarks.segment --checkout FOLDER     the same with the sources of another checkout

Every run is a process of its own, as a user starts it. It prints a table: seconds that were waited and that were told,
processor seconds, the share of both that the network had, and the highest resident memory. The two scans are made by
a formula and stripped (see `benchmarks.preparation`). What else the machine does changes seconds, and hardly the
processor's; memory not at all.
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
from pathlib import Path
from typing import Any

_SOURCES = Path(__file__).parents[1] / "IterMask3D"
_ANSWERS = (("--help",), ("segment", "--help"), ("models", "list"))
_REPEATS = 7
_STATUS = Path("/proc/self/status")


def measured(words: list[str]) -> dict[str, Any]:
    """Runs the command line in this process; seconds of the whole and of the network, on the clock and processors."""
    network = {"seconds": 0.0, "cpu": 0.0}
    runner = _runner_class()
    call = runner.__call__

    def timed(self: Any, *given: Any, **named: Any) -> Any:
        before, cpu = time.perf_counter(), time.process_time()
        try:
            return call(self, *given, **named)
        finally:
            network["seconds"] += time.perf_counter() - before
            network["cpu"] += time.process_time() - cpu

    runner.__call__ = timed
    from IterMask3DLib.cli import main

    code = main(words)
    # What `getrusage` says would begin with the memory of the process that started this one.
    (peak,) = (int(line.split()[1]) / 1e6 for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return {"code": code, "cpu": time.process_time(), "peak": peak, "network": network}


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
    print(
        "| scan | waited, s | told, s | processor, s | of it the network | peak memory, GB |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, path in scans(options.only, Path(folder)).items():
            for more in ((), ("--save-iterations",)):
                done = run(path, options.checkout, options.threads, *more)
                share = done["network"]["cpu"] / done["cpu"]
                cells = [f"{done[key]:.1f}" for key in ("seconds", "told", "cpu")] + [f"{share:.0%}"]
                print(f"| {' '.join((name, *more))} | {' | '.join(cells)} | {done['peak']:.2f} |", flush=True)
    for words in _ANSWERS:
        print(f"itermask3d {' '.join(words)}: {answer_seconds(words, options.checkout):.2f} s")


if __name__ == "__main__":
    main()
