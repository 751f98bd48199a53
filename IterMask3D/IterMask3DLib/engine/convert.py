"""From a checkpoint of the published code to a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.engine.card import Card, CardGrid
from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.models import check_tensors, save_model
from IterMask3DLib.engine.network import SIDE_MULTIPLE, UNet3D

_USUAL_KEYS = ("state_dict", "model_state_dict", "model", "net", "network")
_STAGES = 5


def convert(
    checkpoint: Path,
    out: Path,
    *,
    name: str,
    modality: str,
    spacing: float = 1.0,
    shape: tuple[int, int, int] = (192, 192, 192),
    gamma: float = 0.05,
) -> Card:
    """Writes the model folder `out` from a file of `torch.save` that holds the published state dict (138 entries), bare or under a usual key.

    Only tensors are read (`weights_only=True`); any other object in the file is refused. `spacing`: mm; `shape`: voxels, multiples of 16.
    Returns the card. Raises `InputError`.
    """
    if spacing <= 0 or gamma <= 0 or any(side < SIDE_MULTIPLE or side % SIDE_MULTIPLE for side in shape):
        raise InputError(f"The spacing and gamma must be above 0, and the sides of the grid multiples of {SIDE_MULTIPLE}.")
    tensors = _state_dict(checkpoint)
    widths = tuple(_width(tensors, stage, checkpoint) for stage in range(1, _STAGES + 1))
    try:
        network = UNet3D(widths)
    except RuntimeError:
        raise InputError(f"{checkpoint} has widths {widths}, which make no network.") from None
    check_tensors(tensors, network.state_dict(), str(checkpoint))
    network.load_state_dict(tensors)
    card = Card(
        name=name,
        title=f"Converted from {checkpoint.name}",
        modality=modality,
        grid=CardGrid(spacing, shape),
        widths=widths,
        gamma=gamma,
        training={"converted_from": checkpoint.name, "attribution": "", "data": "unknown: see whoever made the checkpoint"},
        created=datetime.now(timezone.utc).date().isoformat(),
    )
    return save_model(out, network.eval(), card)


def _state_dict(checkpoint: Path) -> Mapping[str, torch.Tensor]:
    try:
        loaded: Any = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{checkpoint} cannot be read ({error.strerror}).") from None
    except Exception:  # A file that is no checkpoint makes the reader fail in as many ways as there are files.
        raise InputError(
            f"{checkpoint} is not a checkpoint that holds tensors alone; save the network's state_dict() with torch.save."
        ) from None
    for key in _USUAL_KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise InputError(f"{checkpoint} holds no state dict of the published network.")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


def _width(tensors: Mapping[str, torch.Tensor], stage: int, checkpoint: Path) -> int:
    key = f"conv_{stage}.conv.unit0.conv.weight"
    if key not in tensors or tensors[key].ndim != 5:
        raise InputError(f"{checkpoint} is no checkpoint of the published network: {key} is missing.")
    return int(tensors[key].shape[0])
