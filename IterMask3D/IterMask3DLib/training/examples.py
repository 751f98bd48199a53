"""Training examples, drawn from the seed, the epoch and the brain's number alone, and the batches made of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Batch, Example, Healthy, TrainingTask
from IterMask3DLib.runtime.runner import in_fast_order
from IterMask3DLib.training.options import TrainingOptions
from IterMask3DLib.training.synthetic import augmentation_of

_ORDER, _DRAW, _FIXED, _STREAMS = 1, 2, 3, 3
"""Which stream of random numbers a draw comes from; each stage has as many of its own."""

_SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class StageExamples(Dataset[Any]):
    """The examples of a stage, by step and place in the step's batch.

    Each epoch visits every brain once, in a new order. An example depends on the seed, the epoch and the number of its
    brain, never on the process that makes it.

    Attributes:
        number: of the stage, from 0.
        brains: `Healthy`, or `TissueMaps` where scans are made from them.
    """

    task: TrainingTask
    number: int
    brains: Sequence[Any]
    options: TrainingOptions

    def __getitem__(self, index: tuple[int, int]) -> Example | UserError:
        step, place = index
        seed, first = self.options.seed, _STREAMS * self.number
        epoch, position = divmod(step * self.options.batch + place, len(self.brains))
        order = np.random.default_rng([seed, first + _ORDER, epoch]).permutation(len(self.brains))
        number = int(order[position])
        rng = np.random.default_rng([seed, first + _DRAW, epoch, number])
        try:
            augmented = augmentation_of(self.options)(self.brains[number], rng)
            return self.task.example(self.task.stages[self.number].name, _contiguous(augmented), rng)
        except UserError as error:
            # Raised in another process it would come with that one's traceback.
            return error

    def fixed(self, number: int, kind: str) -> Example:
        """The example of a kind on a brain as it is, the same at every call: for validation and pictures."""
        rng = np.random.default_rng([self.options.seed, _STREAMS * self.number + _FIXED, number])
        return self.task.example(self.task.stages[self.number].name, self.brains[number], rng, kind)


class Batches:
    """Iterates over the batches of the steps from `first` to `last`, some of which are always ready ahead.

    Attributes:
        waited: seconds in which none was ready.
        workers: processes that make them; 0: they are made here.
    """

    def __init__(
        self, examples: StageExamples, places: Sequence[int], first: int, last: int, workers: int, pinned: bool = False
    ) -> None:
        """`places`: which examples of each step's batch this process takes; `pinned`: memory a GPU fetches from."""
        self.waited = 0.0
        self.workers = _fitting(workers, examples, len(places)) if first < last else 0
        # A loader draws a seed for its workers, which must not come from the numbers that the training draws.
        self._loader: DataLoader[Any] = DataLoader(
            examples,
            batch_sampler=_Steps(places, first, last),
            num_workers=self.workers,
            collate_fn=stacked,
            pin_memory=pinned,
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader)
        while True:
            begun = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self.waited += time.perf_counter() - begun
            if isinstance(batch, UserError):
                raise batch
            yield batch


@contextmanager
def explaining_killed_workers() -> Iterator[None]:
    """Raises `UserError` where PyTorch, at any moment, finds that a process that makes batches is gone."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            "A process that makes batches was killed, as systems do when memory runs out; give fewer --workers."
        ) from None


@dataclass(frozen=True)
class _Steps:
    """The indices of each step's examples."""

    places: Sequence[int]
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.first, self.last):
            yield [(step, place) for place in self.places]


def stacked(examples: Sequence[Example | UserError]) -> Batch | UserError:
    """One batch of examples [b, …], or the first error among them."""
    good: list[Example] = []
    for each in examples:
        if isinstance(each, UserError):
            return each
        good.append(each)
    return {name: torch.from_numpy(np.stack([each[name] for each in good])) for name in good[0]}


def on_device(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device, images with their channels last."""
    moved = {}
    for name, tensor in batch.items():
        there = tensor.to(device, non_blocking=True)
        moved[name] = in_fast_order(there) if there.is_floating_point() else there
    return moved


def usual_workers(device: str, processes: int) -> int:
    """How many processes make batches where the user names no number.

    Beside a GPU nearly all cores, for on the CPU the network needs them too.

    Args:
        processes: how many trainings share this machine.
    """
    cores = (os.cpu_count() or 2) // processes
    return max(1, cores // 4 if device == "cpu" else min(16, cores - 1))


def _fitting(workers: int, examples: StageExamples, batch: int) -> int:
    """As many workers as the shared memory, through which batches come, has room for: 64 MB in most containers."""
    if not _SHARED_MEMORY.is_dir():
        return workers
    example = examples[0, 0]
    size = 0 if isinstance(example, UserError) else batch * sum(array.nbytes for array in example.values())
    room = disk_usage(_SHARED_MEMORY).free // max(1, size)
    # Each worker has two batches ahead, and one is in use.
    return int(min(workers, max(0, room - 1) // 2))


def _contiguous(healthy: Healthy) -> Healthy:
    channels, brain = np.ascontiguousarray(healthy.channels), np.ascontiguousarray(healthy.brain)
    return replace(healthy, channels=channels, brain=brain)
