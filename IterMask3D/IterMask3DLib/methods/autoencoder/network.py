"""A small 3D convolutional auto-encoder of healthy brains, the baseline that every reconstruction method has to beat."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.intensity import BACKGROUND
from IterMask3DLib.preprocessing.prepare import Grid, prepare
from IterMask3DLib.core.image import FloatVolume
from IterMask3DLib.preprocessing.read import read_image

WEIGHTS, RECORD, CHECKPOINT = "autoencoder.safetensors", "autoencoder.json", "checkpoint.pt"
OnStep = Callable[[int, int, float], None]
"""Hears the step, the number of steps and the loss."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the weights, beside the volumes; `widths`: channels at 1/2, 1/4, 1/8 and 1/16 of the grid, the last the code."""

    widths: tuple[int, ...] = (12, 24, 48, 64)
    spacing: float = 2.0
    shape: tuple[int, int, int] = (80, 96, 80)
    intensity: str = "zscore_clip3"
    steps: int = 2400
    batch: int = 2
    learning_rate: float = 2e-3
    seed: int = 0

    @property
    def grid(self) -> Grid:
        return Grid(self.spacing, self.shape, self.intensity)


class AutoEncoder(nn.Module):
    """Four halvings down to the code and four doublings back, with no way around the code: [b, 1, x, y, z] to the same; sides are multiples of 16."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for narrow, wide in zip((1, *widths[:-1]), widths, strict=True):
            down += [nn.Conv3d(narrow, wide, 3, stride=2, padding=1), nn.BatchNorm3d(wide), nn.LeakyReLU(0.1)]
        for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up += [nn.Upsample(scale_factor=2), nn.Conv3d(wide, narrow, 3, padding=1), nn.BatchNorm3d(narrow), nn.LeakyReLU(0.1)]
        up += [nn.Conv3d(widths[0], 8, 3, padding=1), nn.ConvTranspose3d(8, 1, 2, stride=2)]
        self.encode, self.decode = nn.Sequential(*down), nn.Sequential(*up)

    def forward(self, volume: Tensor) -> Tensor:
        return torch.as_tensor(self.decode(self.encode(volume)))


def train(
    volumes: Sequence[Path], out: Path, settings: Settings, every: int = 100, on_step: OnStep = lambda step, steps, loss: None
) -> Path:
    """Trains on healthy volumes, or goes on from the checkpoint in `out`, and writes weights and record there when done; returns `out`.

    Every draw of a step comes from the seed and the step's number, so a resumed run sees what an uninterrupted one would. Raises `UserError` if
    the checkpoint was made with other settings, or if the loss is not finite.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    network = AutoEncoder(settings.widths).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    first = _resume(out / CHECKPOINT, network, optimiser, settings)
    brains = [_brain(path, settings) for path in volumes]
    losses: list[float] = []
    for step in range(first, settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        batch = _batch(brains, step, settings)
        brain = batch > BACKGROUND
        loss = (network(batch) - batch)[brain].square().mean()
        if not torch.isfinite(loss):
            raise UserError(f"The auto-encoder's loss is not finite at step {step}; lower its learning rate.")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
        on_step(step + 1, settings.steps, losses[-1])
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            _log(out / "log.csv", step + 1, float(np.mean(losses)))
            losses.clear()
            state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1, "settings": asdict(settings)}
            beside = out / f"{CHECKPOINT}.part"
            torch.save(state, beside)
            os.replace(beside, out / CHECKPOINT)
    _save(out, network, settings, [path.name for path in volumes])
    return out


def load(folder: Path) -> tuple[AutoEncoder, Settings]:
    """The auto-encoder in a folder that `train` wrote, in evaluation mode. Raises `UserError`."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        raw = record["settings"]
        settings = Settings(**{**raw, "widths": tuple(raw["widths"]), "shape": tuple(raw["shape"])})
        network = AutoEncoder(settings.widths)
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise UserError(
            f"{folder} holds no auto-encoder that can be used ({error}); train it with `itermask3d evaluate autoencoder`."
        ) from None
    return network.eval(), settings


def trained(folder: Path) -> bool:
    """Whether `train` came to its end in this folder."""
    return (folder / RECORD).exists() and (folder / WEIGHTS).exists()


def _brain(path: Path, settings: Settings) -> FloatVolume:
    """A volume on the grid, cut to the grid's shape where a brain needs more: training batches have one shape."""
    array = prepare(read_image(path), settings.grid).volume
    starts = [(have - want) // 2 for have, want in zip(array.shape, settings.shape, strict=True)]
    return array[tuple(slice(start, start + want) for start, want in zip(starts, settings.shape, strict=True))]


def _batch(brains: Sequence[FloatVolume], step: int, settings: Settings) -> Tensor:
    """The volumes of a step, each mirrored left to right half of the time: float32 [batch, 1, x, y, z]."""
    rng = np.random.default_rng([settings.seed, step])
    chosen = [brains[index] for index in rng.integers(len(brains), size=settings.batch)]
    mirrored = [brain[::-1] if rng.random() < 0.5 else brain for brain in chosen]
    return torch.from_numpy(np.stack(mirrored)[:, None]).contiguous(memory_format=torch.channels_last_3d)


def _resume(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, settings: Settings) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if replace(settings, **state["settings"]) != settings:
        raise UserError(f"{path} was made with other settings; choose another folder or remove it.")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _save(out: Path, network: nn.Module, settings: Settings, names: Sequence[str]) -> None:
    weights = out / f"{WEIGHTS}.part"
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, weights)
    os.replace(weights, out / WEIGHTS)
    record = out / f"{RECORD}.part"
    record.write_text(json.dumps({"settings": asdict(settings), "volumes": list(names)}, indent=2) + "\n", encoding="utf-8")
    os.replace(record, out / RECORD)


def _log(path: Path, step: int, loss: float) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(("step", "loss"))
        writer.writerow((step, f"{loss:.5f}"))
