"""What a run needs to go on as if it had never stopped, written whole."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.training.cache import write_whole
from IterMask3DLib.training.recipe import MAY_CHANGE, Recipe

CHECKPOINT, BEST = "checkpoint.pt", "best.pt"
_FORMAT = 2


@dataclass(frozen=True)
class Progress:
    """Where a run stands: steps done, the best validation so far and when, validations since then."""

    step: int = 0
    best_error: float = float("inf")
    best_step: int = 0
    stale: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a run with its progress. `cohort`: key of the training volumes; `average`: the moving average of the weights, if any."""

    network: Mapping[str, Any]
    optimiser: Mapping[str, Any]
    average: Mapping[str, Any] | None
    progress: Progress
    recipe: Mapping[str, Any]
    cohort: str
    precision: str


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint beside `path` and renames it."""
    state = {**vars(checkpoint), "progress": vars(checkpoint.progress), "format": _FORMAT}
    write_whole(path, lambda beside: torch.save(state, beside))


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint at `path`, on the CPU, or None where there is no file. Raises `UserError` if it is not one of this software."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state.pop("format") != _FORMAT:
            raise KeyError("format")
        return Checkpoint(**{**state, "progress": Progress(**state["progress"])})
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is not a checkpoint of this version; give another RUN folder or remove the file.") from None


def check_same(found: Checkpoint, recipe: Recipe, cohort: str, run: Path) -> None:
    """Raises `UserError` if a run would go on with other settings or volumes than it began with."""
    wanted = recipe.record()
    for key, value in found.recipe.items():
        if key not in MAY_CHANGE and wanted.get(key) != value:
            raise UserError(f"{run} was begun with {key} {value!r}, not {wanted.get(key)!r}; give the same, or another RUN folder.")
    if found.cohort != cohort:
        raise UserError(f"{run} was begun with other training volumes; give the same ones, or another RUN folder.")
