"""The inference network as an OpenVINO graph, built straight from the folded parameters.

OpenVINO's own converter gives the same outputs to the bit and passes that are as fast, but takes 5 s of processor time
for the bundled model where this takes 0.13 s (8 to 11 s and 0.3 s by the clock, on two busy cores; see
`python -m benchmarks.executors`): longer than a whole run at 2 mm. So the graph is built here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from IterMask3DLib.runtime.openvino import load_openvino

if TYPE_CHECKING:
    from IterMask3DLib.methods.itermask3d.inference_network import Folded, InferenceUNet

_POOL = 3


def openvino_model(network: InferenceUNet, shape: tuple[int, ...]) -> Any:
    """An openvino.Model of the network for inputs of one shape [b, 2, x, y, z]."""
    openvino, ops = load_openvino(), _operations()
    given = ops.parameter(list(shape), np.float32)
    x, skips = given, []
    for unit in network.down:
        y = _folded(_folded(x, unit.first), unit.second)
        # The shortcut reaches the first channels alone; zeros stand for it in the others.
        shortcut = x if isinstance(unit.shortcut, torch.nn.Identity) else _pooled(x, unit.shortcut.stride)
        missing = unit.second.conv.out_channels - unit.inputs
        if missing:
            shortcut = ops.pad(shortcut, [0] * 5, [0, missing, 0, 0, 0], "constant", np.float32(0))
        x = ops.add(y, shortcut)
        skips.append(x)
    skips.pop()
    for stage in network.up:
        x = _folded(_folded(ops.concat([x, skips.pop()], axis=1), stage.first), stage.second)
    return openvino.Model([x], [given])


def _folded(x: Any, block: Folded) -> Any:
    ops, conv = _operations(), block.conv
    weight, bias = (p.detach().cpu().numpy() for p in (conv.weight, conv.bias))
    where = {"strides": list(conv.stride), "pads_begin": [1] * 3, "pads_end": [1] * 3, "dilations": [1] * 3}
    transposed = isinstance(conv, torch.nn.ConvTranspose3d)
    y = (ops.convolution_backprop_data if transposed else ops.convolution)(x, ops.constant(weight), **where)
    y = ops.add(y, ops.constant(bias.reshape(1, -1, 1, 1, 1)))
    return y if block.slope is None else ops.prelu(y, ops.constant(np.full(1, block.slope, np.float32)))


def _pooled(x: Any, stride: int) -> Any:
    ops, ones, kernel = _operations(), [1] * 3, [_POOL] * 3
    # As PyTorch's default, the zeros around the volume are counted.
    return ops.avg_pool(x, [stride] * 3, ones, ones, kernel, exclude_pad=False, rounding_type="floor")


def _operations() -> Any:
    load_openvino()
    from openvino import opset13

    return opset13
