"""Starting Lightning Fabric where the user wants to train: CPU, one GPU, several GPUs, several machines."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

import torch

from IterMask3DLib.runtime.device import DeviceName, choose_place
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.runtime.distributed import position

_LONGEST_WAIT = timedelta(days=1)
"""Processes wait for each other while volumes are prepared; the usual half hour is too short for a large cohort."""


def fast_precision(device: str, wanted: str) -> str:
    """`bf16` or `fp32`: as wanted, or for `auto` bf16 where the hardware computes in it."""
    if wanted != "auto":
        return wanted
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Older builds of PyTorch do not tell what the processor can do.
    abilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if device == "cpu" else {}
    return "bf16" if abilities.get("avx512_bf16") or abilities.get("amx_bf16") else "fp32"


def processes_here() -> int:
    """How many processes of the launcher run on this machine."""
    here = position()
    return int(os.environ.get("LOCAL_WORLD_SIZE", here.world)) if here.world > 1 else 1


def start_fabric(device: DeviceName, precision: str) -> Any:
    """A launched Fabric over the processes that torchrun started, or over this one. Raises `UserError` if Lightning is not installed."""
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
        from lightning.fabric.strategies import DDPStrategy
    except ImportError:
        raise UserError("Training needs Lightning: pip install itermask3d[train].") from None
    # What precision is used is told by the run itself.
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    here = position()
    local = processes_here()
    fabric = Fabric(
        accelerator=choose_place(device).device,
        devices=local,
        num_nodes=here.world // local,
        strategy=DDPStrategy(timeout=_LONGEST_WAIT) if here.world > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        plugins=[TorchElasticEnvironment() if here.world > 1 else LightningEnvironment()],
    )
    fabric.launch()
    return fabric
