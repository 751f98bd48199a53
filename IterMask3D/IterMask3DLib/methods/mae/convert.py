"""From the two checkpoints of a published masked auto-encoder and its classifier to a model folder."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.mae.network import AUTOENCODER, CLASSIFIER, built, config_of
from IterMask3DLib.methods.mae.settings import PUBLISHED_SPACING, MAETrainingSettings
from IterMask3DLib.models.store import WEIGHTS, save_model
from IterMask3DLib.models.weights import check_tensors, read_checkpoint

_ENTRY = "patch_embed.proj.weight"
_TELLING = {AUTOENCODER: ("mask_token", 3), CLASSIFIER: ("head.weight", 2)}
"""For each network a tensor that the other one has not, and its dimensions."""

_HEAD, _DECODER_HEAD = 64, 32
"""Channels of a head of the published transformers, which no tensor tells."""

State = Mapping[str, torch.Tensor]


def convert(checkpoints: Sequence[Path], out: Path, options: Mapping[str, Any]) -> ModelCard:
    """Writes the model folder `out` from two files that hold published state dicts.

    Args:
        checkpoints: that of the masked auto-encoder and that of the classifier, in any order.
        options: `inputs` (one name), `spacing` (mm), `shape` (pixels; as many patches as the networks have positions;
            left out: a square). A model of another spacing has slices that far apart too.

    Raises:
        UserError: for files that are no checkpoints of the two networks, or options that make no model.
    """
    if len(checkpoints) != 2:
        raise UserError(f"Two checkpoints are needed, {AUTOENCODER} and {CLASSIFIER}; {len(checkpoints)} given.")
    if len(options["inputs"]) != 1:
        raise UserError(f"A masked auto-encoder takes one input, not {len(options['inputs'])}; give one --modality.")
    states: dict[str, State] = {}
    paths: dict[str, Path] = {}
    for path in checkpoints:
        name, tensors = _published(path)
        if name in states:
            raise UserError(f"{path} is a second {name}; give one checkpoint of each network.")
        states[name], paths[name] = tensors, path
    settings = {name: _settings_of(state) for name, state in states.items()}
    shape = _shape(states, settings[AUTOENCODER].patch, options.get("shape"))
    for name, state in states.items():
        settings[name].check(str(paths[name]))
        with torch.device("meta"):
            wanted = built(shape, settings[name])[name].state_dict()
        check_tensors(state, wanted, str(paths[name]))
    grid = CardGrid(
        float(options.get("spacing", PUBLISHED_SPACING)),
        shape,
        settings[AUTOENCODER].patch,
        None if "spacing" in options else 1.0,
    )
    card = ModelCard(
        name=out.name,
        title=f"Converted from {' and '.join(path.name for path in checkpoints)}",
        method="mae",
        inputs=tuple(options["inputs"]),
        grid=grid,
        networks={name: NetworkEntry(WEIGHTS, config=config_of(settings[name], name)) for name in states},
        training={
            "converted_from": ", ".join(path.name for path in checkpoints),
            "attribution": "",
            "data": "unknown: see whoever made the checkpoints",
        },
        created=datetime.now(timezone.utc).date().isoformat(),
    )
    return save_model(out, card, states)


def _published(path: Path) -> tuple[str, State]:
    """Which network a checkpoint is of, and its state. Raises `UserError`."""
    tensors = read_checkpoint(path)
    for name, (telling, dimensions) in _TELLING.items():
        wanted = {_ENTRY: 4, "pos_embed": 3, telling: dimensions}
        if all(key in tensors and tensors[key].ndim == ndim for key, ndim in wanted.items()):
            return name, tensors
    raise UserError(f"{path} is no checkpoint of a masked auto-encoder or its classifier.")


def _settings_of(state: State) -> MAETrainingSettings:
    """The sizes that tensors tell."""
    width, _, side, _ = state[_ENTRY].shape
    found = replace(
        MAETrainingSettings(), patch=side, width=width, depth=_depth(state, "blocks"), heads=max(1, width // _HEAD)
    )
    if "mask_token" not in state:
        return found
    narrow = int(state["mask_token"].shape[2])
    return replace(
        found,
        decoder_width=narrow,
        decoder_depth=_depth(state, "decoder_blocks"),
        decoder_heads=max(1, narrow // _DECODER_HEAD),
    )


def _depth(state: State, blocks: str) -> int:
    return len({found[1] for name in state if (found := re.match(rf"{blocks}\.(\d+)\.", name))})


def _shape(states: Mapping[str, State], side: int, given: Any) -> tuple[int, int]:
    """Pixels of a slice. Raises `UserError` where the positions are not those of the slices asked for."""
    counts = {int(state["pos_embed"].shape[1]) - 1 for state in states.values()}
    if len(counts) != 1:
        raise UserError("The two checkpoints are of slices of different sizes.")
    (count,) = counts
    square = math.isqrt(count) * side
    shape = (square, square) if given is None else tuple(given)
    if side < 1 or len(shape) != 2 or any(each % side for each in shape) or math.prod(shape) != count * side**2:
        raise UserError(f"The networks see {count} patches of {side} by {side} pixels; give a --shape of as many.")
    return shape
