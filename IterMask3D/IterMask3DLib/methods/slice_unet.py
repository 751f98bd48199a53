"""The 2D U-Net that IterMask2 and MMCCD publish: residual blocks, attention where the grid is coarse, a time or none.

It computes what the diffusion models of Dhariwal and Nichol (arXiv 2105.05233) compute, and its `state_dict` has their
names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from IterMask3DLib.methods.shared_settings import PUBLISHED_WIDTH

MULTIPLIERS, DROPOUT = (1, 1, 2, 3, 4), 0.1
"""As published."""

SIDE_MULTIPLE = 2 ** (len(MULTIPLIERS) - 1)
"""Every level but the first halves the grid."""

_BLOCKS = 2
_GROUPS = 16
_FINEST_ATTENTION = 2
"""Attention is computed where the grid was halved at least this often."""


class SliceUNet(nn.Module):
    """One channel from several: float32 [b, c, h, w] -> [b, 1, h, w]; sides are multiples of `SIDE_MULTIPLE`.

    Args:
        channels: of the input.
        width: channels at the first level; multipliers: of it at each level, every one half as fine as the one before.
        norm: group or batch.
        dropout: share of activations dropped in each block, in training.
        timed: whether the parameters of a time, which checkpoints hold for all, learn. Processes that train together
            wait for the gradient of every parameter that could have one.
    """

    def __init__(
        self,
        channels: int,
        width: int = PUBLISHED_WIDTH,
        multipliers: Sequence[int] = MULTIPLIERS,
        norm: str = "group",
        dropout: float = DROPOUT,
        timed: bool = True,
    ) -> None:
        super().__init__()
        self.width = width
        # Compiling it was seen to end the process with OpenVINO 2026.4, where it gains a tenth.
        self.pytorch_alone = norm == "group"
        code = 4 * width
        self.time_embed = nn.Sequential(nn.Linear(width, code), nn.SiLU(), nn.Linear(code, code))

        def block(narrow: int, wide: int, resize: str = "") -> _ResidualBlock:
            return _ResidualBlock(narrow, wide, code, norm, dropout, resize)

        self.input_blocks = nn.ModuleList([_Stage(nn.Conv2d(channels, width, 3, padding=1))])
        skips, here = [width], width
        for level, multiplier in enumerate(multipliers):
            for _ in range(_BLOCKS):
                parts: list[nn.Module] = [block(here, multiplier * width)]
                here = multiplier * width
                if level >= _FINEST_ATTENTION:
                    parts.append(_Attention(here, norm))
                self.input_blocks.append(_Stage(*parts))
                skips.append(here)
            if level < len(multipliers) - 1:
                self.input_blocks.append(_Stage(block(here, here, "down")))
                skips.append(here)
        self.middle_block = _Stage(block(here, here), _Attention(here, norm), block(here, here))
        self.output_blocks = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for number in range(_BLOCKS + 1):
                parts = [block(here + skips.pop(), multiplier * width)]
                here = multiplier * width
                if level >= _FINEST_ATTENTION:
                    parts.append(_Attention(here, norm))
                if level and number == _BLOCKS:
                    parts.append(block(here, here, "up"))
                self.output_blocks.append(_Stage(*parts))
        last = nn.Conv2d(here, 1, 3, padding=1)
        self.out = nn.Sequential(_norm(here, norm), nn.SiLU(), _beginning_at_zero(last))
        for name, parameter in self.named_parameters():
            if name.startswith("time_embed.") or ".emb_layers." in name:
                parameter.requires_grad_(timed)

    def forward(self, values: Tensor, time: Tensor | None = None) -> Tensor:
        """`time`: float [b], the step of a diffusion; None where the network knows of none."""
        code = None if time is None else self.time_embed(time_embedding(time, self.width))
        kept = []
        for stage in self.input_blocks:
            values = stage(values, code)
            kept.append(values)
        values = self.middle_block(values, code)
        for stage in self.output_blocks:
            values = stage(torch.cat((values, kept.pop()), dim=1), code)
        output: Tensor = self.out(values)
        return output


def time_embedding(time: Tensor, size: int) -> Tensor:
    """Cosines, then sines, of a time at frequencies from 1 down to 1/10,000: float [b] -> [b, size]."""
    half = size // 2
    frequencies = torch.exp(-math.log(10000) / half * torch.arange(half, dtype=torch.float32, device=time.device))
    angles = time.float()[:, None] * frequencies
    return torch.cat((angles.cos(), angles.sin()), dim=1)


class _Stage(nn.Sequential):
    """Parts one after another; those that know of time are told it."""

    def forward(self, values: Tensor, code: Tensor | None) -> Tensor:
        for part in self:
            values = part(values, code) if isinstance(part, _ResidualBlock) else part(values)
        return values


class _ResidualBlock(nn.Module):
    """Two convolutions beside a way around them; on the way the grid may be halved (`down`) or doubled (`up`)."""

    def __init__(self, narrow: int, wide: int, code: int, norm: str, dropout: float, resize: str) -> None:
        super().__init__()
        self._resize = resize
        self.in_layers = nn.Sequential(_norm(narrow, norm), nn.SiLU(), nn.Conv2d(narrow, wide, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(code, 2 * wide))
        second = _beginning_at_zero(nn.Conv2d(wide, wide, 3, padding=1))
        self.out_layers = nn.Sequential(_norm(wide, norm), nn.SiLU(), nn.Dropout(dropout), second)
        self.skip_connection = nn.Identity() if narrow == wide else nn.Conv2d(narrow, wide, 1)

    def forward(self, values: Tensor, code: Tensor | None) -> Tensor:
        normed, activation, convolution = self.in_layers
        inner = convolution(self._resized(activation(normed(values))))
        normed, *rest = self.out_layers
        inner = normed(inner)
        if code is not None:
            scale, shift = self.emb_layers(code)[..., None, None].chunk(2, dim=1)
            inner = inner * (1 + scale) + shift
        for part in rest:
            inner = part(inner)
        output: Tensor = self.skip_connection(self._resized(values)) + inner
        return output

    def _resized(self, values: Tensor) -> Tensor:
        if self._resize == "down":
            return functional.avg_pool2d(values, 2)
        return functional.interpolate(values, scale_factor=2.0) if self._resize == "up" else values


class _Attention(nn.Module):
    """Every place of a grid attends to every other one."""

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.norm = _norm(width, norm)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = _beginning_at_zero(nn.Conv1d(width, width, 1))

    def forward(self, values: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm(values).flatten(2)).transpose(1, 2).chunk(3, dim=2)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return values + self.proj_out(attended.transpose(1, 2)).view_as(values)


def _norm(width: int, kind: str) -> nn.Module:
    return nn.BatchNorm2d(width) if kind == "batch" else nn.GroupNorm(math.gcd(_GROUPS, width), width)


def _beginning_at_zero(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
