"""The inference network as an OpenVINO graph, built straight from the folded parameters.

OpenVINO's own converter gives the same outputs to the bit and passes that are as fast, but takes 5 s of processor time
for the bundled model where this takes 0.13 s (8 to 11 s and 0.3 s by the clock, on two busy cores; see
`python -m benchmarks.executors`): longer than a whole run at 2 mm. So the graph is built here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from IterMask3DLib.runtime.openvino import load_openvino

if TYPE_CHECKING:
    from IterMask3DLib.methods.itermask3d.folded_unet import Convolution, FoldedUNet

_POOL = 3


def openvino_model(network: FoldedUNet, shape: tuple[int, ...]) -> Any:
    """An openvino.Model of the network for inputs of one shape [b, 2, x, y, z]."""
    openvino, ops = load_openvino(), _operations()
    given = ops.parameter(list(shape), np.float32)
    x, skips = given, []
    for first, second in network.down:
        y = _convolved(_convolved(x, first), second)
        # The shortcut reaches the first channels alone; zeros stand for it in the others.
        shortcut = x if first.stride == 1 else _pooled(x, first.stride)
        missing = len(second.bias) - first.weight.shape[1]
        if missing:
            shortcut = ops.pad(shortcut, [0] * 5, [0, missing, 0, 0, 0], "constant", np.float32(0))
        x = ops.add(y, shortcut)
        skips.append(x)
    skips.pop()
    for first, second in network.up:
        x = _convolved(_convolved(ops.concat([x, skips.pop()], axis=1), first), second)
    return openvino.Model([x], [given])


def _convolved(x: Any, by: Convolution) -> Any:
    ops = _operations()
    where = {"strides": [by.stride] * 3, "pads_begin": [1] * 3, "pads_end": [1] * 3, "dilations": [1] * 3}
    y = (ops.convolution_backprop_data if by.transposed else ops.convolution)(x, ops.constant(by.weight), **where)
    y = ops.add(y, ops.constant(by.bias.reshape(1, -1, 1, 1, 1)))
    return y if by.slope is None else ops.prelu(y, ops.constant(np.full(1, by.slope, np.float32)))


def _pooled(x: Any, stride: int) -> Any:
    ops, ones, kernel = _operations(), [1] * 3, [_POOL] * 3
    # As PyTorch's default, the zeros around the volume are counted.
    return ops.avg_pool(x, [stride] * 3, ones, ones, kernel, exclude_pad=False, rounding_type="floor")


def _operations() -> Any:
    load_openvino()
    from openvino import opset13

    return opset13
