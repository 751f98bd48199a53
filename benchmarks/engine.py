"""The engine beside a plain execution of the same network, loop and volume, in one process: time ratio, memory ratio, where the time goes.

    python -m benchmarks.engine                  2 mm with the bundled model, then 192 voxels of 1 mm with the published network, untrained
    python -m benchmarks.engine --plain-passes 0 every plain pass at 192 voxels too (about forty minutes on two cores)

Both run on the bundled brain and begin with the same noise. The plain loop makes every pass, and what the model's card adds; at 192 voxels it is
timed over the first few and the rest is reckoned from them, which the output says.
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
from IterMask3DLib import pipeline
from IterMask3DLib.core.card import Card, CardGrid, Scoring
from IterMask3DLib.runtime.device import Runner, choose_place
from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.models.store import Model, find_model, load_model
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.core.image import Image
from IterMask3DLib.core.resources import sample_volume
from IterMask3DLib.preprocessing.read import read_image
from IterMask3DLib.methods import itermask3d
from IterMask3DLib.run import Request

PARTS = ("read", "model", "prepare", "network", "threshold", "restore")


@dataclass(frozen=True)
class Timed:
    """Seconds of a whole run and of its parts, peak memory in GB, the mask on the model grid, passes of both phases."""

    seconds: float
    parts: Clock
    memory: float
    mask: np.ndarray
    sweep: int
    shrink: int
    whole: bool = True

    @property
    def passes(self) -> int:
        return self.sweep + self.shrink


def published_size() -> Model:
    """The published network and grid with the weights PyTorch begins with: as fast as a trained one. Its threshold comes from the first pass."""
    torch.manual_seed(0)
    scoring = Scoring(times_median=4.0)
    card = Card("published-size", "Published size", "T1w", CardGrid(1.0, (192, 192, 192)), (16, 32, 64, 128, 256), scoring=scoring)
    return Model(Path(), card, UNet3D().eval())


def engine_run(read: str, model: Model, quality: pipeline.Quality) -> Timed:
    """`itermask3d segment` as a user runs it, from reading the file to volumes on its grid."""
    clock, phases = Clock(), {"sweep": 0, "shrink": 0}
    studies = []

    def kept(*arguments: object) -> pipeline.Study:
        studies.append(make(*arguments))
        return studies[-1]

    def count(step: object) -> None:
        phases[step.phase] += 1

    make = pipeline.study
    with watched() as memory, ExitStack() as stack:
        for owner, name, part in (
            (pipeline, "prepare", "prepare"),
            (pipeline, "Runner", "model"),
            (pipeline, "restored", "restore"),
            (itermask3d, "percentile_threshold", "threshold"),
        ):
            stack.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        stack.enter_context(patch.object(Runner, "_run", clock.timed("network", Runner._run)))
        stack.enter_context(patch.object(pipeline, "study", kept))
        results = stack.enter_context(patch.object(pipeline, "restored", wraps=pipeline.restored))
        begun = time.perf_counter()
        volume = clock.timed("read", read_image)(read)
        pipeline.segment(volume, model, Request(device="cpu", quality=quality), on_step=count)
        seconds = time.perf_counter() - begun
    mask = results.call_args.args[2].mask
    return Timed(seconds, clock, memory.peak, mask, phases["sweep"], phases["shrink"])


def plain_whole(read: str, model: Model, stop_after: int | None, shrink: int) -> Timed:
    """The same by plain means; where it is ended early, the passes left (`shrink` of them in the second phase) are reckoned at the mean."""
    clock = Clock()
    with watched() as memory:
        begun = time.perf_counter()
        volume: Image = clock.timed("read", read_image)(read)
        made = clock.timed("prepare", pipeline.study)(volume, model, Request(device="cpu", quality="full", backend="pytorch"))
        before = time.perf_counter()
        run: PlainRun = plain_run(made.case, model.network, made.settings, clock, stop_after)
        looped = time.perf_counter() - before
        dummy = clock.timed("restore", made.prepared.restore_mask)(run.mask)
        clock.timed("restore", made.prepared.restore_map)(made.case.volume)
        clock.timed("restore", made.prepared.restore_intensity)(made.case.volume)
        seconds = time.perf_counter() - begun
    assert dummy.shape == volume.array.shape
    if run.whole:
        return Timed(seconds, clock, memory.peak, run.mask, run.sweep, run.shrink)
    passes = made.settings.passes + shrink
    rest = passes / run.sweep
    clock.seconds["network"] *= rest
    clock.seconds["threshold"] *= made.settings.passes / run.sweep
    # Every pass leaves one float32 mask behind.
    masks = (made.settings.passes - run.sweep) * made.case.volume.size * 4 / 1e9
    return Timed(seconds - looped + looped * rest, clock, memory.peak + masks, run.mask, made.settings.passes, shrink, False)


def pass_seconds(model: Model, shape: tuple[int, ...], repeats: int) -> tuple[float, float, float, str]:
    """Median seconds of a pass, plain and ours in turns on the whole grid, their largest difference relative to the output, our backend."""
    given = torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(0))
    runner = Runner(InferenceUNet(model.network), choose_place("cpu"))
    plain, ours = Clock(), Clock()
    one, other = [], []
    with torch.inference_mode():
        fast = runner(given)
        for _ in range(repeats):
            slow = plain.timed("pass", model.network.execute_plainly())(given)[0, 0]
            model.network.execute_plainly(False)
            one.append(plain.seconds.pop("pass"))
            for _ in range(2):
                ours.timed("pass", runner)(given)
                other.append(ours.seconds.pop("pass"))
    difference = float((slow - fast).abs().max() / slow.abs().max())
    return statistics.median(one), statistics.median(other), difference, runner.backend


def seconds_to_first_pass() -> float:
    """From the bundled model's files to the end of its first pass, its compilation included."""
    begun = time.perf_counter()
    model = load_model(find_model(None))
    Runner(InferenceUNet(model.network), choose_place("cpu"))(torch.zeros(1, 2, *model.card.grid.shape))
    return time.perf_counter() - begun


def operations(model: Model, shape: tuple[int, ...]) -> tuple[float, float]:
    """Multiplications and additions of a pass, in units of 1e9: plain, and as we execute it (8 taps for each up-sampled voxel, not 27)."""
    totals, sides = [], np.array(shape)
    for taps in (27, 8):
        total = 0.0
        for depth, stage in enumerate(InferenceUNet(model.network).down):
            voxels = float(np.prod(sides // 2**depth))
            total += voxels * 27 * sum(block.conv.in_channels * block.conv.out_channels for block in (stage.first, stage.second))
        for depth, stage in zip((3, 2, 1, 0), InferenceUNet(model.network).up, strict=True):
            voxels = float(np.prod(sides // 2**depth))
            total += voxels * taps * stage.first.conv.in_channels * stage.first.conv.out_channels
            total += voxels * 27 * stage.second.conv.in_channels * stage.second.conv.out_channels
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
    print(f"\n## {title}: grid {' x '.join(map(str, shape))}, {sum(p.numel() for p in model.network.parameters()):,} parameters")
    rate, (plain_work, our_work) = peak_rate(), operations(model, shape)
    slow, quick, difference, backend = pass_seconds(model, shape, repeats)
    print(f"network pass: plain {slow:.3f} s, ours ({backend}) {quick:.3f} s: ratio {slow / quick:.2f}, difference {difference:.1e}")
    print(f"  operations: plain {plain_work:.0f}e9, ours {our_work:.0f}e9; matrices multiply at {rate:.0f}e9/s here, so")
    print(
        f"  plain runs at {plain_work / slow / rate:.0%} of that and ours at {our_work / quick / rate:.0%}: limit {our_work / rate:.3f} s"
    )
    fast = engine_run(path, model, "auto")
    full = engine_run(path, model, "full") if plain_passes is None else None
    plain = plain_whole(path, model, plain_passes, (full or fast).shrink)
    reckoned = "" if plain.whole else f" (reckoned from {plain_passes} passes)"
    for name, run in (("plain", plain), ("ours, every pass", full), ("ours", fast)):
        if run is None:
            continue
        loop = run.parts.seconds["network"] + run.parts.seconds["threshold"]
        note = reckoned if run is plain else ""
        print(f"{name}: {run.passes} passes ({run.sweep} + {run.shrink}), {run.seconds:.1f} s, peak memory {run.memory:.2f} GB{note}")
        print(f"  ratio: time {plain.seconds / run.seconds:.1f}, memory {plain.memory / run.memory:.1f}, ", end="")
        both = run.mask.sum() + plain.mask.sum()
        dice = 2 * np.logical_and(run.mask, plain.mask).sum() / both if both else 1.0
        print(f"sweep {sweep_seconds(plain) / sweep_seconds(run):.1f}" + (f"; Dice with the plain mask {dice:.4f}" if plain.whole else ""))
        rest = run.seconds - loop - sum(run.parts.seconds[p] for p in ("read", "model", "prepare", "restore"))
        table = {part: run.parts.seconds[part] for part in PARTS} | {"the rest": rest}
        print("  " + ", ".join(f"{part} {seconds:.2f} s ({seconds / run.seconds:.0%})" for part, seconds in table.items()))


def sweep_seconds(run: Timed) -> float:
    """Network and selection of the first phase."""
    return run.parts.seconds["network"] * run.sweep / run.passes + run.parts.seconds["threshold"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plain-passes", type=int, default=3, help="plain passes at 192 voxels, 0: all of them (default: 3)")
    parser.add_argument("--only", choices=("2mm", "192"), help="one of the two alone")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    seconds_to_first_pass()
    print(f"from the files of the bundled model to the end of its first pass: {seconds_to_first_pass():.2f} s on a warm disk")
    if options.only != "192":
        compare("2 mm", load_model(find_model(None)), None, repeats=5)
    if options.only != "2mm":
        compare("192 voxels of 1 mm", published_size(), options.plain_passes or None, repeats=2)


if __name__ == "__main__":
    main()
