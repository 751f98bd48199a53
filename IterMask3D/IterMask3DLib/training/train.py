"""Trains a network on stripped healthy volumes and writes checkpoints it can be resumed from.

Every random draw of step `n` comes from the generator seeded with `(seed, n)`, so a resumed run draws what an uninterrupted one would.
"""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from IterMask3DLib.engine.network import UNet3D
from IterMask3DLib.training.data import Augmentation, example, load_stripped, network_input


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights, beside the volumes."""

    widths: tuple[int, ...] = (8, 16, 32, 64, 128)
    dropout: float = 0.0
    shape: tuple[int, int, int] = (80, 96, 80)
    spacing: float = 2.0
    steps: int = 6000
    batch: int = 2
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    full_brain_share: float = 0.2
    augmentation: Augmentation = field(default_factory=Augmentation)
    bfloat16: bool = True
    seed: int = 0


def learning_rate(step: int, settings: Settings) -> float:
    """Half a cosine from the first to the final learning rate, after 100 steps of linear warm-up."""
    progress = step / settings.steps
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    rate = settings.final_learning_rate + (settings.learning_rate - settings.final_learning_rate) * cosine
    return rate * min(1.0, (step + 1) / 100)


def batch_of(step: int, volumes: Sequence[NDArray[np.generic]], settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Input [batch, 2, x, y, z] and target [batch, 1, x, y, z] of a step; each epoch visits the volumes in a new order."""
    inputs, targets = [], []
    for position in range(settings.batch):
        drawn = step * settings.batch + position
        epoch, index = divmod(drawn, len(volumes))
        order = np.random.default_rng([settings.seed, 1, epoch]).permutation(len(volumes))
        rng = np.random.default_rng([settings.seed, 2, drawn])
        item = example(
            volumes[order[index]], settings.spacing, rng, full_brain_share=settings.full_brain_share, augmentation=settings.augmentation
        )
        inputs.append(network_input(item, rng))
        targets.append(item.volume[None])
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets))


@torch.inference_mode()
def validation_error(network: UNet3D, volumes: Sequence[NDArray[np.generic]], settings: Settings) -> tuple[float, float]:
    """Mean squared error in the mask, averaged over the volumes: under one fixed blob each, and under the whole brain."""
    network.eval()
    errors: list[list[float]] = [[], []]
    for kind, share in enumerate((0.0, 1.0)):
        for number, volume in enumerate(volumes):
            rng = np.random.default_rng([settings.seed, 3, number])
            item = example(volume, settings.spacing, rng, full_brain_share=share, augmentation=None)
            given = torch.from_numpy(network_input(item, rng))[None].to(memory_format=torch.channels_last_3d)
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
                reconstruction = network(given)[0, 0].float().numpy()
            errors[kind].append(float(np.square(reconstruction - item.volume)[item.mask].mean()))
    network.train()
    return float(np.mean(errors[0])), float(np.mean(errors[1]))


def write_whole(state: dict[str, object], path: Path) -> None:
    """Saves beside `path`, then renames, so that a killed run leaves the last whole checkpoint."""
    beside = path.with_suffix(".part")
    torch.save(state, beside)
    os.replace(beside, path)


def train(training: Sequence[Path], validation: Sequence[Path], out: Path, settings: Settings, every: int = 250) -> UNet3D:
    """Trains for `settings.steps` steps, or goes on from the checkpoint in `out`; logs to `out/log.csv` every `every` steps."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    network = UNet3D(settings.widths, settings.dropout).to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    volumes = [load_stripped(path, settings.shape) for path in training]
    held_out = [load_stripped(path, settings.shape) for path in validation]
    checkpoint, first = out / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        first = int(state["step"])
    losses: list[float] = []
    begun = time.perf_counter()
    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(batch_of, first, volumes, settings)
        for step in range(first, settings.steps):
            inputs, targets = waiting.result()
            waiting = ahead.submit(batch_of, step + 1, volumes, settings)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, settings)
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
                output = network(inputs.to(memory_format=torch.channels_last_3d))
            loss = (output.float() - targets).square().mean()
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss of step {step} is not finite; lower the learning rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
            if (step + 1) % every == 0 or step + 1 == settings.steps:
                blob, whole = validation_error(network, held_out, settings)
                _log(out / "log.csv", step + 1, float(np.mean(losses)), blob, whole, time.perf_counter() - begun)
                losses.clear()
                state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
                write_whole({**state, "settings": asdict(settings)}, checkpoint)
    return network.eval()


def _log(path: Path, step: int, loss: float, blob: float, whole: float, seconds: float) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "training_loss", "validation_blob_mse", "validation_whole_brain_mse", "seconds"])
        writer.writerow([step, f"{loss:.5f}", f"{blob:.5f}", f"{whole:.5f}", f"{seconds:.0f}"])
