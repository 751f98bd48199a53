"""Tensors on disk: safetensors files, and checkpoints of published code, read with `weights_only=True`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import check_plain, reason

State = Mapping[str, torch.Tensor]
"""Tensors of a network by their names."""

_USUAL_KEYS = ("state_dict", "model_state_dict", "model", "net", "network")


def tensors_of(data: bytes, where: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file. Raises `UserError`."""
    try:
        tensors: dict[str, torch.Tensor] = load_tensors(data)
        return tensors
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise UserError(f"{where} is not a safetensors file ({error}).") from None


def bytes_of(tensors: State) -> bytes:
    """Tensors as a safetensors file."""
    data: bytes = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    return data


def check_tensors(given: State, wanted: State, where: str) -> None:
    """Raises `UserError` naming the first tensor that is missing, unknown, of another shape or type, or not finite."""
    for name, tensor in wanted.items():
        if name not in given:
            raise UserError(f"{where}: tensor {name} is missing.")
        if given[name].shape != tensor.shape or given[name].dtype != tensor.dtype:
            have, want = _kind(given[name]), _kind(tensor)
            raise UserError(f"{where}: tensor {name} is {have} where the network of the card has {want}.")
        if given[name].layout != torch.strided or given[name].is_meta:
            raise UserError(f"{where}: tensor {name} is not stored as plain values.")
        if not torch.isfinite(given[name]).all():
            raise UserError(f"{where}: tensor {name} holds values that are not finite.")
    for name in given:
        if name not in wanted:
            raise UserError(f"{where}: tensor {name} does not belong to this network.")


def read_checkpoint(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The state dict of a file of `torch.save`, bare or under a usual key.

    Only tensors are read; any other object in the file is refused. Raises `UserError`.
    """
    check_plain(checkpoint)
    try:
        loaded: Any = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{checkpoint} cannot be read ({reason(error)}).") from None
    except Exception:  # A file that is no checkpoint makes the reader fail in as many ways as there are files.
        advice = "save the network's state_dict() with torch.save"
        raise UserError(f"{checkpoint} is not a checkpoint that holds tensors alone; {advice}.") from None
    for key in _USUAL_KEYS:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise UserError(f"{checkpoint} holds no state dict of the published network.")
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
