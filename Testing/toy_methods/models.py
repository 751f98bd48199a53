"""Model folders of the toy methods, untrained."""

from __future__ import annotations

from pathlib import Path

import torch

from IterMask3DLib.core.card import CardGrid, ModelCard, NetworkEntry
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.store import WEIGHTS, save_model

_CARDS = {
    "toy_reconstruction": (("T1w",), CardGrid(4.0, (48, 48, 48), 4), {"filler": {"width": 4}}),
    "toy_case_score": (("T1w", "T2w"), CardGrid(4.0, (48, 48), 8), {"translator": {}, "scale": {}}),
}


def toy_method_model(folder: Path, method: str) -> Path:
    """Writes a model folder of one of the toy methods, which must be installed; returns it."""
    inputs, grid, configs = _CARDS[method]
    networks = {name: NetworkEntry(WEIGHTS, config=config) for name, config in configs.items()}
    card = ModelCard(folder.name, f"Untrained {method}", method, inputs, grid, networks)
    torch.manual_seed(0)
    built = find_method(method).load().build(card)
    save_model(folder, card, {name: network.state_dict() for name, network in built.items()})
    return folder
