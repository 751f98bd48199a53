"""The network of the auto-encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.methods.autoencoder.settings import AutoEncoderTrainingSettings
from IterMask3DLib.methods.base import Networks
from IterMask3DLib.methods.card_checks import check_card, choices_of

NETWORK = "autoencoder"
"""Its name in a model."""

SIDE_MULTIPLE = 16
"""Every side of the input must be a multiple of this: the code is at a sixteenth of the grid."""


class AutoEncoder(nn.Module):
    """Four halvings down to the code and four doublings back, with no way around the code.

    Input and output [b, 1, x, y, z], sides multiples of 16.

    Args:
        widths: channels at 1/2, 1/4, 1/8 and 1/16 of the grid, the last the code.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for narrow, wide in zip((1, *widths[:-1]), widths, strict=True):
            down += [nn.Conv3d(narrow, wide, 3, stride=2, padding=1), nn.BatchNorm3d(wide), nn.LeakyReLU(0.1)]
        for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up += [nn.Upsample(scale_factor=2), nn.Conv3d(wide, narrow, 3, padding=1)]
            up += [nn.BatchNorm3d(narrow), nn.LeakyReLU(0.1)]
        up += [nn.Conv3d(widths[0], 8, 3, padding=1), nn.ConvTranspose3d(8, 1, 2, stride=2)]
        self.encode, self.decode = nn.Sequential(*down), nn.Sequential(*up)

    def forward(self, volume: Tensor) -> Tensor:
        output: Tensor = self.decode(self.encode(volume))
        return output


def networks_of(card: ModelCard) -> Networks:
    """Its network by name, untrained. Raises `UserError` for a card that makes none."""
    check_card(card, "An auto-encoder", (NETWORK,), 3, SIDE_MULTIPLE)
    chosen = choices_of(card, NETWORK, AutoEncoderTrainingSettings(), ("widths",))
    return {NETWORK: AutoEncoder(chosen.widths)}
