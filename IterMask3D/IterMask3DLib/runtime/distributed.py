"""Many cases over several processes of one launcher (`torchrun`): each takes its shard, and all end together."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from IterMask3DLib.core.errors import UserError

Item = TypeVar("Item")

_LONGEST_WAIT = timedelta(days=30)
_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))


@dataclass(frozen=True)
class Rank:
    """Which of how many processes this one is: `rank` of `world_size` in all, `local_rank` on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def current_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank of this process among those `torchrun` started, or the only one.

    Raises `UserError` if the variables make no sense.
    """
    if "MASTER_ADDR" not in environment:
        return Rank()
    try:
        here = Rank(*(int(environment.get(name, usual)) for name, usual in _VARIABLES))
    except ValueError:
        names = ", ".join(name for name, _ in _VARIABLES)
        raise UserError(f"{names} must be whole numbers; start several processes with torchrun.") from None
    if not (0 <= here.rank < here.world_size and here.local_rank >= 0):
        raise UserError(
            f"RANK {here.rank} does not fit WORLD_SIZE {here.world_size}; start several processes with torchrun."
        )
    return here


def shard(items: Sequence[Item], here: Rank | None = None) -> list[Item]:
    """Every `world_size`-th item, starting with the rank: over all processes each item comes exactly once.

    Where there are GPUs, the process takes the one of its local rank, so that `cuda` means another GPU in each.
    """
    here = here or current_rank()
    if here.world_size > 1:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(here.local_rank % torch.cuda.device_count())
    return list(items[here.rank :: here.world_size])


def all_gather(mine: Item) -> list[Item]:
    """What every process gives, in the order of their ranks, in each of them; waits until all have come here.

    A launcher stops all processes when one ends with an error, so processes with shards of one job end through here.
    """
    here = current_rank()
    if here.world_size == 1:
        return [mine]
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)
        # Its threads, left to the end of the interpreter, now and then end the process with SIGABRT.
        atexit.register(distributed.destroy_process_group)
    everything: list[Item] = [mine] * here.world_size
    distributed.all_gather_object(everything, mine)
    return everything


def map_shards(made: Callable[[int], Item], count: int) -> list[Item]:
    """What a function gives for 0, 1, … `count` - 1, in this order; each process calls it for its shard alone."""
    mine = [(number, made(number)) for number in shard(range(count))]
    everyone = sorted((pair for part in all_gather(mine) for pair in part), key=lambda pair: pair[0])
    return [found for _, found in everyone]
