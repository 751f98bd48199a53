"""Where the network runs, and what happens when that place is too small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from IterMask3DLib.engine import openvino_execution
from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.execution import InferenceUNet

BackendName = Literal["auto", "pytorch", "openvino"]
DeviceName = Literal["auto", "cuda", "mps", "cpu"]
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Place:
    """A device and the type its convolutions compute in."""

    device: str
    half: bool

    def __str__(self) -> str:
        return f"{self.device} in {'half' if self.half else 'single'} precision"


def choose_place(name: DeviceName, half: bool | None = None) -> Place:
    """The place a device name stands for; `half=None` means half precision on CUDA and single elsewhere.

    Raises `InputError` if the device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(key for key in ("cuda", "mps", "cpu") if there[key])  # type: ignore[assignment]
    if name not in there:
        raise InputError(f"Device {name} is not known; use auto, cuda, mps or cpu.")
    if not there[name]:
        raise InputError(f"Device {name} is not available on this machine; use --device auto or --device cpu.")
    return Place(name, half if half is not None else name == "cuda")


def next_place(place: Place) -> Place | None:
    """Where to go on when a place ran out of memory: half precision on the same device, then the CPU, then nowhere."""
    if place.device == "cpu":
        return None
    return Place("cpu", False) if place.half or place.device != "cuda" else Place("cuda", True)


class Runner:
    """Runs a network, and moves it to a smaller place when memory runs out; `notices` tells the user what changed.

    `backend`: what executes it on the CPU; auto takes OpenVINO where it is installed. Raises `InputError` if the one asked for is not.
    """

    def __init__(self, network: nn.Module, place: Place, backend: BackendName = "auto") -> None:
        if backend == "openvino" and not openvino_execution.available():
            raise InputError("OpenVINO is not installed; run pip install openvino, or use --backend pytorch.")
        self.notices: list[str] = []
        self.place = place
        self._wanted = backend
        self._network = network
        self._settle()

    def __call__(self, channels: Tensor) -> Tensor:
        """`channels`: float32 [1, 2, x, y, z] on any device. Returns float32 [x, y, z] on the present device."""
        while True:
            try:
                return self._run(channels)
            except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
                smaller = next_place(self.place) if _is_about_the_device(error, self.place) else None
                if smaller is None:
                    raise
                reason = "ran out of memory" if _is_memory(error) else "cannot run this network"
            # Outside the handler: the exception held the frames, and with them the memory, of the failed pass.
            self.notices.append(f"The device ({self.place}) {reason}; the run went on on the {smaller}.")
            self.place = smaller
            self._settle()

    def _settle(self) -> None:
        self._network = self._network.to(self.place.device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        # Measured against PyTorch (channels last) and ONNX Runtime; see benchmarks/README.md.
        faster = self.place.device == "cpu" and self._wanted != "pytorch" and openvino_execution.available()
        self._on_openvino = openvino_execution.OpenVINOUNet(self._network) if faster and isinstance(self._network, InferenceUNet) else None
        self.backend = "pytorch" if self._on_openvino is None else "openvino"

    @torch.inference_mode()
    def _run(self, channels: Tensor) -> Tensor:
        if self._on_openvino is not None:
            return self._on_openvino(channels.cpu())[0, 0]
        given = channels.to(self.place.device, memory_format=torch.channels_last_3d)
        with torch.autocast(self.place.device, torch.float16, enabled=self.place.half):
            output: Tensor = self._network(given)
        return output[0, 0].float()


def _is_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.cuda.OutOfMemoryError) or "out of memory" in str(error).lower()


def _is_about_the_device(error: RuntimeError, place: Place) -> bool:
    # MPS lacks some 3D operations, depending on the system's version, and says so with a plain RuntimeError.
    return _is_memory(error) or place.device == "mps"
