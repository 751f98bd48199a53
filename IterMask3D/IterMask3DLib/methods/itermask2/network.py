"""The two published networks of IterMask2.

Source: ZiyunLiang/IterMask2 (MICCAI 2024, arXiv 2406.02422). With the published width and two input channels the
`state_dict` has 753 entries (666 float tensors and 87 batch counters) and 6,600,257 parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import changed
from IterMask3DLib.methods.itermask2.settings import IterMask2TrainingSettings
from IterMask3DLib.methods.shared_settings import PUBLISHED_WIDTH
from IterMask3DLib.methods.slice_unet import SIDE_MULTIPLE, SliceUNet

FIRST, MASKED = "first_iteration", "masked_autoencoder"
"""Names of the two networks in a model."""

CHANNELS = {FIRST: 1, MASKED: 2}
"""Their input channels: the high-frequency image; for the second one the masked slice and that image."""

_CONFIG = ("width", "dropout")


def network(name: str, width: int = PUBLISHED_WIDTH, dropout: float = 0.1) -> SliceUNet:
    """One of the two networks, untrained. It has parameters of a time, as published, which nothing uses or trains."""
    return SliceUNet(CHANNELS[name], width, norm="batch", dropout=dropout, timed=False)


def networks_of(card: ModelCard) -> Mapping[str, SliceUNet]:
    """Both networks of a card, untrained. Raises `UserError` for a configuration that makes none."""
    where = f"model {card.name}"
    if set(card.networks) != set(CHANNELS):
        raise UserError(f"{where}: networks must hold {FIRST} and {MASKED} and nothing else.")
    if len(card.inputs) != 1:
        raise UserError(f"{where}: IterMask2 takes one input, not {len(card.inputs)}.")
    if not card.grid.is_2d or card.grid.multiple % SIDE_MULTIPLE:
        raise UserError(f"{where}: the sides of the grid must be multiples of {SIDE_MULTIPLE}, in 2D.")
    built = {}
    for name in CHANNELS:
        given = card.networks[name].config
        config = {each: given[each] for each in _CONFIG if each in given}
        chosen = changed(IterMask2TrainingSettings(width=PUBLISHED_WIDTH), config, where)
        built[name] = network(name, chosen.width, chosen.dropout)
    return built
