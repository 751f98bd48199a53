"""Training steps beside a plain loop over the same examples, in one process: time ratio and share of waiting for data.

    python -m benchmarks.training [--device cuda]

The usual options: half width, 80 x 96 x 80 voxels of 2 mm, two volumes a step. "Plain" makes each batch when it is
needed and runs the network as published, in single precision and contiguous memory. They take turns, and medians are
compared, so that other work on the machine weighs on all alike.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.request import DEVICES
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.itermask3d.training import ReconstructionTask
from IterMask3DLib.runtime.device import choose_device
from IterMask3DLib.training.cache import CachedVolumes
from IterMask3DLib.training.devices import fast_precision, start_fabric
from IterMask3DLib.training.examples import StageExamples, stacked, usual_workers
from IterMask3DLib.training.loop import StageSetup, StageTrainer
from IterMask3DLib.training.options import TrainingOptions, training_options

GRID = CardGrid(2.0, (80, 96, 80))
_WARM_UP = 2


class Clock:
    """Takes the place of the monitor of a stage: notes the seconds of each step, and of waiting for its batch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.waited: list[float] = []

    def losses(self, step: int, losses: Sequence[float], rate: float, waited: float, seconds: float) -> None:
        self.seconds.append(seconds)
        self.waited.append(waited)

    def validation(self, step: int, errors: Mapping[str, float]) -> None:
        """Nothing is validated here."""

    def pictures(self, step: int, rows: Sequence[Any]) -> None:
        """Nothing is drawn here."""


def brains(folder: Path, count: int = 4) -> CachedVolumes:
    """Ellipsoids with waves inside, stored as the cache stores volumes."""
    files = []
    sides = (np.linspace(-1.15, 1.15, side, dtype=np.float32) for side in GRID.shape)
    axes = np.meshgrid(*sides, indexing="ij", sparse=True)
    brain = axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2 <= 1
    for number in range(count):
        volume = np.sin((9 + number) * axes[0]) * np.cos(7 * axes[1]) + axes[2]
        files.append(folder / f"{number}.npy")
        np.save(files[-1], np.where(brain, volume, np.nan).astype(np.float16)[None])
    return CachedVolumes(tuple(files), GRID)


def task_of(options: TrainingOptions) -> ReconstructionTask:
    card = ModelCard("benchmark", "", options.method, options.modality, GRID, {})
    return ReconstructionTask(card, options.settings)


def plain_steps(volumes: CachedVolumes, options: TrainingOptions, device: torch.device) -> list[float]:
    """Seconds of each step of the plain loop."""
    torch.manual_seed(options.seed)
    task = task_of(options)
    examples = StageExamples(task, 0, volumes, options)
    network = UNet3D(options.settings.widths, options.settings.dropout).to(device).execute_plainly()
    optimiser = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    seconds = []
    for step in range(options.total_steps(len(volumes))):
        begun = time.perf_counter()
        batch = stacked([examples[step, place] for place in range(options.batch)])
        assert isinstance(batch, dict)
        loss = task.loss(NETWORK, {NETWORK: network}, {name: tensor.to(device) for name, tensor in batch.items()})
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loss.item()
        seconds.append(time.perf_counter() - begun)
    return seconds


def our_steps(volumes: CachedVolumes, options: TrainingOptions, device: str, folder: Path, workers: int) -> Clock:
    """Seconds of each step of the training loop, and of waiting, in the precision of the options."""
    clock, nothing = Clock(), CachedVolumes((), GRID)
    folder.mkdir()
    task, precision = task_of(options), options.precision
    setup = StageSetup(task, 0, options, volumes, nothing, volumes.key, folder, precision, workers, {})
    StageTrainer(setup, start_fabric(device, precision)).run(clock)  # type: ignore[arg-type]
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--steps", type=int, default=8, help="steps a round, the first two not counted (default: 8)")
    parser.add_argument("--rounds", type=int, default=2, help="how often they take turns (default: 2)")
    parser.add_argument("--workers", type=int, help="processes that make batches (default: as in training)")
    parsed = parser.parse_args()
    often = {"log_every": 1, "validate_every": 10**9, "checkpoint_every": 10**9}
    options = training_options("itermask3d", {"steps": parsed.steps, **often}, "benchmark")
    device = choose_device(parsed.device).kind
    chosen, workers = fast_precision(device, "auto"), parsed.workers or usual_workers(device, 1)
    plain: list[float] = []
    ours: dict[str, list[float]] = {precision: [] for precision in dict.fromkeys(("fp32", chosen))}
    waited = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        volumes = brains(Path(scratch))
        for number in range(parsed.rounds):
            plain += plain_steps(volumes, options, torch.device(device))[_WARM_UP:]
            for precision, seconds in ours.items():
                folder = Path(scratch, f"{precision}-{number}")
                clock = our_steps(volumes, replace(options, precision=precision), parsed.device, folder, workers)
                seconds += clock.seconds[_WARM_UP:]
                waited += sum(clock.waited[_WARM_UP:])
    middle = statistics.median(plain)
    print(
        f"batch {options.batch} on {device}, {torch.get_num_threads()} threads, {workers} workers; auto takes {chosen}"
    )
    print(f"plain    : {middle:.3f} s a step")
    for precision, seconds in ours.items():
        median = statistics.median(seconds)
        print(f"ours {precision}: {median:.3f} s a step, time ratio {middle / median:.2f}")
    print(f"waiting for data: {waited / sum(map(sum, ours.values())):.1%} of our time")


if __name__ == "__main__":
    main()
