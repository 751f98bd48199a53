"""Networks on OpenVINO, the fastest measured executor on CPUs; an optional package."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Values = TypeVar("Values", "Tensor", NDArray[np.float32])
"""A batch of float32 [b, c, …]."""

_TELEMETRY = "openvino_telemetry"
_MOST_THREADS = 1024


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

    A network that can build its graph itself does so (`openvino_model(shape)`), without PyTorch; any other is a module
    that is traced and goes through OpenVINO's converter. Float32 [b, c, …] -> float32 [b, c', …], both arrays or both
    tensors; differs from the network by rounding alone.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        self._compiled: dict[tuple[int, ...], Callable[[NDArray[np.float32]], Any]] = {}

    def __call__(self, given: Values) -> Values:
        if isinstance(given, np.ndarray):
            return self._on_arrays(np.ascontiguousarray(given))
        import torch

        return torch.from_numpy(self._on_arrays(given.cpu().contiguous().numpy()))

    def _on_arrays(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        if given.shape not in self._compiled:
            self._compiled = {given.shape: self._compile(given)}
        # The request's own buffer is written again by the next pass, which the caller may not notice.
        return np.array(self._compiled[given.shape](given))

    def _compile(self, given: NDArray[np.float32]) -> Callable[[NDArray[np.float32]], Any]:
        build = getattr(self._network, "openvino_model", None)
        model = _converted(self._network, given) if build is None else build(given.shape)
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", **_threads()}
        request = _core().compile_model(model, "CPU", settings).create_infer_request()
        return lambda values: request.infer([values], share_inputs=True, share_outputs=True)[0]


def _converted(network: Any, given: NDArray[np.float32]) -> Any:
    """An openvino.Model of a module. Traced here: the converter on its own takes more than twice as long for it."""
    import torch

    openvino, example = load_openvino(), torch.from_numpy(given)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(network, example, check_trace=False)
    return openvino.convert_model(traced, example_input=example, input=[list(given.shape)])


def _threads() -> dict[str, int]:
    """As many threads as PyTorch has, or would have by what the user set; none said: OpenVINO takes every core."""
    if "torch" in sys.modules:
        return {"INFERENCE_NUM_THREADS": sys.modules["torch"].get_num_threads()}
    said = os.environ.get("OMP_NUM_THREADS", "")
    return {"INFERENCE_NUM_THREADS": int(said)} if said.isdecimal() and 0 < int(said) <= _MOST_THREADS else {}
