"""Networks on OpenVINO, the fastest measured executor on CPUs; an optional package."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

_TELEMETRY = "openvino_telemetry"


def available() -> bool:
    """Whether the package is installed."""
    return find_spec("openvino") is not None


def load_openvino() -> Any:
    """The package, imported without its telemetry.

    On its own it reports every import and every conversion to a web service, in a process of its own, unless the user
    opted out; where its telemetry package cannot be imported it does not. What was imported before stays as it is.
    """
    sys.modules.setdefault(_TELEMETRY, None)  # type: ignore[arg-type]
    import openvino

    return openvino


@lru_cache(maxsize=1)
def _core() -> Any:
    """The one core of this process, which stays to its end.

    On processors with AMX each core sets a stack for signal handlers when it begins, and frees it when it ends. Of
    several that do not end in turn, the next signal (Ctrl-C, the end of a process that was started) would find freed
    memory, and the process would die.
    """
    return load_openvino().Core()


class OpenVINONetwork:
    """Runs a network on the CPU in single precision; compiled once for each shape it meets.

    A network that can build its graph itself does so (`openvino_model(shape)`); any other goes through OpenVINO's
    converter, which traces it. Float32 [b, c, …] -> float32 [b, c', …]; differs from the network by rounding alone.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._compiled: dict[tuple[int, ...], Callable[[Tensor], Any]] = {}

    def __call__(self, given: Tensor) -> Tensor:
        given = given.cpu().contiguous()
        shape = tuple(given.shape)
        if shape not in self._compiled:
            self._compiled = {shape: self._compile(given)}
        # The request's own buffer is written again by the next pass, which the caller may not notice.
        return torch.from_numpy(self._compiled[shape](given).copy())

    def _compile(self, given: Tensor) -> Callable[[Tensor], Any]:
        openvino, shape = load_openvino(), tuple(given.shape)
        build = getattr(self._network, "openvino_model", None)
        if build is None:
            # Traced here, because the converter on its own takes more than twice as long for the same graph.
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                traced = torch.jit.trace(self._network, given, check_trace=False)
            model = openvino.convert_model(traced, example_input=given, input=[list(shape)])
        else:
            model = build(shape)
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        request = _core().compile_model(model, "CPU", settings).create_infer_request()
        return lambda values: request.infer([values.numpy()], share_inputs=True, share_outputs=True)[0]
