"""From the two checkpoints of the published code of IterMask2 to a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.itermask2.network import CHANNELS, FIRST, MASKED, network
from IterMask3DLib.methods.shared_settings import PUBLISHED_SHAPE, PUBLISHED_SLICE_SPACING, PUBLISHED_SPACING
from IterMask3DLib.methods.slice_unet import SIDE_MULTIPLE
from IterMask3DLib.models.store import WEIGHTS, save_model
from IterMask3DLib.models.weights import check_tensors, read_checkpoint

_ENTRY = "input_blocks.0.0.weight"


def convert(checkpoints: Sequence[Path], out: Path, options: Mapping[str, Any]) -> ModelCard:
    """Writes the model folder `out` from two files that hold published state dicts (753 entries each).

    The model has no threshold: `itermask3d calibrate` finds one on healthy volumes, as the published validation does.

    Args:
        checkpoints: that of the first iteration and that of the masked auto-encoder, in any order.
        options: `inputs` (one name), `spacing` (mm), `shape` (pixels, multiples of 16); those that are left out are as
            published. A model of another spacing has slices that far apart too.

    Raises:
        UserError: for files that are no checkpoints of the two published networks, or options that make no model.
    """
    if len(checkpoints) != len(CHANNELS):
        count = f"{len(checkpoints)} checkpoint{'s were' if len(checkpoints) > 1 else ' was'}"
        raise UserError(f"IterMask2 has two networks, {FIRST} and {MASKED}; {count} given.")
    shape = tuple(options.get("shape", PUBLISHED_SHAPE))
    if len(shape) != 2 or any(side < SIDE_MULTIPLE or side % SIDE_MULTIPLE for side in shape):
        raise UserError(f"The grid needs two sides that are multiples of {SIDE_MULTIPLE}.")
    between = None if "spacing" in options else PUBLISHED_SLICE_SPACING
    states: dict[str, Mapping[str, torch.Tensor]] = {}
    for path in checkpoints:
        name, tensors = _published(path)
        if name in states:
            raise UserError(f"{path} is a second {name}; give one checkpoint of each network.")
        states[name] = tensors
    card = ModelCard(
        name=out.name,
        title=f"Converted from {' and '.join(path.name for path in checkpoints)}",
        method="itermask2",
        inputs=tuple(options["inputs"]),
        grid=CardGrid(float(options.get("spacing", PUBLISHED_SPACING)), shape, SIDE_MULTIPLE, between),
        networks={
            name: NetworkEntry(WEIGHTS, config={"width": int(state[_ENTRY].shape[0]), "dropout": 0.1})
            for name, state in states.items()
        },
        intensity="p90",
        training={
            "converted_from": ", ".join(path.name for path in checkpoints),
            "attribution": "",
            "data": "unknown: see whoever made the checkpoints",
        },
        created=datetime.now(timezone.utc).date().isoformat(),
    )
    if len(card.inputs) != 1:
        raise UserError(f"IterMask2 takes one input, not {len(card.inputs)}; give one --modality.")
    return save_model(out, card, states)


def _published(path: Path) -> tuple[str, Mapping[str, torch.Tensor]]:
    """Which network a checkpoint is of, and its state. Raises `UserError`."""
    tensors = read_checkpoint(path)
    entry = tensors.get(_ENTRY)
    name = next((n for n, channels in CHANNELS.items() if entry is not None and entry.shape[1:2] == (channels,)), None)
    if entry is None or entry.ndim != 4 or name is None:
        what = "is missing" if entry is None else f"has the shape {list(entry.shape)}"
        raise UserError(f"{path} is no checkpoint of IterMask2: {_ENTRY} {what}.")
    with torch.device("meta"):
        wanted = network(name, int(entry.shape[0])).state_dict()
    check_tensors(tensors, wanted, str(path))
    return name, tensors
