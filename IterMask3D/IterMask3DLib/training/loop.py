"""The training loop of a stage.

Every random draw follows from the seed and the step, so a resumed run is the run that was never interrupted.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.base import Batch, Healthy, Networks, Stage, TrainingTask
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.runner import memory_format_of
from IterMask3DLib.training.batch_norm import synchronise_batch_norm
from IterMask3DLib.training.checkpoint import (
    BEST,
    CHECKPOINT,
    BestWeights,
    Checkpoint,
    StageProgress,
    States,
    check_same,
    load_checkpoint,
    save_best,
    save_checkpoint,
)
from IterMask3DLib.training.examples import Batches, StageExamples, on_device
from IterMask3DLib.training.monitor import Monitor
from IterMask3DLib.training.options import TrainingOptions
from IterMask3DLib.training.pictures import picture_rows
from IterMask3DLib.training.validation import selecting_error, validation_errors
from IterMask3DLib.training.weights import begin_with, moving_average, states_of

_PUBLISHED_FALL = 0.6
"""Share of the published 500 epochs after which the learning rate falls."""


def learning_rate(step: int, total: int, options: TrainingOptions) -> float:
    """The rate of a step.

    `cosine`: half a cosine after a linear warm-up; `published`: the first rate, then the final one for the last 40 %;
    `constant`: the first rate.
    """
    if options.schedule == "constant":
        return options.learning_rate
    if options.schedule == "published":
        return options.learning_rate if step < _PUBLISHED_FALL * total else options.final_learning_rate
    cosine = 0.5 * (1 + math.cos(math.pi * step / total))
    rate = options.final_learning_rate + (options.learning_rate - options.final_learning_rate) * cosine
    return rate * min(1.0, (step + 1) / options.warm_up) if options.warm_up else rate


@dataclass(frozen=True)
class StageSetup:
    """What a stage is trained on, and where.

    Attributes:
        task, number: the stage of a method's training, from 0.
        options: those of the run with the stage's own.
        training, validation: brains to learn from and to validate with; cohort: key of the former.
        folder: for its files.
        precision: bf16 or fp32; workers: processes that make batches.
        earlier: the networks of the stages before; earlier_key: of their weights.
        initial: the model whose weights it begins with.
    """

    task: TrainingTask
    number: int
    options: TrainingOptions
    training: Sequence[Healthy]
    validation: Sequence[Healthy]
    cohort: str
    folder: Path
    precision: str
    workers: int
    earlier: Networks
    earlier_key: str = ""
    initial: Model | None = None

    @property
    def stage(self) -> Stage:
        return self.task.stages[self.number]

    def seed_of(self, *draw: int) -> int:
        """A seed for PyTorch that depends on the run's seed, the stage and the draw alone."""
        entropy = [self.options.seed, *draw, *([self.number] if self.number else [])]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])


class StageTrainer:
    """A stage in progress: its networks, their optimiser and moving average, and where it stands."""

    def __init__(self, setup: StageSetup, fabric: Any) -> None:
        self.setup, self.fabric = setup, fabric
        options, task, stage = setup.options, setup.task, setup.stage
        torch.manual_seed(setup.seed_of() if setup.number else options.seed)
        # The plain networks are kept for their weights; Fabric's wrappers run them on the device, over all processes.
        self.plain = nn.ModuleDict(task.networks(stage.name, setup.earlier))
        for network in self.plain.values():
            network.to(memory_format=memory_format_of(network))  # type: ignore[call-overload]
        if fabric.world_size > 1:
            synchronise_batch_norm(self.plain)
        self._batch_norms = [each for each in self.plain.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
        for batch_norm in self._batch_norms if options.batch_norm_momentum is not None else ():
            batch_norm.momentum = options.batch_norm_momentum
        found = load_checkpoint(setup.folder / CHECKPOINT) if fabric.is_global_zero else None
        # The first process reads for all, so that machines need not share the folder of the run.
        found = fabric.broadcast(found)
        if found is not None:
            check_same(found, options.record(), setup.cohort, setup.earlier_key, setup.folder)
            self._load(self.plain, found.networks)
        elif setup.initial is not None:
            begin_with(setup.initial, self.plain, task.configs(), options.initial)
        self._wrapped = {name: fabric.setup_module(network) for name, network in self.plain.items()}
        self._bare_optimiser = task.optimiser(stage.name, dict(self.plain.items()), options.learning_rate)
        self.optimiser = fabric.setup_optimizers(self._bare_optimiser)
        self.average = None
        self.progress = StageProgress() if found is None else found.progress
        if found is not None:
            self._bare_optimiser.load_state_dict(dict(found.optimiser))
        if options.ema:
            self.average = moving_average(self.plain, options.ema, self.progress.step)
            if found is not None and found.average is not None:
                self._load(self.average.module, found.average)
        self.total = options.total_steps(len(setup.training))
        self._evaluated = copy.deepcopy(self.plain).eval()
        self._earlier = {name: network.to(fabric.device).eval() for name, network in setup.earlier.items()}
        self._learned_from = StageExamples(task, setup.number, setup.training, options)
        self._validated = StageExamples(task, setup.number, setup.validation, options)

    def _load(self, networks: Any, states: States) -> None:
        try:
            for name, network in networks.items():
                network.load_state_dict(states[name])
        except (KeyError, RuntimeError):
            path = self.setup.folder / CHECKPOINT
            raise UserError(f"{path} is of other networks; give another RUN folder or remove the file.") from None

    def run(self, monitor: Monitor | None) -> StageProgress:
        """Trains to the end, or until validation has not got better for `patience` times.

        Raises:
            UserError: when the loss is not finite.
        """
        options, fabric = self.setup.options, self.fabric
        share = options.batch // fabric.world_size
        places = range(fabric.global_rank * share, (fabric.global_rank + 1) * share)
        first, last = self.progress.step, self.progress.step if self._is_stale() else self.total
        pinned = fabric.device.type == "cuda"
        batches = Batches(self._learned_from, places, first, last, self.setup.workers, pinned)
        pending: list[Tensor] = []
        begun, waited = time.perf_counter(), 0.0
        for done, batch in enumerate(batches, start=first + 1):
            pending.append(self._step(done - 1, batch))
            saving, validating = (
                done == last or done % every == 0 for every in (options.checkpoint_every, options.validate_every)
            )
            if not (saving or validating or done % options.log_every == 0):
                continue
            losses = self._finite(pending, done)
            if monitor is not None:
                seconds = time.perf_counter() - begun
                rate = learning_rate(done - 1, self.total, options)
                monitor.losses(done, losses, rate, batches.waited - waited, seconds)
            self.progress = replace(self.progress, step=done)
            if validating:
                self._validate(monitor)
            if saving or self._is_stale():
                self._save()
            if self._is_stale():
                break
            pending, begun, waited = [], time.perf_counter(), batches.waited
        return self.progress

    def _is_stale(self) -> bool:
        return 0 < self.setup.options.patience <= self.progress.stale

    def _step(self, step: int, batch: Batch) -> Tensor:
        options = self.setup.options
        for group in self._bare_optimiser.param_groups:
            group["lr"] = learning_rate(step, self.total, options) * group.get("scale", 1.0)
        if options.batch_norm_steps is not None and step >= options.batch_norm_steps:
            for batch_norm in self._batch_norms:
                batch_norm.eval()
        # Drawn anew for each step and process: the one thing in which one process and several differ.
        torch.manual_seed(self.setup.seed_of(step, self.fabric.global_rank))
        networks = {**self._earlier, **self._wrapped}
        loss = self.setup.task.loss(self.setup.stage.name, networks, on_device(batch, self.fabric.device))
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if options.gradient_limit:
            nn.utils.clip_grad_norm_(self.plain.parameters(), options.gradient_limit)
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.plain)
        return loss.detach()

    def _finite(self, pending: list[Tensor], done: int) -> list[float]:
        """The losses of the steps up to `done` over all processes.

        Asked for some at a time, so that a GPU need not stop at every step.
        """
        losses = self.fabric.all_reduce(torch.stack(pending), reduce_op="mean").tolist()
        for number, loss in enumerate(losses, start=done - len(losses) + 1):
            if not math.isfinite(loss):
                raise self._diverged(number, f"the loss of step {number} is not finite")
        if not all(torch.isfinite(parameter).all() for parameter in self.plain.parameters()):
            raise self._diverged(done, f"the weights after step {done} are not finite")
        return [float(loss) for loss in losses]

    def _diverged(self, step: int, what: str) -> UserError:
        rate, path = learning_rate(step - 1, self.total, self.setup.options), self.setup.folder / CHECKPOINT
        kept = f"; the last good checkpoint is kept in {path}" if path.exists() else ""
        advice = f"begin a new run with a lower --learning-rate{kept}"
        return UserError(f"{self.setup.folder}: {what} (learning rate {rate:.3g}); {advice}.")

    def trained(self, weights: States) -> dict[str, nn.Module]:
        """The networks of the stage with the weights that were chosen, in evaluation mode, on the device."""
        self._load(self._evaluated, weights)
        return dict(self._evaluated.requires_grad_(False).items())

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """The weights a model would get now: the moving average where the options have one, on the CPU."""
        return states_of(self.plain if self.average is None else self.average.module)

    def _validate(self, monitor: Monitor | None) -> None:
        setup, fabric, step = self.setup, self.fabric, self.progress.step
        weights = self.weights()
        self._load(self._evaluated, weights)
        networks = {**self._earlier, **self._evaluated}
        with fabric.autocast():
            if len(setup.validation):
                errors = validation_errors(setup.task, self._validated, networks, fabric.device)
                if monitor is not None:
                    monitor.validation(step, errors)
                self._compare(selecting_error(setup.stage, errors), weights)
            if monitor is not None:
                shown = self._validated if len(setup.validation) else self._learned_from
                monitor.pictures(step, picture_rows(setup.task, shown, networks, fabric.device))

    def _compare(self, error: float, weights: States) -> None:
        """Keeps the weights if they are the best ones so far."""
        if not error < self.progress.best_error:
            self.progress = replace(self.progress, stale=self.progress.stale + 1)
            return
        step = self.progress.step
        self.progress = replace(self.progress, best_error=error, best_step=step, stale=0)
        if self.fabric.is_global_zero:
            save_best(self.setup.folder / BEST, BestWeights(weights, step))

    def _save(self) -> None:
        if not self.fabric.is_global_zero:
            return
        checkpoint = Checkpoint(
            networks={name: network.state_dict() for name, network in self.plain.items()},
            optimiser=self._bare_optimiser.state_dict(),
            average=None if self.average is None else states_of(self.average.module),
            progress=self.progress,
            options=self.setup.options.record(),
            cohort=self.setup.cohort,
            earlier=self.setup.earlier_key,
            precision=self.setup.precision,
        )
        save_checkpoint(self.setup.folder / CHECKPOINT, checkpoint)
