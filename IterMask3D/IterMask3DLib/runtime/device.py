"""Where the networks of a run run, and where to go on when that place is too small."""

from __future__ import annotations

import runpy
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

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
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if _is_there(kind))
    if name not in DEVICES:
        raise UserError(f"Device {name} is not known; use {', '.join(DEVICES)}.")
    if not _is_there(name):
        raise UserError(f"Device {name} is not available on this machine; use --device auto or --device cpu.")
    return Device(name, precision == "half" or (precision == "auto" and name == "cuda"))


def _is_there(kind: str) -> bool:
    """Whether networks can run on a kind of device. PyTorch is imported only where it was built for that kind."""
    if kind == "cpu":
        return True
    if not (sys.platform == "darwin" if kind == "mps" else _is_built_for_gpus()):
        return False
    import torch

    return bool(torch.backends.mps.is_available() if kind == "mps" else torch.cuda.is_available())


def _is_built_for_gpus() -> bool:
    found = find_spec("torch")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        with suppress(OSError, SyntaxError):
            version = runpy.run_path(str(Path(folder) / "version.py"))
            return bool(version.get("cuda") or version.get("hip"))
    return found is not None
