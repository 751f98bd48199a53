"""From checkpoints of the published code to a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.conversion import grid_of, save_converted
from IterMask3DLib.methods.mmccd.network import BACKWARD, CHANNELS, DIFFUSION, FORWARD, networks_of
from IterMask3DLib.methods.shared_settings import PUBLISHED_SHAPE, PUBLISHED_SLICE_SPACING, PUBLISHED_SPACING
from IterMask3DLib.methods.slice_unet import SIDE_MULTIPLE
from IterMask3DLib.models.weights import State, read_checkpoint

_FIRST = "input_blocks.0.0.weight"


def convert(checkpoints: Sequence[Path], out: Path, options: Mapping[str, Any]) -> ModelCard:
    """Writes the model folder `out` from files that hold the published state dicts (492 entries); returns its card.

    Args:
        checkpoints: the diffusion's or the U-Net's file, or both, then that of the way back. Which is the diffusion's
            is seen from its two input channels.
        options: `inputs` (the channel of a run and, if it is to be known, the translated one), `spacing` (mm), `shape`
            (pixels, multiples of 16); those that are left out are as published.

    Raises:
        UserError: for files that are no checkpoints of the published networks, or options that make no model.
    """
    grid = grid_of(options, CardGrid(PUBLISHED_SPACING, PUBLISHED_SHAPE, SIDE_MULTIPLE, PUBLISHED_SLICE_SPACING))
    first, *others = options["inputs"]
    if len(others) > 1:
        raise UserError("MMCCD has two modalities, that of its runs and what it is translated to; change --modality.")
    found = _parts(checkpoints)
    return save_converted(
        out,
        found,
        networks_of,
        {part: {"width": int(state[_FIRST].shape[0]), "dropout": 0.1} for part, (_, state) in found.items()},
        {"translated to": others[0] if others else "unknown"},
        method="mmccd",
        inputs=(first,),
        grid=grid,
        intensity="p90",
        settings={} if DIFFUSION in found else {"translation": "unet"},
    )


def _parts(checkpoints: Sequence[Path]) -> dict[str, tuple[Path, State]]:
    """The file of each network and its state dict. Raises `UserError`."""
    if len(checkpoints) not in (2, 3):
        given = f"{len(checkpoints)} {'was' if len(checkpoints) == 1 else 'were'} given"
        raise UserError(f"MMCCD needs the checkpoint of the way there, and then that of the way back; {given}.")
    found: dict[str, tuple[Path, State]] = {}
    for number, checkpoint in enumerate(checkpoints):
        state = read_checkpoint(checkpoint)
        channels = _channels(state, checkpoint)
        there = DIFFUSION if channels == CHANNELS[DIFFUSION] else FORWARD
        part = BACKWARD if number == len(checkpoints) - 1 else there
        if part in found or channels != CHANNELS[part]:
            order = "give the way there (diffusion, U-Net or both), then the way back"
            raise UserError(f"{checkpoint} has {channels} input channels, where the {part} is expected; {order}.")
        found[part] = checkpoint, state
    return found


def _channels(state: State, checkpoint: Path) -> int:
    if _FIRST not in state or state[_FIRST].ndim != 4:
        raise UserError(f"{checkpoint} is no checkpoint of MMCCD: {_FIRST} is missing.")
    if any(name.endswith("running_mean") for name in state):
        raise UserError(f"{checkpoint} is no checkpoint of MMCCD: it has batch norm, as those of IterMask2.")
    return int(state[_FIRST].shape[1])
