"""Many cases over several processes of one launcher (`torchrun`): each takes its share, and all end together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch

from IterMask3DLib.engine.errors import InputError

Item = TypeVar("Item")

_LONGEST_WAIT = timedelta(days=30)


@dataclass(frozen=True)
class Position:
    """Which of how many processes this one is: `rank` of `world` in all, `local` on its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0


def position(environment: Mapping[str, str] = os.environ) -> Position:
    """The place of this process among those `torchrun` started, or the only one. Raises `InputError` if the variables make no sense."""
    if "MASTER_ADDR" not in environment:
        return Position()
    try:
        here = Position(*(int(environment.get(name, usual)) for name, usual in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))))
    except ValueError:
        raise InputError("RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers; start several processes with torchrun.") from None
    if not (0 <= here.rank < here.world and here.local >= 0):
        raise InputError(f"RANK {here.rank} does not fit WORLD_SIZE {here.world}; start several processes with torchrun.")
    return here


def share(items: Sequence[Item], here: Position | None = None) -> list[Item]:
    """Every `world`-th item, starting with the rank: over all processes each item comes exactly once, in one process all of them.

    Where there are GPUs, the process takes the one of its place on the machine, so that `cuda` means another GPU in each.
    """
    here = here or position()
    if here.world > 1 and torch.cuda.is_available():
        torch.cuda.set_device(here.local % torch.cuda.device_count())
    return list(items[here.rank :: here.world])


def together(mine: Item) -> list[Item]:
    """What every process gives, in the order of their ranks, in each of them; waits until all have come here.

    A launcher stops all processes when one ends with an error, so processes with shares of one job end through here.
    """
    here = position()
    if here.world == 1:
        return [mine]
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)
    everything: list[Item] = [mine] * here.world
    distributed.all_gather_object(everything, mine)
    return everything
