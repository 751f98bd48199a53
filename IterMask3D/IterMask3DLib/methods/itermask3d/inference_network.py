"""The folded network on PyTorch; activations and residual sums work in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from IterMask3DLib.methods.itermask3d.folded_unet import Convolution, FoldedUNet
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.itermask3d.openvino_graph import openvino_model


class InferenceUNet(nn.Module):
    """A `UNet3D` in evaluation mode, executed for speed and memory; parameters are copies, so the network itself stays.

    Input and output as of `UNet3D`. Differs from it by rounding alone.
    """

    def __init__(self, network: UNet3D | FoldedUNet) -> None:
        super().__init__()
        self._folded = network if isinstance(network, FoldedUNet) else FoldedUNet.of(network)
        self.down = nn.ModuleList(_Down(first, second) for first, second in self._folded.down)
        self.up = nn.ModuleList(nn.Sequential(_Convolved(first), _Convolved(last)) for first, last in self._folded.up)
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
        return openvino_model(self._folded, shape)


class _Convolved(nn.Module):
    def __init__(self, by: Convolution) -> None:
        super().__init__()
        inputs, outputs = by.weight.shape[by.transposed ^ 1], len(by.bias)
        layer = nn.ConvTranspose3d if by.transposed else nn.Conv3d
        with torch.device("meta"):
            self.conv: nn.Module = layer(inputs, outputs, by.weight.shape[-1], stride=by.stride, padding=1)
        self.conv.weight = nn.Parameter(torch.from_numpy(by.weight.copy()), requires_grad=False)
        self.conv.bias = nn.Parameter(torch.from_numpy(by.bias.copy()), requires_grad=False)
        self._slope = by.slope

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        # A PReLU with one slope is a leaky ReLU, which can work in place.
        return y if self._slope is None else functional.leaky_relu_(y, self._slope)


class _Down(nn.Module):
    def __init__(self, first: Convolution, second: Convolution) -> None:
        super().__init__()
        self.inputs = first.weight.shape[1]
        self.both = nn.Sequential(_Convolved(first), _Convolved(second))
        # With stride 1 the published shortcut pools with kernel 1, which is the identity.
        self.shortcut = nn.AvgPool3d(3, first.stride, padding=1) if first.stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.both(x)
        y[:, : self.inputs] += self.shortcut(x)
        return y
