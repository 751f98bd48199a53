"""From the two checkpoints of the published code of IterMask2 to a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.conversion import grid_of, one_of_each, save_converted
from IterMask3DLib.methods.itermask2.network import CHANNELS, networks_of
from IterMask3DLib.methods.shared_settings import PUBLISHED_SHAPE, PUBLISHED_SLICE_SPACING, PUBLISHED_SPACING
from IterMask3DLib.methods.slice_unet import SIDE_MULTIPLE
from IterMask3DLib.models.weights import State

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
    if len(options["inputs"]) != 1:
        raise UserError(f"IterMask2 takes one input, not {len(options['inputs'])}; give one --modality.")
    grid = grid_of(options, CardGrid(PUBLISHED_SPACING, PUBLISHED_SHAPE, SIDE_MULTIPLE, PUBLISHED_SLICE_SPACING))
    found = one_of_each(checkpoints, list(CHANNELS), _network_in)
    return save_converted(
        out,
        found,
        networks_of,
        {name: {"width": int(state[_ENTRY].shape[0]), "dropout": 0.1} for name, (_, state) in found.items()},
        method="itermask2",
        inputs=tuple(options["inputs"]),
        grid=replace(grid, slice_spacing=None) if "spacing" in options else grid,
        intensity="p90",
    )


def _network_in(path: Path, tensors: State) -> str:
    """Which network a checkpoint is of. Raises `UserError`."""
    entry = tensors.get(_ENTRY)
    if entry is not None and entry.ndim == 4:
        for name, channels in CHANNELS.items():
            if entry.shape[1] == channels:
                return name
    what = "is missing" if entry is None else f"has the shape {list(entry.shape)}"
    raise UserError(f"{path} is no checkpoint of IterMask2: {_ENTRY} {what}.")
