"""How well a stage does on brains it does not learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from IterMask3DLib.methods.base import Batch, Networks, Stage, TrainingTask
from IterMask3DLib.runtime.distributed import map_shards
from IterMask3DLib.training.examples import StageExamples, on_device, stacked

_MOST_EXAMPLES = 256


def fixed_batch(examples: StageExamples, number: int, kind: str, device: torch.device) -> Batch:
    """A batch of one example that is the same at every call, on a device. Raises `UserError`."""
    batch = stacked([examples.fixed(number, kind)])
    assert isinstance(batch, dict)
    return on_device(batch, device)


@torch.no_grad()
def validation_errors(
    task: TrainingTask, examples: StageExamples, networks: Networks, device: torch.device
) -> dict[str, float]:
    """The mean error over the brains for each kind of example; of many slices, over some that lie evenly among them.

    Each process does its shard of the brains.
    """
    stage, numbers = task.stages[examples.number], chosen_numbers(len(examples.brains))

    def errors_of(index: int) -> list[float]:
        batches = (fixed_batch(examples, numbers[index], kind, device) for kind in stage.validation)
        return [float(task.validation_error(stage.name, networks, batch)) for batch in batches]

    means = np.mean(map_shards(errors_of, len(numbers)), axis=0)
    return {kind: float(mean) for kind, mean in zip(stage.validation, means, strict=True)}


def chosen_numbers(count: int) -> Sequence[int]:
    """Which of so many brains are validated."""
    if count <= _MOST_EXAMPLES:
        return range(count)
    return [int(number) for number in np.linspace(0, count - 1, _MOST_EXAMPLES)]


def selecting_error(stage: Stage, errors: Mapping[str, float]) -> float:
    """The one number by which weights are compared: lower is better."""
    return float(np.mean([errors[kind] for kind in stage.selected_by or stage.validation]))
