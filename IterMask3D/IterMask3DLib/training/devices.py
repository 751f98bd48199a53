"""Starting Lightning Fabric where the user wants to train: CPU, one GPU, several GPUs, several machines."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from typing import Any

import torch

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.runtime.device import choose_device
from IterMask3DLib.runtime.distributed import current_rank

_LONGEST_WAIT = timedelta(days=1)
"""Processes wait for each other while volumes are prepared; the usual half hour is too short for a large cohort."""


def fast_precision(device: str, wanted: str) -> str:
    """`bf16` or `fp32`: as wanted, or for `auto` bf16 where the hardware computes in it."""
    if wanted != "auto":
        return wanted
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # Older builds of PyTorch do not say what the processor can do.
    abilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if device == "cpu" else {}
    return "bf16" if abilities.get("avx512_bf16") or abilities.get("amx_bf16") else "fp32"


def processes_here() -> int:
    """How many processes of the launcher run on this machine."""
    here = current_rank()
    return int(os.environ.get("LOCAL_WORLD_SIZE", here.world_size)) if here.world_size > 1 else 1


def start_fabric(device: str, precision: str) -> Any:
    """A launched Fabric over the processes that torchrun started, or this one. Raises `UserError` without Lightning."""
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
        from lightning.fabric.strategies import DDPStrategy
    except ImportError:
        raise UserError("Training needs Lightning: pip install itermask3d[train].") from None
    # The run itself says what precision is used. Which of its loggers Lightning takes depends on what it has imported.
    for part in ("fabric", "pytorch"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)
    several, local = current_rank().world_size > 1, processes_here()
    fabric = Fabric(
        accelerator=choose_device(device).kind,
        devices=local,
        num_nodes=current_rank().world_size // local,
        strategy=DDPStrategy(timeout=_LONGEST_WAIT) if several else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        plugins=[TorchElasticEnvironment() if several else LightningEnvironment()],
    )
    fabric.launch()
    return fabric
