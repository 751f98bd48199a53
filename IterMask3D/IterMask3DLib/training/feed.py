"""Batches made ahead of time by threads, and how long the network waited for them."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from IterMask3DLib.training.data import Example, Volumes, examples_of_step
from IterMask3DLib.training.recipe import Recipe


@dataclass(frozen=True)
class Batch:
    """`given`: float32 [batch, 2, x, y, z]; `target`: float32 [batch, 1, x, y, z]; `region`: bool like `target`, None for the whole volume."""

    given: Tensor
    target: Tensor
    region: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, channels last there."""
        given = self.given.to(device, memory_format=torch.channels_last_3d, non_blocking=True)
        region = None if self.region is None else self.region.to(device, non_blocking=True)
        return Batch(given, self.target.to(device, non_blocking=True), region)


def batch_of(examples: Sequence[Example], loss_region: str, pinned: bool = False) -> Batch:
    """Stacks examples; `pinned` memory lets a GPU fetch them while it computes."""
    given = torch.from_numpy(np.stack([each.given for each in examples]))
    target = torch.from_numpy(np.stack([each.volume[None] for each in examples]))
    region = None
    if loss_region != "volume":
        region = torch.from_numpy(np.stack([(each.brain if loss_region == "brain" else each.mask)[None] for each in examples]))
    if pinned:
        given, target, region = given.pin_memory(), target.pin_memory(), None if region is None else region.pin_memory()
    return Batch(given, target, region)


def usual_workers(device: str, processes: int) -> int:
    """Threads that make batches where the user names no number: beside a GPU nearly all cores, for on the CPU the network needs them too.

    `processes`: how many share this machine.
    """
    cores = (os.cpu_count() or 2) // processes
    return max(1, cores // 4 if device == "cpu" else min(16, cores - 1))


class Feed:
    """Iterates over `(step, batch)` from `first` to `last`, always some batches ahead; `waited` counts the seconds nothing was ready.

    `places`: which examples of each step's batch this process takes. Leaving the `with` block ends the threads.
    """

    def __init__(
        self, volumes: Volumes, recipe: Recipe, places: Sequence[int], first: int, last: int, workers: int, pinned: bool = False
    ) -> None:
        self.waited = 0.0
        self._steps = iter(range(first, last))
        self._make: Callable[[int], Batch] = lambda step: batch_of(
            examples_of_step(step, places, volumes, recipe), recipe.loss_region, pinned
        )
        self._threads = ThreadPoolExecutor(workers)
        self._ahead: deque[tuple[int, Future[Batch]]] = deque()
        for _ in range(workers + 1):
            self._ask()

    def _ask(self) -> None:
        for step in self._steps:
            self._ahead.append((step, self._threads.submit(self._make, step)))
            return

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        while self._ahead:
            step, coming = self._ahead.popleft()
            begun = time.perf_counter()
            batch = coming.result()
            self.waited += time.perf_counter() - begun
            self._ask()
            yield step, batch

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
