"""The trained network rewritten for inference: the same function of the same parameters, in fewer operations.

Batch norm is folded into the convolution before it, dropout is gone, activations and residual sums work in place, and
each nearest up-sampling with the convolution after it is one transposed convolution. Derived once, when a run begins.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from IterMask3DLib.methods.itermask3d.network import ConvBlock, ResidualUnit, UNet3D, UpStage, transposed_kernel
from IterMask3DLib.methods.itermask3d.openvino_graph import openvino_model


class InferenceUNet(nn.Module):
    """A `UNet3D` in evaluation mode, executed for speed and memory; parameters are copies, so the network itself stays.

    Input and output as of `UNet3D`. Differs from it by rounding alone.
    """

    def __init__(self, network: UNet3D) -> None:
        super().__init__()
        stages = (network.conv_1, network.conv_2, network.conv_3, network.conv_4, network.conv_5)
        self.down = nn.ModuleList(_Down(stage) for stage in stages)
        ups = (network.up_stage_1, network.up_stage_2, network.up_stage_3, network.up_stage_4)
        self.up = nn.ModuleList(_Up(stage) for stage in ups)
        self.eval()

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = up(torch.cat((x, skips.pop()), dim=1))
        return x

    def openvino_model(self, shape: tuple[int, ...]) -> Any:
        return openvino_model(self, shape)


class Folded(nn.Module):
    """A convolution that carries its batch norm, and the activation in place."""

    def __init__(self, block: ConvBlock, upsample: bool = False) -> None:
        super().__init__()
        conv = block.conv
        weight, bias, self.slope = _fold(block)
        if upsample:
            self.conv: nn.Module = nn.ConvTranspose3d(conv.in_channels, conv.out_channels, 4, stride=2, padding=1)
            weight = transposed_kernel(weight)
        else:
            self.conv = nn.Conv3d(conv.in_channels, conv.out_channels, 3, stride=conv.stride, padding=1)
        self.conv.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.conv.bias = nn.Parameter(bias.float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        # A PReLU with one slope is a leaky ReLU, which can work in place.
        return y if self.slope is None else functional.leaky_relu_(y, self.slope)


class _Down(nn.Module):
    def __init__(self, unit: ResidualUnit) -> None:
        super().__init__()
        self.inputs = unit.inputs
        self.first = Folded(unit.conv.unit0)
        self.second = Folded(unit.conv.unit1)
        self.shortcut = unit.shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        y[:, : self.inputs] += self.shortcut(x)
        return y


class _Up(nn.Module):
    def __init__(self, stage: UpStage) -> None:
        super().__init__()
        self.first = Folded(stage[1], upsample=True)
        self.second = Folded(stage[2])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        return y


def _fold(block: ConvBlock) -> tuple[Tensor, Tensor, float | None]:
    """Weight and bias (float64) of the convolution with its batch norm inside; slope of the activation, if any."""
    weight, bias = block.conv.weight.detach().double(), block.conv.bias.detach().double()
    if not hasattr(block, "adn"):
        return weight, bias, None
    norm = block.adn.N
    mean, variance, gain, shift = (
        each.detach().double() for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    weight, bias = fuse_conv_bn_weights(weight, bias, mean, variance, norm.eps, gain, shift)
    return weight, bias, float(block.adn.A.weight.item())
