"""From the two checkpoints of a published masked auto-encoder and its classifier to a model folder."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.conversion import Checkpoints, one_of_each, save_converted
from IterMask3DLib.methods.mae.network import AUTOENCODER, CLASSIFIER, config_of, networks_of
from IterMask3DLib.methods.mae.settings import PUBLISHED_SPACING, MAETrainingSettings
from IterMask3DLib.models.weights import State

_ENTRY = "patch_embed.proj.weight"
_TELLING = {AUTOENCODER: ("mask_token", 3), CLASSIFIER: ("head.weight", 2)}
"""For each network a tensor that the other one has not, and its dimensions."""

_HEAD, _DECODER_HEAD = 64, 32
"""Channels of a head of the published transformers, which no tensor tells."""


def convert(checkpoints: Sequence[Path], out: Path, options: Mapping[str, Any]) -> ModelCard:
    """Writes the model folder `out` from two files that hold published state dicts.

    Args:
        checkpoints: that of the masked auto-encoder and that of the classifier, in any order.
        options: `inputs` (one name), `spacing` (mm), `shape` (pixels; as many patches as the networks have positions;
            left out: a square). A model of another spacing has slices that far apart too.

    Raises:
        UserError: for files that are no checkpoints of the two networks, or options that make no model.
    """
    if len(options["inputs"]) != 1:
        raise UserError(f"A masked auto-encoder takes one input, not {len(options['inputs'])}; give one --modality.")
    found = one_of_each(checkpoints, (AUTOENCODER, CLASSIFIER), _network_in)
    settings = {name: _settings_of(state) for name, (_, state) in found.items()}
    patch = settings[AUTOENCODER].patch
    shape = _shape(found, patch, options.get("shape"))
    spacing, between = float(options.get("spacing", PUBLISHED_SPACING)), None if "spacing" in options else 1.0
    return save_converted(
        out,
        found,
        networks_of,
        {name: config_of(each, name) for name, each in settings.items()},
        method="mae",
        inputs=tuple(options["inputs"]),
        grid=CardGrid(spacing, shape, patch, between),
    )


def _network_in(path: Path, tensors: State) -> str:
    """Which network a checkpoint is of. Raises `UserError`."""
    for name, (telling, dimensions) in _TELLING.items():
        wanted = {_ENTRY: 4, "pos_embed": 3, telling: dimensions}
        if all(key in tensors and tensors[key].ndim == ndim for key, ndim in wanted.items()):
            return name
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


def _shape(found: Checkpoints, side: int, given: Any) -> tuple[int, int]:
    """Pixels of a slice. Raises `UserError` where the positions are not those of the slices asked for."""
    counts = {int(state["pos_embed"].shape[1]) - 1 for _, state in found.values()}
    if len(counts) != 1:
        raise UserError("The two checkpoints are of slices of different sizes.")
    (count,) = counts
    square = math.isqrt(count) * side
    shape = (square, square) if given is None else tuple(given)
    if side < 1 or len(shape) != 2 or any(each % side for each in shape) or math.prod(shape) != count * side**2:
        raise UserError(f"The networks see {count} patches of {side} by {side} pixels; give a --shape of as many.")
    return shape
