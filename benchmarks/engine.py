"""The engine beside a plain execution of the same network and loop, in one process: time ratio, passes, peak memory, agreement.

    python benchmarks/engine.py             the bundled model on the bundled brain, whole runs
    python benchmarks/engine.py --published the published network and grid (192 voxels of 1 mm), untrained, a few passes

"Plain" is the network as published (nearest up-sampling, batch norm and dropout as modules, contiguous memory) in the loop as published: error,
selection and masks over the whole volume, one float32 volume kept per pass.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from IterMask3DLib.engine.device import Runner, choose_place
from IterMask3DLib.engine.execution import InferenceUNet
from IterMask3DLib.engine.highfreq import high_frequency
from IterMask3DLib.engine.models import find_model, load_model
from IterMask3DLib.engine.network import UNet3D
from IterMask3DLib.engine.noise import seeded_noise
from IterMask3DLib.engine.prepare import Grid, prepare
from IterMask3DLib.engine.resources import sample_volume
from IterMask3DLib.engine.threshold import fit_curve
from IterMask3DLib.engine.volumes import read_volume
from IterMask3DLib.methods.itermask3d import Case, Settings, refine, result_of

_PAGE_GB = 4096 / 1e9


class Memory:
    """The highest resident memory of this process while it was watched, in GB above what it was at the start."""

    peak = 0.0


@contextmanager
def watched() -> Generator[Memory, None, None]:
    """Samples the resident memory of this process every 2 ms (Linux)."""
    memory, stop = Memory(), threading.Event()
    base = resident()

    def sample() -> None:
        while not stop.is_set():
            memory.peak = max(memory.peak, resident() - base)
            time.sleep(0.002)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()


def resident() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * _PAGE_GB


@torch.inference_mode()
def plain_run(case: Case, network: UNet3D, settings: Settings) -> tuple[np.ndarray, int]:
    """The loop as published. Returns the final mask [x, y, z] and the number of passes."""
    network.execute_plainly()
    volume, brain = torch.from_numpy(case.volume), torch.from_numpy(case.brain)
    noise, number = seeded_noise(settings.seed), 0

    def error_under(mask: torch.Tensor) -> torch.Tensor:
        nonlocal number
        number += 1
        fill = torch.zeros_like(volume)
        fill[brain] = torch.from_numpy(noise(number, int(brain.sum())))
        hidden = mask.float()
        masked = (1 - hidden) * volume + hidden * fill
        output = network(torch.stack((masked, torch.from_numpy(case.high_frequency)))[None])[0, 0]
        return (volume - output).square() * brain

    mask, thresholds, kept = brain, [], []
    for t in range(1, settings.passes + 1):
        error = error_under(mask)
        rank = max(1, int(volume.numel() - int(brain.sum()) * (1 - t / settings.passes)))
        thresholds.append(float(error.reshape(-1).kthvalue(rank).values))
        mask = error > thresholds[-1]
        kept.append(mask.float())
    curve, _ = fit_curve(np.array(thresholds), settings.curve)
    mask = brain
    for _ in range(settings.max_shrink):
        smaller = error_under(mask) > curve.threshold
        ratio = (int(mask.sum()) - int(smaller.sum())) / int(mask.sum())
        mask = smaller
        if ratio < settings.stop_ratio or not mask.any():
            break
    network.execute_plainly(False)
    return mask.numpy(), number


def engine_run(case: Case, network: UNet3D, settings: Settings) -> tuple[np.ndarray, int]:
    """The engine. Returns the final mask [x, y, z] and the number of passes."""
    passes: list[int] = []
    result = result_of(refine(case, Runner(InferenceUNet(network), choose_place("cpu")), settings), lambda step: passes.append(step.number))
    return result.mask, len(passes)


def measured(run: Callable[[], tuple[np.ndarray, int]]) -> tuple[np.ndarray, int, float, float]:
    """Mask, passes, seconds and peak memory in GB of a run."""
    with watched() as memory:
        begun = time.perf_counter()
        mask, passes = run()
        seconds = time.perf_counter() - begun
    return mask, passes, seconds, memory.peak


def sample_case() -> tuple[Case, UNet3D, Settings]:
    model = load_model(find_model(None))
    grid = Grid(model.card.grid.spacing, model.card.grid.shape, model.card.intensity)
    prepared = prepare(read_volume(sample_volume()), grid)
    image = high_frequency(prepared.volume, prepared.spacing, model.card.high_frequency_cutoff)
    settings = Settings()
    return (
        Case(prepared.volume, image, prepared.brain),
        model.network,
        replace(settings, curve=replace(settings.curve, gamma=model.card.gamma)),
    )


def published_case(passes: int) -> tuple[Case, UNet3D, Settings]:
    torch.manual_seed(0)
    axes = np.meshgrid(*(np.linspace(-1.3, 1.3, 192, dtype=np.float32),) * 3, indexing="ij", sparse=True)
    brain = (axes[0] / 0.9) ** 2 + axes[1] ** 2 + (axes[2] / 0.85) ** 2 <= 1
    volume = np.where(brain, np.sin(9 * axes[0]) * np.cos(7 * axes[1]) + axes[2], np.float32(-3)).astype(np.float32)
    case = Case(volume, high_frequency(volume, (1.0, 1.0, 1.0)), brain)
    return case, UNet3D().eval(), replace(Settings(), passes=passes, max_shrink=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", action="store_true", help="the published network and grid, untrained")
    parser.add_argument("--passes", type=int, default=5, help="sweep passes with --published (default: 5)")
    arguments = parser.parse_args()
    case, network, settings = published_case(arguments.passes) if arguments.published else sample_case()
    print(f"grid {case.volume.shape}, {sum(p.numel() for p in network.parameters()):,} parameters, {torch.get_num_threads()} threads")
    ours, passes, seconds, memory = measured(lambda: engine_run(case, network, settings))
    plain, plain_passes, plain_seconds, plain_memory = measured(lambda: plain_run(case, network, settings))
    both = ours.sum() + plain.sum()
    dice = 2 * np.logical_and(ours, plain).sum() / both if both else 1.0
    print(f"plain : {plain_passes} passes, {plain_seconds:.1f} s, peak memory {plain_memory:.2f} GB")
    print(f"engine: {passes} passes, {seconds:.1f} s, peak memory {memory:.2f} GB")
    print(f"time ratio {plain_seconds / seconds:.2f}, memory ratio {plain_memory / memory:.2f}, Dice of the two masks {dice:.4f}")


if __name__ == "__main__":
    main()
