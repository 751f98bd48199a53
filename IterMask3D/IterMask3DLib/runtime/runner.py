"""Runs networks where the user wants them to run, and somewhere smaller when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import is_memory
from IterMask3DLib.core.request import Request
from IterMask3DLib.runtime import openvino
from IterMask3DLib.runtime.device import Device, choose_device
from IterMask3DLib.runtime.openvino import Values

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Network = Callable[["Tensor"], "Tensor"]
"""A network at work: float32 [b, c, …] -> float32 [b, c', …], on any device."""

ArrayNetwork = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""The same with arrays: where it runs on OpenVINO, PyTorch is not imported."""

_LARGEST_OUTPUT = 1e15


class Runtime:
    """Everything a method needs to run its networks: a device, an executor and a seed.

    Attributes:
        device: where networks run now.
        seed: of every random draw of the run.
        notices: sentences for the user on what was changed on the way.

    Raises:
        UserError: if the device or the executor asked for is not there.
    """

    def __init__(self, device: Device, backend: str = "auto", seed: int = 0) -> None:
        if backend == "openvino" and not openvino.available():
            raise UserError("OpenVINO is not installed; run pip install openvino, or use --backend pytorch.")
        self.device, self.seed = device, seed
        self.notices: list[str] = []
        self._backend = backend
        self._runners: dict[Hashable, Runner] = {}

    @classmethod
    def of(cls, request: Request) -> Runtime:
        """The runtime that a request asks for."""
        return cls(choose_device(request.device, request.precision), request.backend, request.seed)

    @property
    def backend(self) -> str:
        """What executes networks here: pytorch or openvino."""
        # Measured against PyTorch (channels last) and ONNX Runtime; see benchmarks/README.md.
        faster = self.device.kind == "cpu" and self._backend != "pytorch" and openvino.available()
        return "openvino" if faster else "pytorch"

    def runner(self, network: Hashable, form: Callable[[Any], Any] | None = None) -> Runner:
        """A network ready to run; made once for each.

        Args:
            network: in evaluation mode: a module, or what a model has stored of one.
            form: makes what is run from it, such as the same function in fewer operations; None: the network itself.
                What has the attribute `pytorch_alone` is executed by nothing else; what is no module has
                `pytorch_module()` and `openvino_model(shape)`.
        """
        if network not in self._runners:
            self._runners[network] = Runner(network if form is None else form(network), self)
        return self._runners[network]

    def fall_back(self, smaller: Device, why: str) -> None:
        """Goes on somewhere smaller, and says so."""
        self.notices.append(f"The device ({self.device}) {why}; the run went on on the {smaller}.")
        self.device = smaller


class Runner:
    """One network at work: float32 [b, c, …] -> float32 [b, c', …]; of an array an array, of a tensor a tensor.

    Tensors may lie on any device; what comes back lies on the present one.
    """

    def __init__(self, network: Any, runtime: Runtime) -> None:
        self._network, self._runtime = network, runtime
        self._settled: Device | None = None
        self._execute: Callable[[Any], Any] = self._on_pytorch

    def __call__(self, given: Values) -> Values:
        while True:
            if self._settled != self._runtime.device:
                self._settle()
            device = self._runtime.device
            try:
                output: Values = self._execute(given)
                _check_numbers(output, device)
                return output
            except RuntimeError as error:  # Of CUDA, also where it has no memory left.
                if is_too_small(error):
                    raise UserError(f"A grid of {_sides(given)} voxels is too small for this network.") from None
                smaller = device.smaller if _is_about_the_device(error, device) else None
                if smaller is None:
                    raise
                why = "ran out of memory" if is_memory(error) else "cannot run this network"
            # Outside the handler: the exception held the frames, and with them the memory, of the failed pass.
            self._runtime.fall_back(smaller, why)

    def _settle(self) -> None:
        self._settled = self._runtime.device
        on_openvino = self._runtime.backend == "openvino" and not getattr(self._network, "pytorch_alone", False)
        if not on_openvino and hasattr(self._network, "pytorch_module"):
            self._network = self._network.pytorch_module()
        if hasattr(self._network, "to"):
            import torch

            self._network = self._network.to(self._settled.kind, memory_format=memory_format_of(self._network))
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self._execute = openvino.OpenVINONetwork(self._network) if on_openvino else self._on_pytorch

    def _on_pytorch(self, given: Values) -> Values:
        import torch

        device = self._runtime.device
        with torch.inference_mode():
            there = (torch.from_numpy(given) if isinstance(given, np.ndarray) else given).to(device.kind)
            there = in_fast_order(there)
            with torch.autocast(device.kind, torch.float16, enabled=device.half):
                output: Tensor = self._network(there).float()
            return output.cpu().numpy() if isinstance(given, np.ndarray) else output


_TOO_SMALL = ("than kernel size", "Kernel size can't be greater", "Expected more than 1 ")


def is_too_small(error: Exception) -> bool:
    """Whether a network failed because its grid has, many stages down, fewer voxels than its filters or a norm need."""
    return any(words in str(error) for words in _TOO_SMALL)


def _sides(given: Tensor | NDArray[np.float32]) -> str:
    return " x ".join(map(str, given.shape[2:]))


def _check_numbers(output: Tensor | NDArray[np.float32], device: Device) -> None:
    """Raises `UserError` for what a network gave unless it is numbers that can be squared."""
    if 0 not in output.shape and not abs(output).max() < _LARGEST_OUTPUT:
        advice = "use --precision single" if device.half else "the weights of the model cannot be used"
        raise UserError(f"The network gives values that are infinite or no numbers; {advice}.")


def in_fast_order(values: Tensor) -> Tensor:
    """Values [b, c, …] with their channels last in memory, which networks of two or three dimensions run fastest on."""
    order = _channels_last().get(values.ndim)
    return values if order is None else values.contiguous(memory_format=order)


def memory_format_of(network: nn.Module) -> torch.memory_format:
    import torch

    orders = _channels_last()
    dimensions = {parameter.ndim for parameter in network.parameters()} & set(orders)
    return orders[dimensions.pop()] if len(dimensions) == 1 else torch.preserve_format


def _channels_last() -> dict[int, torch.memory_format]:
    import torch

    return {4: torch.channels_last, 5: torch.channels_last_3d}


def _is_about_the_device(error: RuntimeError, device: Device) -> bool:
    # MPS lacks some 3D operations, depending on the system's version, and says so with a plain RuntimeError.
    return is_memory(error) or device.kind == "mps"
