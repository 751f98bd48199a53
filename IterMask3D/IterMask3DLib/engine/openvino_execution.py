"""The inference network on OpenVINO, the fastest measured executor on CPUs; an optional package.

The graph is built straight from the folded parameters: no tracing, no conversion, in fractions of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from IterMask3DLib.engine.execution import Folded, InferenceUNet

_POOL = 3


def available() -> bool:
    """Whether the package is installed."""
    return find_spec("openvino") is not None


class OpenVINOUNet:
    """Runs an `InferenceUNet` on the CPU in single precision; compiled once for each shape it meets.

    Called with float32 [1, 2, x, y, z], gives float32 [1, 1, x, y, z]. Differs from the network by rounding alone.
    """

    def __init__(self, network: InferenceUNet) -> None:
        self._network = network
        self._compiled: dict[tuple[int, ...], Callable[..., Any]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        shape = tuple(x.shape)
        if shape not in self._compiled:
            self._compiled = {shape: _compiled(self._network, shape)}
        # The request's own buffer is written again by the next pass, which the caller may not notice.
        return torch.from_numpy(self._compiled[shape](x.contiguous().numpy()).copy())


def _compiled(network: InferenceUNet, shape: tuple[int, ...]) -> Callable[[np.ndarray[Any, Any]], Any]:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = openvino.Core().compile_model(_model(network, shape), "CPU", settings).create_infer_request()

    def run(values: np.ndarray[Any, Any]) -> Any:
        return request.infer([values], share_inputs=True, share_outputs=True)[0]

    return run


def _model(network: InferenceUNet, shape: tuple[int, ...]) -> Any:
    import openvino
    from openvino import opset13 as ops

    given = ops.parameter(list(shape), np.float32)
    x, skips = given, []
    for unit in network.down:
        y = _folded(_folded(x, unit.first), unit.second)
        # The shortcut reaches the first channels alone; zeros stand for it in the others.
        shortcut = x if isinstance(unit.shortcut, torch.nn.Identity) else _pooled(x, unit.shortcut.stride)
        missing = unit.second.conv.out_channels - unit.inputs
        padded = ops.pad(shortcut, [0] * 5, [0, missing, 0, 0, 0], "constant", np.float32(0)) if missing else shortcut
        x = ops.add(y, padded)
        skips.append(x)
    skips.pop()
    for stage in network.up:
        x = _folded(_folded(ops.concat([x, skips.pop()], axis=1), stage.first), stage.second)
    return openvino.Model([x], [given])


def _folded(x: Any, block: Folded) -> Any:
    from openvino import opset13 as ops

    conv = block.conv
    weight, bias = (p.detach().cpu().numpy() for p in (conv.weight, conv.bias))
    stride, ones = list(conv.stride), [1, 1, 1]
    if isinstance(conv, torch.nn.ConvTranspose3d):
        y = ops.convolution_backprop_data(x, ops.constant(weight), strides=stride, pads_begin=ones, pads_end=ones, dilations=ones)
    else:
        y = ops.convolution(x, ops.constant(weight), strides=stride, pads_begin=ones, pads_end=ones, dilations=ones)
    y = ops.add(y, ops.constant(bias.reshape(1, -1, 1, 1, 1)))
    return y if block.slope is None else ops.prelu(y, ops.constant(np.full(1, block.slope, np.float32)))


def _pooled(x: Any, stride: int) -> Any:
    from openvino import opset13 as ops

    ones, kernel = [1, 1, 1], [_POOL] * 3
    # As PyTorch's default, the zeros around the volume are counted.
    return ops.avg_pool(x, [stride] * 3, ones, ones, kernel, exclude_pad=False, rounding_type="floor")
