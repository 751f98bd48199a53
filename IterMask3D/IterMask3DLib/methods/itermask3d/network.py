"""The published 3D U-Net of IterMask3D, with the published parameter names, shapes and order.

Source: Nets of ZiyunLiang/IterMask3D (MedIA 107, 103763). With the default widths the `state_dict` has 138 entries
(121 float tensors and 17 batch counters) and 8,902,626 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.methods.base import Networks
from IterMask3DLib.methods.itermask3d.folded_unet import INPUTS, NETWORK, STRIDES, UPSAMPLED_TAPS, choices_in
from IterMask3DLib.methods.itermask3d.settings import PUBLISHED_WIDTHS


class NormDropAct(nn.Sequential):
    """Batch norm, element-wise dropout and one shared PReLU slope, in the published order N-D-A."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.add_module("N", nn.BatchNorm3d(channels))
        self.add_module("D", nn.Dropout(dropout))
        self.add_module("A", nn.PReLU(init=0.25))


class ConvBlock(nn.Sequential):
    """A 3x3x3 convolution with bias, followed by `NormDropAct` unless it is the last of the network."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dropout: float = 0.2, bare: bool = False) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1))
        if not bare:
            self.add_module("adn", NormDropAct(outputs, dropout))


class ResidualUnit(nn.Module):
    """Two conv blocks, the first with the stride; the pooled input is added to the first channels of the output."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.inputs = inputs
        self.conv = nn.Sequential()
        self.conv.add_module("unit0", ConvBlock(inputs, outputs, stride, dropout))
        self.conv.add_module("unit1", ConvBlock(outputs, outputs, 1, dropout))
        # With stride 1 the published shortcut pools with kernel 1, which is the identity.
        self.shortcut = nn.AvgPool3d(3, stride, padding=1) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        head, tail = y[:, : self.inputs], y[:, self.inputs :]
        return torch.cat((head + self.shortcut(x), tail), dim=1)


class UpStage(nn.Sequential):
    """Nearest up-sampling by two and two conv blocks; index 0 is the up-sampler, as in the published keys.

    With `transposed` the up-sampling and the convolution after it run as one transposed convolution (kernel 4, stride
    2, padding 1): 8 taps instead of 27 an output voxel, the same sums in another order.
    """

    transposed = True

    def __init__(self, inputs: int, outputs: int, dropout: float, last: bool) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2, mode="nearest"),
            ConvBlock(inputs, inputs, dropout=dropout),
            ConvBlock(inputs, outputs, dropout=dropout, bare=last),
        )

    def forward(self, x: Tensor) -> Tensor:
        if not self.transposed:
            return super().forward(x)
        first = self[1]
        y = functional.conv_transpose3d(x, transposed_kernel(first.conv.weight), first.conv.bias, stride=2, padding=1)
        return self[2](first.adn(y))


def transposed_kernel(weight: Tensor) -> Tensor:
    """Kernel of the transposed convolution that equals nearest up-sampling by two and a 3x3x3 convolution.

    Args:
        weight: [out, in, 3, 3, 3].

    Returns:
        [in, out, 4, 4, 4], for stride 2 and padding 1.
    """
    taps = torch.tensor(UPSAMPLED_TAPS).to(weight)
    return torch.einsum("oixyz,ax,by,cz->ioabc", weight, taps, taps, taps)


class UNet3D(nn.Module):
    """Reconstructs a volume from its visible voxels and its high-frequency image.

    Input [batch, 2, x, y, z]: the masked volume and the high-frequency image, sides multiples of 16. Output
    [batch, 1, x, y, z].

    Args:
        widths: output channels of the five encoder stages; the decoder follows from them.
        dropout: share of activations dropped in training.
    """

    def __init__(self, widths: Sequence[int] = PUBLISHED_WIDTHS, dropout: float = 0.2) -> None:
        super().__init__()
        w1, w2, w3, w4, w5 = widths
        self.widths = tuple(widths)
        s1, s2, s3, s4, s5 = STRIDES
        self.conv_1 = ResidualUnit(INPUTS, w1, s1, dropout)
        self.conv_2 = ResidualUnit(w1, w2, s2, dropout)
        self.conv_3 = ResidualUnit(w2, w3, s3, dropout)
        self.conv_4 = ResidualUnit(w3, w4, s4, dropout)
        self.conv_5 = ResidualUnit(w4, w5, s5, dropout)
        self.up_stage_1 = UpStage(w5 + w4, w3, dropout, last=False)
        self.up_stage_2 = UpStage(w3 + w3, w2, dropout, last=False)
        self.up_stage_3 = UpStage(w2 + w2, w1, dropout, last=False)
        self.up_stage_4 = UpStage(w1 + w1, 1, dropout, last=True)

    def forward(self, x: Tensor) -> Tensor:
        c1 = self.conv_1(x)
        c2 = self.conv_2(c1)
        c3 = self.conv_3(c2)
        c4 = self.conv_4(c3)
        y = self.conv_5(c4)
        y = self.up_stage_1(torch.cat((y, c4), dim=1))
        y = self.up_stage_2(torch.cat((y, c3), dim=1))
        y = self.up_stage_3(torch.cat((y, c2), dim=1))
        return self.up_stage_4(torch.cat((y, c1), dim=1))

    def execute_plainly(self, plain: bool = True) -> UNet3D:
        """Runs every up-sampling as published (`plain`) or as a transposed convolution; returns itself."""
        for stage in (self.up_stage_1, self.up_stage_2, self.up_stage_3, self.up_stage_4):
            stage.transposed = not plain
        return self


def networks_of(card: ModelCard) -> Networks:
    """Its network by name, untrained. Raises `UserError` for a configuration that makes none."""
    chosen = choices_in(card)
    return {NETWORK: UNet3D(chosen.widths, chosen.dropout)}
