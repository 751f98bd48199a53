"""The published recipe for parity: weights and inputs made by formulas, and what the authors' code gives for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.itermask3d.masked_reconstruction import NetworkInput

GOLDEN = Path(__file__).parent / "golden"
NUMBERS: dict[str, Any] = json.loads((GOLDEN / "itermask3d.json").read_text(encoding="utf-8"))


def fill_published(network: nn.Module) -> nn.Module:
    """Fills every float tensor of the state dict by the recipe's hash of its place, in evaluation mode."""
    state, k = network.state_dict(), 0
    for name, tensor in state.items():
        if not tensor.is_floating_point() or "pos_embed" in name:
            continue
        n = np.arange(tensor.numel(), dtype=np.int64)
        b = 2 * ((7919 * n**2 + 104729 * n + 1299709 * k + 12345) % 1000003) / 1000003 - 1
        if name.endswith("running_var"):
            values = 1 + 0.5 * np.abs(b)
        elif name.endswith("running_mean"):
            values = 0.2 * b
        elif name.endswith("weight") and tensor.ndim == 1:
            values = 0.25 + 0.1 * b if tensor.numel() == 1 else 1 + 0.2 * b
        elif tensor.ndim > 1 and not name.endswith(("cls_token", "mask_token")):
            values = b * np.sqrt(3 / (tensor.numel() / tensor.shape[0]))
        else:
            values = 0.1 * b
        state[name] = torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape)
        k += 1
    network.load_state_dict(state)
    return network.eval()


def published_input(side: int = 32) -> torch.Tensor:
    """The recipe's network input: float32 [1, 2, side, side, side]."""
    c, i, j, k = np.meshgrid(np.arange(2), *(np.arange(side),) * 3, indexing="ij")
    pattern = np.sin(0.11 * i + 0.07 * c) * np.cos(0.13 * j) + 0.5 * np.sin(0.17 * k + 0.3 * c)
    return torch.from_numpy(pattern.astype(np.float32))[None]


def published_slices(side: int, channels: int, batch: int = 2) -> torch.Tensor:
    """The recipe's input of networks of slices: float32 [batch, channels, side, side]."""
    b, c, i, j = np.indices((batch, channels, side, side))
    pattern = np.sin(0.11 * i + 0.07 * c + 0.5 * b) * np.cos(0.13 * j) + 0.5 * np.sin(0.17 * (i + j) + 0.3 * c)
    return torch.from_numpy(pattern.astype(np.float32))


def published_volume() -> NetworkInput:
    """The recipe's volume with a lesion, its high-frequency image (radius 15 bins of 32) and its brain."""
    volume = np.load(GOLDEN / "vol32.npy").astype(np.float32).reshape(32, 32, 32)
    brain = np.load(GOLDEN / "brain32.npy").reshape(32, 32, 32) > 0
    return NetworkInput(volume, high_frequency(volume, (1.0, 1.0, 1.0), 15 / 32), brain)


def mean_filter(channels: torch.Tensor) -> torch.Tensor:
    """The recipe's stand-in for a network: the 5x5x5 mean of the masked volume, zero padding."""
    return nn.functional.conv3d(channels[:, :1], torch.full((1, 1, 5, 5, 5), 1 / 125), padding=2)


def no_noise(number: int, voxels: int) -> np.ndarray:
    return np.zeros(voxels, dtype=np.float32)
