"""From a checkpoint of the published code to a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import changed
from IterMask3DLib.methods.itermask3d.network import NETWORK, SIDE_MULTIPLE, network_of
from IterMask3DLib.methods.itermask3d.settings import PUBLISHED_SHAPE, Settings
from IterMask3DLib.models.store import WEIGHTS, save_model
from IterMask3DLib.models.weights import check_tensors, read_checkpoint

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
    shape = tuple(options.get("shape", PUBLISHED_SHAPE))
    if len(shape) != 3 or any(side < SIDE_MULTIPLE or side % SIDE_MULTIPLE for side in shape):
        raise UserError(f"The grid needs three sides that are multiples of {SIDE_MULTIPLE}.")
    chosen = changed(Settings(), {"gamma": options["gamma"]} if "gamma" in options else {}, "convert")
    tensors = read_checkpoint(checkpoint)
    widths = tuple(_width(tensors, stage, checkpoint) for stage in range(1, _STAGES + 1))
    card = ModelCard(
        name=out.name,
        title=f"Converted from {checkpoint.name}",
        method="itermask3d",
        inputs=tuple(options["inputs"]),
        grid=CardGrid(float(options.get("spacing", 1.0)), shape, SIDE_MULTIPLE),
        networks={NETWORK: NetworkEntry(WEIGHTS, config={"widths": list(widths), "dropout": 0.2})},
        settings={"gamma": chosen.gamma},
        training={
            "converted_from": checkpoint.name,
            "attribution": "",
            "data": "unknown: see whoever made the checkpoint",
        },
        created=datetime.now(timezone.utc).date().isoformat(),
    )
    try:
        with torch.device("meta"):
            wanted = network_of(card).state_dict()
    except RuntimeError:
        raise UserError(f"{checkpoint} has widths {widths}, which make no network.") from None
    check_tensors(tensors, wanted, str(checkpoint))
    return save_model(out, card, {NETWORK: tensors})


def _width(tensors: Mapping[str, torch.Tensor], stage: int, checkpoint: Path) -> int:
    key = f"conv_{stage}.conv.unit0.conv.weight"
    if key not in tensors or tensors[key].ndim != 5:
        raise UserError(f"{checkpoint} is no checkpoint of the published network: {key} is missing.")
    return int(tensors[key].shape[0])
