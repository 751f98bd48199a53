"""From checkpoints of published code to a model folder: what is the same for every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Networks
from IterMask3DLib.models.store import WEIGHTS, save_model
from IterMask3DLib.models.weights import State, check_tensors, kinds_of, read_checkpoint

Checkpoints = Mapping[str, tuple[Path, State]]
"""The file of each network, by the network's name, and the tensors in it."""


def one_of_each(
    paths: Sequence[Path], networks: Sequence[str], network_in: Callable[[Path, State], str]
) -> dict[str, tuple[Path, State]]:
    """Checkpoints in any order, by the network that `network_in` finds in them.

    Raises `UserError` where there is not one of each.
    """
    if len(paths) != len(networks):
        raise UserError(f"{len(networks)} checkpoints are needed, {' and '.join(networks)}; {len(paths)} given.")
    found: dict[str, tuple[Path, State]] = {}
    for path in paths:
        state = read_checkpoint(path)
        name = network_in(path, state)
        if name in found:
            raise UserError(f"{path} is a second {name}; give one checkpoint of each network.")
        found[name] = path, state
    return found


def grid_of(options: Mapping[str, Any], published: CardGrid) -> CardGrid:
    """The published grid with the `spacing` (mm) and the `shape` of the options. Raises `UserError`."""
    shape, multiple = tuple(options.get("shape", published.shape)), published.multiple
    if len(shape) != len(published.shape) or any(side < multiple or side % multiple for side in shape):
        sides = "two" if published.is_2d else "three"
        raise UserError(f"The grid needs {sides} sides that are multiples of {multiple}.")
    return replace(published, spacing=float(options.get("spacing", published.spacing)), shape=shape)


def save_converted(
    out: Path,
    checkpoints: Checkpoints,
    build: Callable[[ModelCard], Networks],
    configs: Mapping[str, Mapping[str, Any]],
    training: Mapping[str, Any] | None = None,
    **card: Any,
) -> ModelCard:
    """Writes the model folder `out`, once the tensors were found to be those of its networks; returns its card.

    Args:
        build: the networks of a card.
        configs: what each network is built with; training: what else is known of it.
        card: other fields of the card.

    Raises:
        UserError: for other tensors, or a card that makes no model.
    """
    names = [path.name for path, _ in checkpoints.values()]
    made = ModelCard(
        name=out.name,
        title=f"Converted from {' and '.join(names)}",
        networks={name: NetworkEntry(WEIGHTS, config=config) for name, config in configs.items()},
        training={
            "converted_from": ", ".join(names),
            **(training or {}),
            "attribution": "",
            "data": f"unknown: see whoever made the checkpoint{'s' if len(names) > 1 else ''}",
        },
        created=datetime.now(timezone.utc).date().isoformat(),
        **card,
    )
    try:
        with torch.device("meta"):
            wanted = {name: kinds_of(network.state_dict()) for name, network in build(made).items()}
    except RuntimeError:
        raise UserError(f"{' and '.join(names)}: tensors of these sizes make no network.") from None
    for name, (path, state) in checkpoints.items():
        check_tensors(state, wanted[name], str(path))
    return save_model(out, made, {name: state for name, (_, state) in checkpoints.items()})
