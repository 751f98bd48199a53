"""Runs networks where the user wants them to run, and somewhere smaller when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.failures import is_memory
from IterMask3DLib.core.request import Request
from IterMask3DLib.runtime import openvino
from IterMask3DLib.runtime.device import Device, choose_device

Network = Callable[[Tensor], Tensor]
"""A network at work: float32 [b, c, …] -> float32 [b, c', …], on any device."""

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
        self._runners: dict[nn.Module, Runner] = {}

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

    def runner(self, network: nn.Module, form: Callable[[Any], nn.Module] | None = None) -> Runner:
        """A network ready to run; made once for each.

        Args:
            network: in evaluation mode.
            form: makes what is run from it, such as the same function in fewer operations; None: the network itself.
                What has the attribute `pytorch_alone` is executed by nothing else.
        """
        if network not in self._runners:
            self._runners[network] = Runner(network if form is None else form(network), self)
        return self._runners[network]

    def fall_back(self, smaller: Device, why: str) -> None:
        """Goes on somewhere smaller, and says so."""
        self.notices.append(f"The device ({self.device}) {why}; the run went on on the {smaller}.")
        self.device = smaller


class Runner:
    """One network at work: float32 [b, c, …] on any device -> float32 [b, c', …] on the present one."""

    def __init__(self, network: nn.Module, runtime: Runtime) -> None:
        self._network, self._runtime = network, runtime
        self._settled: Device | None = None
        self._execute: Network = self._on_pytorch

    def __call__(self, given: Tensor) -> Tensor:
        while True:
            if self._settled != self._runtime.device:
                self._settle()
            device = self._runtime.device
            try:
                with torch.inference_mode():
                    return _checked(self._execute(given), device)
            except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
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
        move: Any = self._network.to
        self._network = move(self._settled.kind, memory_format=memory_format_of(self._network))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        on_openvino = self._runtime.backend == "openvino" and not getattr(self._network, "pytorch_alone", False)
        self._execute = openvino.OpenVINONetwork(self._network) if on_openvino else self._on_pytorch

    def _on_pytorch(self, given: Tensor) -> Tensor:
        device = self._runtime.device
        there = given.to(device.kind)
        if given.ndim in CHANNELS_LAST:
            there = there.contiguous(memory_format=CHANNELS_LAST[given.ndim])
        with torch.autocast(device.kind, torch.float16, enabled=device.half):
            output: Tensor = self._network(there)
        return output.float()


_TOO_SMALL = ("than kernel size", "Kernel size can't be greater", "Expected more than 1 ")


def is_too_small(error: Exception) -> bool:
    """Whether a network failed because its grid has, many stages down, fewer voxels than its filters or a norm need."""
    return any(words in str(error) for words in _TOO_SMALL)


def _sides(given: Tensor) -> str:
    return " x ".join(map(str, given.shape[2:]))


def _checked(output: Tensor, device: Device) -> Tensor:
    """What a network gave, once it was found to be numbers that can be squared. Raises `UserError`."""
    if output.numel() and not output.abs().max() < _LARGEST_OUTPUT:
        advice = "use --precision single" if device.half else "the weights of the model cannot be used"
        raise UserError(f"The network gives values that are infinite or no numbers; {advice}.")
    return output


CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def memory_format_of(network: nn.Module) -> torch.memory_format:
    weights = {parameter.ndim for parameter in network.parameters()}
    if weights & {4, 5} == {4, 5}:
        return torch.preserve_format
    return next((CHANNELS_LAST[ndim] for ndim in (5, 4) if ndim in weights), torch.preserve_format)


def _is_about_the_device(error: RuntimeError, device: Device) -> bool:
    # MPS lacks some 3D operations, depending on the system's version, and says so with a plain RuntimeError.
    return is_memory(error) or device.kind == "mps"
