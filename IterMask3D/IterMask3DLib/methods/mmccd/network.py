"""The networks of MMCCD, by the part they play."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Networks
from IterMask3DLib.methods.card_checks import choices_of
from IterMask3DLib.methods.mmccd.settings import MMCCDTrainingSettings
from IterMask3DLib.methods.slice_unet import SIDE_MULTIPLE, SliceUNet

FORWARD, BACKWARD, DIFFUSION = "translator", "back_translator", "diffusion"
"""From the input channel to the translated one, back, and by diffusion there: their names in a model."""

CHANNELS = {FORWARD: 1, BACKWARD: 1, DIFFUSION: 2}
"""Of the input of each; the diffusion's are the noised image and its condition."""


def untrained(part: str, width: int, dropout: float) -> SliceUNet:
    """The network of a part."""
    return SliceUNet(CHANNELS[part], width, dropout=dropout, timed=part == DIFFUSION)


def networks_of(card: ModelCard) -> Networks:
    """The networks of a card, untrained. Raises `UserError` for a card that makes none."""
    where = f"model {card.name}"
    if BACKWARD not in card.networks or not {FORWARD, DIFFUSION} & set(card.networks):
        raise UserError(f"{where}: MMCCD needs the network {BACKWARD} and one of {FORWARD} and {DIFFUSION}.")
    others = [name for name in card.networks if name not in CHANNELS]
    if others:
        raise UserError(f"{where}: networks.{others[0]} is none of MMCCD's.")
    if len(card.inputs) > 2 or not card.grid.is_2d or card.grid.multiple % SIDE_MULTIPLE:
        needs = f"one channel or two on slices whose sides are multiples of {SIDE_MULTIPLE}"
        raise UserError(f"{where}: MMCCD reads {needs}.")
    made = {}
    for name in card.networks:
        settings = choices_of(card, name, MMCCDTrainingSettings(), card.networks[name].config)
        made[name] = untrained(name, settings.width, settings.dropout)
    return made


class DenoisingNetwork(nn.Module):
    """The diffusion's network as a function of one tensor: [b, 3, h, w] of image, condition and time -> [b, 1, h, w].

    The time of each image fills its channel.
    """

    def __init__(self, network: SliceUNet) -> None:
        super().__init__()
        self.network, self.pytorch_alone = network, network.pytorch_alone

    def forward(self, given: Tensor) -> Tensor:
        output: Tensor = self.network(given[:, :2], given[:, 2, 0, 0])
        return output


def denoising_input(values: Tensor, condition: Tensor, time: int) -> Tensor:
    """What a `DenoisingNetwork` is given: [b, 1, h, w] twice -> [b, 3, h, w]."""
    return torch.cat((values, condition, torch.full_like(values, float(time))), dim=1)
