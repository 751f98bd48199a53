"""What a stage needs to go on as if it had never stopped, written whole."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import check_plain, whole_file
from IterMask3DLib.models.weights import State
from IterMask3DLib.training.options import MAY_CHANGE

CHECKPOINT, BEST = "checkpoint.pt", "best.pt"
_FORMAT = 3

States = Mapping[str, State]
"""The state of each network, by its name."""


@dataclass(frozen=True)
class StageProgress:
    """Where a stage stands: steps done, the best validation so far and when, validations since then."""

    step: int = 0
    best_error: float = float("inf")
    best_step: int = 0
    stale: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A stage of a run.

    Attributes:
        networks, optimiser: their states.
        average: the moving average of the networks' weights, if any.
        progress: where it stands.
        options: see `TrainingOptions.record`.
        cohort: key of the volumes learned from; earlier: of the weights of the stages before, "" for the first one.
        precision: bf16 or fp32.
    """

    networks: States
    optimiser: Mapping[str, Any]
    average: States | None
    progress: StageProgress
    options: Mapping[str, Any]
    cohort: str
    earlier: str
    precision: str


@dataclass(frozen=True)
class BestWeights:
    """The weights with the least validation error so far, and the step they are from."""

    networks: States
    step: int


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, whole."""
    _save(path, {**vars(checkpoint), "progress": vars(checkpoint.progress), "format": _FORMAT})


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, on the CPU, or None where there is no file. Raises `UserError` for another file."""
    state = _load(path)
    try:
        if state is None:
            return None
        if state.pop("format") != _FORMAT:
            raise KeyError("format")
        return Checkpoint(**{**state, "progress": StageProgress(**state["progress"])})
    except (KeyError, TypeError, AttributeError):
        raise _damaged(path) from None


def save_best(path: Path, best: BestWeights) -> None:
    """Writes the best weights, whole."""
    _save(path, vars(best))


def load_best(path: Path) -> BestWeights | None:
    """The best weights at `path`, or None where there is no file. Raises `UserError`."""
    state = _load(path)
    try:
        return None if state is None else BestWeights(**state)
    except TypeError:
        raise _damaged(path) from None


def check_same(found: Checkpoint, options: Mapping[str, Any], cohort: str, earlier: str, folder: Path) -> None:
    """Raises `UserError` if a stage would go on with other choices, volumes or weights than it began with."""
    for key, value in found.options.items():
        if key not in MAY_CHANGE and options.get(key) != value:
            wanted = options.get(key)
            raise UserError(
                f"{folder} was begun with {key} {value!r}, not {wanted!r}; give the same, or another RUN folder."
            )
    if found.cohort != cohort:
        raise UserError(f"{folder} was begun with other training volumes; give the same ones, or another RUN folder.")
    if found.earlier != earlier:
        raise UserError(
            f"{folder} was begun with other weights of the stage before; remove it to train that stage anew."
        )


def _save(path: Path, state: Mapping[str, Any]) -> None:
    # Through memory: on a full disk PyTorch's own writer fails with an error that does not say so.
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    with whole_file(path) as staged:
        staged.write_bytes(buffer.getbuffer())


def _load(path: Path) -> Any:
    if not path.exists():
        return None
    check_plain(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, ValueError, KeyError):
        raise _damaged(path) from None


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is not a checkpoint of this version; give another RUN folder or remove the file.")
