"""Tensors on disk: safetensors files, and checkpoints of published code, read with `weights_only=True`.

Files are read and checked without PyTorch, which takes longer to import than all else of a run but its passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import check_plain, reason

if TYPE_CHECKING:
    import torch

Arrays = Mapping[str, NDArray[np.generic]]
"""Tensors of a network by their names, as a file holds them."""

State = Mapping[str, "torch.Tensor"]
"""Tensors of a network by their names, as PyTorch holds them."""

_USUAL_KEYS = ("state_dict", "model_state_dict", "model", "net", "network")


class TensorKind(NamedTuple):
    """What a tensor is, without its values."""

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: torch.Tensor | NDArray[np.generic]) -> TensorKind:
        return cls(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def kinds_of(tensors: State | Arrays) -> dict[str, TensorKind]:
    return {name: TensorKind.of(tensor) for name, tensor in tensors.items()}


def arrays_of(tensors: State | Arrays) -> dict[str, NDArray[np.generic]]:
    """Tensors as arrays; those that are on the CPU share their values."""
    return {
        name: tensor if isinstance(tensor, np.ndarray) else tensor.detach().cpu().numpy()
        for name, tensor in tensors.items()
    }


def arrays_in(data: bytes, where: Path) -> dict[str, NDArray[np.generic]]:
    """The tensors of a safetensors file. Raises `UserError`."""
    try:
        arrays: dict[str, NDArray[np.generic]] = load_arrays(data)
        return arrays
    except KeyError as error:
        raise UserError(f"{where} holds numbers of the type {error.args[0]}, which no model here has.") from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise UserError(f"{where} is not a safetensors file ({error}).") from None


def bytes_of(tensors: State | Arrays) -> bytes:
    """Tensors as a safetensors file."""
    data: bytes = save_arrays({name: np.array(array, order="C") for name, array in arrays_of(tensors).items()})
    return data


def check_tensors(given: State | Arrays, wanted: Mapping[str, TensorKind], where: str) -> None:
    """Raises `UserError` naming the first tensor that is missing, unknown, of another shape or type, or not finite."""
    for name, kind in wanted.items():
        if name not in given:
            raise UserError(f"{where}: tensor {name} is missing.")
        found = TensorKind.of(given[name])
        if found != kind:
            raise UserError(f"{where}: tensor {name} is {found} where the network of the card has {kind}.")
        if not np.isfinite(_values(given[name], f"{where}: tensor {name}")).all():
            raise UserError(f"{where}: tensor {name} holds values that are not finite.")
    for name in given:
        if name not in wanted:
            raise UserError(f"{where}: tensor {name} does not belong to this network.")


def _values(tensor: torch.Tensor | NDArray[np.generic], what: str) -> NDArray[np.generic]:
    try:
        return arrays_of({"": tensor})[""]
    except (TypeError, RuntimeError, NotImplementedError):  # What PyTorch says of sparse tensors and of those on meta.
        raise UserError(f"{what} is not stored as plain values.") from None


def read_checkpoint(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The state dict of a file of `torch.save`, bare or under a usual key.

    Only tensors are read; any other object in the file is refused. Raises `UserError`.
    """
    import torch

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
