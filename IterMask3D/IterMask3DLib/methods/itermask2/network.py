"""The two published networks of IterMask2.

Source: ZiyunLiang/IterMask2 (MICCAI 2024, arXiv 2406.02422). With the published width and two input channels the
`state_dict` has 753 entries (666 float tensors and 87 batch counters) and 6,600,257 parameters.
"""

from __future__ import annotations

from collections.abc import Mapping

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.methods.card_checks import check_card, choices_of
from IterMask3DLib.methods.itermask2.settings import IterMask2TrainingSettings
from IterMask3DLib.methods.shared_settings import PUBLISHED_WIDTH
from IterMask3DLib.methods.slice_unet import SIDE_MULTIPLE, SliceUNet

FIRST, MASKED = "first_iteration", "masked_autoencoder"
"""Names of the two networks in a model."""

CHANNELS = {FIRST: 1, MASKED: 2}
"""Their input channels: the high-frequency image; for the second one the masked slice and that image."""


def network(name: str, width: int = PUBLISHED_WIDTH, dropout: float = 0.1) -> SliceUNet:
    """One of the two networks, untrained. It has parameters of a time, as published, which nothing uses or trains."""
    return SliceUNet(CHANNELS[name], width, norm="batch", dropout=dropout, timed=False)


def networks_of(card: ModelCard) -> Mapping[str, SliceUNet]:
    """Both networks of a card, untrained. Raises `UserError` for a configuration that makes none."""
    check_card(card, "IterMask2", CHANNELS, 2, SIDE_MULTIPLE)
    usual = IterMask2TrainingSettings(width=PUBLISHED_WIDTH)
    chosen = {name: choices_of(card, name, usual, ("width", "dropout")) for name in CHANNELS}
    return {name: network(name, each.width, each.dropout) for name, each in chosen.items()}
