"""From checkpoints of the published code to a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.mmccd.network import BACKWARD, CHANNELS, DIFFUSION, FORWARD, networks_of
from IterMask3DLib.methods.shared_settings import PUBLISHED_SHAPE, PUBLISHED_SLICE_SPACING, PUBLISHED_SPACING
from IterMask3DLib.methods.slice_unet import SIDE_MULTIPLE
from IterMask3DLib.models.store import WEIGHTS, save_model
from IterMask3DLib.models.weights import check_tensors, read_checkpoint

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
    shape = tuple(options.get("shape", PUBLISHED_SHAPE))
    if len(shape) != 2 or any(side < SIDE_MULTIPLE or side % SIDE_MULTIPLE for side in shape):
        raise UserError(f"The grid of slices needs two sides that are multiples of {SIDE_MULTIPLE}.")
    first, *others = options["inputs"]
    if len(others) > 1:
        raise UserError("MMCCD has two modalities, that of its runs and what it is translated to; change --modality.")
    states, files = _parts(checkpoints)
    width = {part: int(state[_FIRST].shape[0]) for part, state in states.items()}
    card = ModelCard(
        name=out.name,
        title=f"Converted from {' and '.join(path.name for path in checkpoints)}",
        method="mmccd",
        inputs=(first,),
        grid=CardGrid(float(options.get("spacing", PUBLISHED_SPACING)), shape, SIDE_MULTIPLE, PUBLISHED_SLICE_SPACING),
        networks={part: NetworkEntry(WEIGHTS, config={"width": width[part], "dropout": 0.1}) for part in states},
        intensity="p90",
        settings={} if DIFFUSION in states else {"translation": "unet"},
        training={
            "converted_from": ", ".join(path.name for path in checkpoints),
            "translated to": others[0] if others else "unknown",
            "attribution": "",
            "data": "unknown: see whoever made the checkpoints",
        },
        created=datetime.now(timezone.utc).date().isoformat(),
    )
    with torch.device("meta"):
        wanted = {part: network.state_dict() for part, network in networks_of(card).items()}
    for part, state in states.items():
        check_tensors(state, wanted[part], str(files[part]))
    return save_model(out, card, states)


def _parts(checkpoints: Sequence[Path]) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Path]]:
    """The state dict and the file of each network. Raises `UserError`."""
    if len(checkpoints) not in (2, 3):
        given = f"{len(checkpoints)} {'was' if len(checkpoints) == 1 else 'were'} given"
        raise UserError(f"MMCCD needs the checkpoint of the way there, and then that of the way back; {given}.")
    states: dict[str, dict[str, torch.Tensor]] = {}
    files: dict[str, Path] = {}
    for number, checkpoint in enumerate(checkpoints):
        state = read_checkpoint(checkpoint)
        channels = _channels(state, checkpoint)
        there = DIFFUSION if channels == CHANNELS[DIFFUSION] else FORWARD
        part = BACKWARD if number == len(checkpoints) - 1 else there
        if part in states or channels != CHANNELS[part]:
            order = "give the way there (diffusion, U-Net or both), then the way back"
            raise UserError(f"{checkpoint} has {channels} input channels, where the {part} is expected; {order}.")
        states[part], files[part] = state, checkpoint
    return states, files


def _channels(state: Mapping[str, torch.Tensor], checkpoint: Path) -> int:
    if _FIRST not in state or state[_FIRST].ndim != 4:
        raise UserError(f"{checkpoint} is no checkpoint of MMCCD: {_FIRST} is missing.")
    if any(name.endswith("running_mean") for name in state):
        raise UserError(f"{checkpoint} is no checkpoint of MMCCD: it has batch norm, as those of IterMask2.")
    return int(state[_FIRST].shape[1])
