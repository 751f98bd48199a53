"""Where the networks of a run run, and where to go on when that place is too small."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import DEVICES


@dataclass(frozen=True)
class Device:
    """A kind of device and the precision its convolutions compute in."""

    kind: str
    half: bool = False

    def __str__(self) -> str:
        return f"{self.kind} in {'half' if self.half else 'single'} precision"

    @property
    def smaller(self) -> Device | None:
        """Where to go on when memory runs out: half precision on the same device, then the CPU, then nowhere."""
        if self.kind == "cpu":
            return None
        return Device("cpu") if self.half or self.kind != "cuda" else Device("cuda", True)


def choose_device(name: str = "auto", precision: str = "auto") -> Device:
    """The device a name stands for; precision auto means half on CUDA and single elsewhere.

    Raises `UserError` if the device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if name not in there:
        raise UserError(f"Device {name} is not known; use {', '.join(DEVICES)}.")
    if not there[name]:
        raise UserError(f"Device {name} is not available on this machine; use --device auto or --device cpu.")
    return Device(name, precision == "half" or (precision == "auto" and name == "cuda"))
