"""The engine beside a plain execution of the same network, loop and volume, in one process: time, memory, and where.

    python -m benchmarks.engine                   2 mm with the bundled model, then the published network at 192 voxels
    python -m benchmarks.engine --plain-passes 0  every plain pass at 192 voxels too (about forty minutes on two cores)

Both run on the bundled brain and begin with the same noise. The plain loop makes every pass, and what the model's card
adds; at 192 voxels of 1 mm, with the published network untrained, it is timed over the first few and the rest is
reckoned from them, which the output says.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.plain import PlainRun, plain_run
from benchmarks.watch import Clock, watched
from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.image import BoolVolume, Case
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.core.result import ANOMALY, Layer, Result, Step
from IterMask3DLib.methods.itermask3d import loop
from IterMask3DLib.methods.itermask3d.executable_unet import ExecutableUNet
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK, FoldedUNet
from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.run import CaseRun, finish
from IterMask3DLib.runtime.device import Device
from IterMask3DLib.runtime.runner import Runner, Runtime

PARTS = ("read", "prepare", "network", "threshold", "restore")


@dataclass(frozen=True)
class Timed:
    """What a whole run took.

    Attributes:
        seconds: of the whole run; parts: of its parts; memory: its peak in GB; mask: bool [x, y, z] on the model grid.
        sweep, shrink: passes of both phases; whole: False where the run was ended before its time.
    """

    seconds: float
    parts: Clock
    memory: float
    mask: BoolVolume
    sweep: int
    shrink: int
    whole: bool = True

    @property
    def passes(self) -> int:
        return self.sweep + self.shrink


def published_size() -> Model:
    """The published network and grid with the weights PyTorch begins with: as fast as a trained one.

    Its threshold comes from the first pass.
    """
    torch.manual_seed(0)
    network = UNet3D().eval()
    entry = NetworkEntry("model.safetensors", config={"widths": [16, 32, 64, 128, 256], "dropout": 0.2})
    card = ModelCard(
        "published-size",
        "Published size",
        "itermask3d",
        ("T1w",),
        CardGrid(1.0, (192, 192, 192)),
        {NETWORK: entry},
        settings={"median_multiple": 4.0},
    )
    return Model(Path(), card, {NETWORK: network}, {})


def engine_run(read: str, model: Model, quality: str) -> Timed:
    """`itermask3d segment` as a user runs it, from reading the file to volumes on its grid."""
    clock, phases, found = Clock(), {"sweep": 0, "shrink": 0}, []

    def count(event: object) -> None:
        if isinstance(event, Step):
            phases[event.phase] += 1

    def restored(run: CaseRun, result: Result, *more: object) -> object:
        found.append(result.layers[ANOMALY].read())
        return restore(run, result, *more)

    restore = CaseRun._restored
    with watched() as memory, ExitStack() as stack:
        timed = clock.timed("threshold", loop.percentile_threshold)
        stack.enter_context(patch.object(loop, "percentile_threshold", timed))
        stack.enter_context(patch.object(Runner, "__call__", clock.timed("network", Runner.__call__)))
        stack.enter_context(patch.object(CaseRun, "_restored", clock.timed("restore", restored)))
        begun = time.perf_counter()
        case = Case.of(clock.timed("read", read_image)(read))
        run = clock.timed("prepare", CaseRun.of)(case, model, Request(device="cpu", quality=quality))
        finish(run.infer(), count)
        seconds = time.perf_counter() - begun
    return Timed(seconds, clock, memory.peak, found[0], phases["sweep"], phases["shrink"])


def plain_whole(read: str, model: Model, stop_after: int | None, shrink: int) -> Timed:
    """The same by plain means.

    Where it is ended early, the passes left (`shrink` of them in the second phase) are reckoned at the mean.
    """
    clock = Clock()
    with watched() as memory:
        begun = time.perf_counter()
        case = Case.of(clock.timed("read", read_image)(read))
        made = clock.timed("prepare", CaseRun.of)(case, model, Request(device="cpu", quality="full", backend="pytorch"))
        before = time.perf_counter()
        run: PlainRun = plain_run(made.prepared, model, made.settings, 0, clock, stop_after)
        looped = time.perf_counter() - before
        volume = made.prepared.channels[0]
        for layer in (Layer.mask(run.mask), Layer.score(volume), Layer.intensity(volume)):
            clock.timed("restore", _restored)(made.prepared, layer)
        seconds = time.perf_counter() - begun
    if run.whole:
        return Timed(seconds, clock, memory.peak, run.mask, run.sweep, run.shrink)
    passes = made.settings.sweep_passes + shrink
    rest = passes / run.sweep
    clock.seconds["network"] *= rest
    clock.seconds["threshold"] *= made.settings.sweep_passes / run.sweep
    # Every pass leaves one float32 mask behind.
    masks = (made.settings.sweep_passes - run.sweep) * volume.size * 4 / 1e9
    seconds += looped * (rest - 1)
    return Timed(seconds, clock, memory.peak + masks, run.mask, made.settings.sweep_passes, shrink, False)


def _restored(prepared: Prepared, layer: Layer) -> object:
    return prepared.restore(layer).read()


def pass_seconds(model: Model, shape: tuple[int, ...], repeats: int) -> tuple[float, float, float, str]:
    """Of a pass on the whole grid, in turns: median seconds of both, largest difference over the output, backend."""
    network, runtime = model.networks[NETWORK], Runtime(Device("cpu"))
    given = torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(0))
    runner = runtime.runner(network, InferenceUNet)
    plain, ours = Clock(), Clock()
    one, other = [], []
    with torch.inference_mode():
        fast = runner(given)[0, 0]
        for _ in range(repeats):
            slow = plain.timed("pass", network.execute_plainly())(given)[0, 0]
            network.execute_plainly(False)
            one.append(plain.seconds.pop("pass"))
            for _ in range(2):
                ours.timed("pass", runner)(given)
                other.append(ours.seconds.pop("pass"))
    difference = float((slow - fast).abs().max() / slow.abs().max())
    return statistics.median(one), statistics.median(other), difference, runtime.backend


def seconds_to_first_pass() -> float:
    """From the bundled model's files to the end of its first pass, its compilation included."""
    begun = time.perf_counter()
    model = load_model(find_model("t1w-2mm"))
    Runtime(Device("cpu")).runner(model.stored[NETWORK], ExecutableUNet.of)(
        np.zeros((1, 2, *model.card.grid.shape), np.float32)
    )
    return time.perf_counter() - begun


def operations(model: Model, shape: tuple[int, ...]) -> tuple[float, float]:
    """Multiplications and additions of a pass, in units of 1e9.

    Plain, and as we execute it: 8 taps for each up-sampled voxel, not 27.
    """
    folded, totals = FoldedUNet.of(model.stored[NETWORK]), []
    for up_taps in (27, 8):
        total, voxels = 0.0, float(np.prod(shape))
        for stage in folded.down:
            voxels /= stage[0].stride ** 3
            total += sum(voxels * 27 * each.weight.shape[0] * each.weight.shape[1] for each in stage)
        for stage in folded.up:
            voxels *= 8
            for each, taps in zip(stage, (up_taps, 27), strict=True):
                total += voxels * taps * each.weight.shape[0] * each.weight.shape[1]
        totals.append(2 * total / 1e9)
    return totals[0], totals[1]


def peak_rate(side: int = 3072) -> float:
    """The fastest this machine was seen to multiply matrices of float32, in 1e9 operations a second."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    clock, best = Clock(), float("inf")
    for _ in range(6):
        clock.timed("mm", torch.mm)(a, b)
        best = min(best, clock.seconds.pop("mm"))
    return 2 * side**3 / best / 1e9


def compare(title: str, model: Model, plain_passes: int | None, repeats: int) -> None:
    """Runs both on the bundled brain and prints what they took."""
    shape, path = model.card.grid.shape, str(sample_volume())
    parameters = sum(p.numel() for p in model.networks[NETWORK].parameters())
    print(f"\n## {title}: grid {' x '.join(map(str, shape))}, {parameters:,} parameters")
    rate, (plain_work, our_work) = peak_rate(), operations(model, shape)
    slow, quick, difference, backend = pass_seconds(model, shape, repeats)
    print(f"network pass: plain {slow:.3f} s, ours ({backend}) {quick:.3f} s: ratio {slow / quick:.2f}")
    print(f"  largest difference {difference:.1e} of the output")
    print(f"  operations: plain {plain_work:.0f}e9, ours {our_work:.0f}e9; matrices multiply at {rate:.0f}e9/s here")
    speeds = plain_work / slow / rate, our_work / quick / rate
    print(f"  plain runs at {speeds[0]:.0%} of that and ours at {speeds[1]:.0%}: limit {our_work / rate:.3f} s")
    fast = engine_run(path, model, "auto")
    full = engine_run(path, model, "full") if plain_passes is None else None
    plain = plain_whole(path, model, plain_passes, (full or fast).shrink)
    reckoned = "" if plain.whole else f" (reckoned from {plain_passes} passes)"
    for name, run in (("plain", plain), ("ours, every pass", full), ("ours", fast)):
        if run is None:
            continue
        loop = run.parts.seconds["network"] + run.parts.seconds["threshold"]
        note = reckoned if run is plain else ""
        print(f"{name}: {run.passes} passes ({run.sweep} + {run.shrink}), {run.seconds:.1f} s{note}")
        print(f"  peak memory {run.memory:.2f} GB")
        print(f"  ratio: time {plain.seconds / run.seconds:.1f}, memory {plain.memory / run.memory:.1f}, ", end="")
        both = run.mask.sum() + plain.mask.sum()
        dice = 2 * np.logical_and(run.mask, plain.mask).sum() / both if both else 1.0
        print(
            f"sweep {sweep_seconds(plain) / sweep_seconds(run):.1f}"
            + (f"; Dice with the plain mask {dice:.4f}" if plain.whole else "")
        )
        rest = run.seconds - loop - sum(run.parts.seconds[p] for p in ("read", "prepare", "restore"))
        table = {part: run.parts.seconds[part] for part in PARTS} | {"the rest": rest}
        print(
            "  " + ", ".join(f"{part} {seconds:.2f} s ({seconds / run.seconds:.0%})" for part, seconds in table.items())
        )


def sweep_seconds(run: Timed) -> float:
    """Network and selection of the first phase."""
    return run.parts.seconds["network"] * run.sweep / run.passes + run.parts.seconds["threshold"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--plain-passes", type=int, default=3, help="plain passes at 192 voxels, 0: all of them (default: 3)"
    )
    parser.add_argument("--only", choices=("2mm", "192"), help="one of the two alone")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    seconds_to_first_pass()
    first = seconds_to_first_pass()
    print(f"from the files of the bundled model to the end of its first pass: {first:.2f} s on a warm disk")
    if options.only != "192":
        compare("2 mm", load_model(find_model("t1w-2mm")), None, repeats=5)
    if options.only != "2mm":
        compare("192 voxels of 1 mm", published_size(), options.plain_passes or None, repeats=2)


if __name__ == "__main__":
    main()
