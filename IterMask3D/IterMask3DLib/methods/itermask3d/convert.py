"""From a checkpoint of the published code to a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import changed
from IterMask3DLib.methods.conversion import grid_of, save_converted
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK, SIDE_MULTIPLE
from IterMask3DLib.methods.itermask3d.network import networks_of
from IterMask3DLib.methods.itermask3d.settings import PUBLISHED_SHAPE, Settings
from IterMask3DLib.models.weights import State, read_checkpoint

_STAGES = 5


def convert(checkpoints: Sequence[Path], out: Path, options: Mapping[str, Any]) -> ModelCard:
    """Writes the model folder `out` from a file that holds the published state dict (138 entries); returns its card.

    Args:
        checkpoints: one file of `torch.save`.
        options: `inputs` (one name), `spacing` (mm), `shape` (voxels, multiples of 16), `gamma`; those that are left
            out are as published.

    Raises:
        UserError: for a file that is no checkpoint of the published network, or options that make no model.
    """
    if len(checkpoints) != 1:
        raise UserError(f"IterMask3D has one network; {len(checkpoints)} checkpoints were given.")
    (checkpoint,) = checkpoints
    grid = grid_of(options, CardGrid(1.0, PUBLISHED_SHAPE, SIDE_MULTIPLE))
    chosen = changed(Settings(), {"gamma": options["gamma"]} if "gamma" in options else {}, "convert")
    tensors = read_checkpoint(checkpoint)
    widths = [_width(tensors, stage, checkpoint) for stage in range(1, _STAGES + 1)]
    return save_converted(
        out,
        {NETWORK: (checkpoint, tensors)},
        networks_of,
        {NETWORK: {"widths": widths, "dropout": 0.2}},
        method="itermask3d",
        inputs=tuple(options["inputs"]),
        grid=grid,
        settings={"gamma": chosen.gamma},
    )


def _width(tensors: State, stage: int, checkpoint: Path) -> int:
    key = f"conv_{stage}.conv.unit0.conv.weight"
    if key not in tensors or tensors[key].ndim != 5:
        raise UserError(f"{checkpoint} is no checkpoint of the published network: {key} is missing.")
    return int(tensors[key].shape[0])
