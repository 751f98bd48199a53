"""Training steps beside a plain loop over the same examples, in one process: time ratio and the share of time spent waiting for data.

    python benchmarks/training.py [--device cuda]

The default recipe: half width, 80 x 96 x 80 voxels of 2 mm, two volumes a step. "Plain" makes each batch when it is needed and runs the network as
published, in single precision and contiguous memory. They take turns, and medians are compared, so that other work on the machine weighs on
all alike.
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

from IterMask3DLib.runtime.device import DeviceName, choose_place
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.training.cache import Cached
from IterMask3DLib.training.data import examples_of_step
from IterMask3DLib.training.fabric import fast_precision, start_fabric
from IterMask3DLib.training.feed import batch_of, usual_workers
from IterMask3DLib.training.loop import Job, Trainer, loss_of
from IterMask3DLib.training.recipe import Recipe

_WARM_UP = 2


class Clock:
    """Takes the place of the monitor of a run: notes the seconds of each step and how many of them the network waited."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.waited: list[float] = []

    def losses(self, step: int, losses: Sequence[float], rate: float, waited: float, seconds: float) -> None:
        self.seconds.append(seconds)
        self.waited.append(waited)

    def validation(self, step: int, errors: Mapping[str, float]) -> None:
        """Nothing is validated here."""

    def sheet(self, step: int, rows: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Nothing is drawn here."""


def brains(folder: Path, shape: tuple[int, ...], count: int = 4) -> Cached:
    """Ellipsoids with waves inside, stored as the cache stores volumes."""
    files = []
    axes = np.meshgrid(*(np.linspace(-1.15, 1.15, side, dtype=np.float32) for side in shape), indexing="ij", sparse=True)
    brain = axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2 <= 1
    for number in range(count):
        volume = np.sin((9 + number) * axes[0]) * np.cos(7 * axes[1]) + axes[2]
        files.append(folder / f"{number}.npy")
        np.save(files[-1], np.where(brain, volume, np.nan).astype(np.float16))
    return Cached(tuple(files), shape)


def plain_steps(volumes: Cached, recipe: Recipe, device: torch.device) -> list[float]:
    """Seconds of each step of the plain loop."""
    torch.manual_seed(recipe.seed)
    network = UNet3D(recipe.widths, recipe.dropout).to(device).execute_plainly()
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    seconds = []
    for step in range(recipe.total_steps(len(volumes))):
        begun = time.perf_counter()
        batch = batch_of(examples_of_step(step, range(recipe.batch), volumes, recipe), recipe.loss_region)
        given, target = batch.given.to(device), batch.target.to(device)
        loss = loss_of(network(given), replace(batch, given=given, target=target))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loss.item()
        seconds.append(time.perf_counter() - begun)
    return seconds


def our_steps(volumes: Cached, recipe: Recipe, device: DeviceName, folder: Path, workers: int) -> Clock:
    """Seconds of each step of the training loop, and of waiting, in the precision of the recipe."""
    clock, nothing = Clock(), Cached((), volumes.shape)
    folder.mkdir()
    job = Job(volumes, nothing, recipe, folder, recipe.precision, workers)
    Trainer(job, start_fabric(device, recipe.precision)).run(clock)  # type: ignore[arg-type]
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cuda", "mps", "cpu"), default="auto")
    parser.add_argument("--steps", type=int, default=8, help="steps a round, the first two not counted (default: 8)")
    parser.add_argument("--rounds", type=int, default=2, help="how often they take turns (default: 2)")
    parser.add_argument("--workers", type=int, help="threads that make batches (default: as in training)")
    options = parser.parse_args()
    recipe = Recipe(shape=(80, 96, 80), steps=options.steps, log_every=1, validate_every=10**9, checkpoint_every=10**9)
    device = choose_place(options.device).device
    chosen, workers = fast_precision(device, "auto"), options.workers or usual_workers(device, 1)
    plain: list[float] = []
    ours: dict[str, list[float]] = {precision: [] for precision in dict.fromkeys(("fp32", chosen))}
    waited = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        volumes = brains(Path(scratch), recipe.shape or ())
        for number in range(options.rounds):
            plain += plain_steps(volumes, recipe, torch.device(device))[_WARM_UP:]
            for precision, seconds in ours.items():
                folder = Path(scratch, f"{precision}-{number}")
                clock = our_steps(volumes, replace(recipe, precision=precision), options.device, folder, workers)
                seconds += clock.seconds[_WARM_UP:]
                waited += sum(clock.waited[_WARM_UP:])
    middle = statistics.median(plain)
    print(f"batch {recipe.batch} on {device}, {torch.get_num_threads()} threads, {workers} workers; auto takes {chosen}")
    print(f"plain    : {middle:.3f} s a step")
    for precision, seconds in ours.items():
        print(f"ours {precision}: {statistics.median(seconds):.3f} s a step, time ratio {middle / statistics.median(seconds):.2f}")
    print(f"waiting for data: {waited / sum(map(sum, ours.values())):.1%} of our time")


if __name__ == "__main__":
    main()
