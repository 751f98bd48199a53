"""The training loop: every random draw follows from the seed and the step, so a resumed run is the run that was never interrupted."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.models.store import find_model, load_model
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.training.average import Average
from IterMask3DLib.training.batchnorm import share_batch_norm
from IterMask3DLib.training.cache import Cached, write_whole
from IterMask3DLib.training.checkpoint import BEST, CHECKPOINT, Checkpoint, Progress, check_same, load_checkpoint, save_checkpoint
from IterMask3DLib.training.feed import Batch, Feed
from IterMask3DLib.training.monitor import Monitor
from IterMask3DLib.training.recipe import Recipe
from IterMask3DLib.training.sheet import sheet_rows
from IterMask3DLib.training.validate import judged, validation_errors

_WARM_UP = 100
_PUBLISHED_FALL = 0.6
"""Share of the published 500 epochs after which the learning rate falls."""


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """`cosine`: half a cosine after 100 steps of linear warm-up; `published`: the first rate, then the final one for the last 40 %."""
    if recipe.schedule == "published":
        return recipe.learning_rate if step < _PUBLISHED_FALL * total else recipe.final_learning_rate
    cosine = 0.5 * (1 + math.cos(math.pi * step / total))
    rate = recipe.final_learning_rate + (recipe.learning_rate - recipe.final_learning_rate) * cosine
    return rate * min(1.0, (step + 1) / _WARM_UP)


def loss_of(output: Tensor, batch: Batch) -> Tensor:
    """Mean squared error over the region of each volume, averaged over the volumes, so that each volume counts alike."""
    squared = (output.float() - batch.target).square()
    if batch.region is None:
        return squared.mean()
    inside = batch.region.flatten(1)
    return ((squared.flatten(1) * inside).sum(1) / inside.sum(1)).mean()


def initial_weights(recipe: Recipe) -> dict[str, Tensor]:
    """The tensors of the model that training begins with. Raises `UserError` if its network is another one."""
    model = load_model(find_model(recipe.initial))
    if model.card.widths != recipe.widths:
        raise UserError(f"{recipe.initial} has the widths {model.card.widths}, not {recipe.widths}; give --widths to match.")
    return model.network.state_dict()


@dataclass(frozen=True)
class Job:
    """What is trained where. `precision`: bf16 or fp32; `workers`: threads that make batches."""

    training: Cached
    validation: Cached
    recipe: Recipe
    folder: Path
    precision: str
    workers: int


class Trainer:
    """A run in progress: the network, its optimiser and average, and where it stands."""

    def __init__(self, job: Job, fabric: Any) -> None:
        self.job, self.fabric = job, fabric
        recipe = job.recipe
        torch.manual_seed(recipe.seed)
        # The plain network is kept for its weights; Fabric's wrapper runs it on the device, in its precision, over all processes.
        self.plain = UNet3D(recipe.widths, recipe.dropout).to(memory_format=torch.channels_last_3d)
        if fabric.world_size > 1:
            share_batch_norm(self.plain)
        optimiser = torch.optim.Adam(self.plain.parameters(), lr=recipe.learning_rate)
        found = load_checkpoint(job.folder / CHECKPOINT) if fabric.is_global_zero else None
        # The first process reads for all, so that machines need not share the folder of the run.
        found = fabric.broadcast(found)
        if found is not None:
            check_same(found, recipe, job.training.key, job.folder)
            self.plain.load_state_dict(found.network)
        elif recipe.initial:
            self.plain.load_state_dict(initial_weights(recipe))
        self.network, self.optimiser = fabric.setup(self.plain, optimiser)
        if found is not None:
            optimiser.load_state_dict(found.optimiser)
        self._bare_optimiser = optimiser
        self.average = Average(self.plain, recipe.ema, found.average if found is not None else None) if recipe.ema else None
        self.progress = found.progress if found is not None else Progress()
        self.total = recipe.total_steps(len(job.training))
        self._judge = UNet3D(recipe.widths).to(fabric.device, memory_format=torch.channels_last_3d).eval()

    def run(self, monitor: Monitor | None) -> Progress:
        """Trains to the end, or until validation has not got better for `patience` times. Raises `UserError` when the loss is not finite."""
        recipe, fabric, job = self.job.recipe, self.fabric, self.job
        share = recipe.batch // fabric.world_size
        places = range(fabric.global_rank * share, (fabric.global_rank + 1) * share)
        last = self.progress.step if self._stale() else self.total
        pending: list[Tensor] = []
        with Feed(job.training, recipe, places, self.progress.step, last, job.workers, fabric.device.type == "cuda") as feed:
            begun, waited = time.perf_counter(), 0.0
            for step, batch in feed:
                pending.append(self._step(step, batch))
                done = step + 1
                saving, validating = (done == last or done % every == 0 for every in (recipe.checkpoint_every, recipe.validate_every))
                if not (saving or validating or done % recipe.log_every == 0):
                    continue
                losses = self._finite(pending, done)
                if monitor is not None:
                    seconds = time.perf_counter() - begun
                    monitor.losses(done, losses, learning_rate(step, self.total, recipe), feed.waited - waited, seconds)
                self.progress = replace(self.progress, step=done)
                if validating:
                    self._validate(monitor)
                if saving or self._stale():
                    self._save()
                if self._stale():
                    break
                pending, begun, waited = [], time.perf_counter(), feed.waited
        return self.progress

    def _stale(self) -> bool:
        return 0 < self.job.recipe.patience <= self.progress.stale

    def _step(self, step: int, batch: Batch) -> Tensor:
        recipe = self.job.recipe
        for group in self._bare_optimiser.param_groups:
            group["lr"] = learning_rate(step, self.total, recipe)
        if recipe.dropout:
            # Drawn anew for each step and process: the one thing in which one process and several differ.
            torch.manual_seed(int(np.random.SeedSequence([recipe.seed, step, self.fabric.global_rank]).generate_state(1)[0]))
        batch = batch.to(self.fabric.device)
        loss = loss_of(self.network(batch.given), batch)
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.optimiser.step()
        if self.average is not None:
            self.average.follow(self.plain, step)
        return loss.detach()

    def _finite(self, pending: list[Tensor], done: int) -> list[float]:
        """The losses of the steps up to `done` over all processes. Asked for some at a time, so that a GPU need not stop at every step."""
        losses = self.fabric.all_reduce(torch.stack(pending), reduce_op="mean").tolist()
        for number, loss in enumerate(losses, start=done - len(losses) + 1):
            if not math.isfinite(loss):
                raise self._diverged(number, f"the loss of step {number} is not finite")
        if not all(torch.isfinite(parameter).all() for parameter in self.plain.parameters()):
            raise self._diverged(done, f"the weights after step {done} are not finite")
        return [float(loss) for loss in losses]

    def _diverged(self, step: int, what: str) -> UserError:
        rate, path = learning_rate(step - 1, self.total, self.job.recipe), self.job.folder / CHECKPOINT
        kept = f"; the last good checkpoint is kept in {path}" if path.exists() else ""
        return UserError(f"{self.job.folder}: {what} (learning rate {rate:.3g}); begin a new run with a lower --learning-rate{kept}.")

    def checkpoint(self) -> Checkpoint:
        """All that a run needs to go on from here."""
        return Checkpoint(
            network=self.plain.state_dict(),
            optimiser=self._bare_optimiser.state_dict(),
            average=None if self.average is None else self.average.state,
            progress=self.progress,
            recipe=self.job.recipe.record(),
            cohort=self.job.training.key,
            precision=self.job.precision,
        )

    def weights(self) -> dict[str, Tensor]:
        """The weights a model would get now: the moving average where the recipe has one, on the CPU."""
        state = self.plain.state_dict() if self.average is None else self.average.state
        return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}

    @torch.no_grad()
    def _reconstruct(self, given: Tensor) -> Tensor:
        given = given.to(self.fabric.device, memory_format=torch.channels_last_3d)
        with self.fabric.autocast():
            output: Tensor = self._judge(given)
        return output

    def _validate(self, monitor: Monitor | None) -> None:
        recipe, volumes, step = self.job.recipe, self.job.validation, self.progress.step
        self._judge.load_state_dict(self.weights())
        if len(volumes):
            errors = validation_errors(volumes, recipe, self._reconstruct)
            error = judged(errors)
            if monitor is not None:
                monitor.validation(step, errors)
            if error < self.progress.best_error:
                self.progress = replace(self.progress, best_error=error, best_step=step, stale=0)
                if self.fabric.is_global_zero:
                    best = {"step": step, "error": error, "network": self.weights()}
                    write_whole(self.job.folder / BEST, lambda beside: torch.save(best, beside))
            else:
                self.progress = replace(self.progress, stale=self.progress.stale + 1)
        if monitor is not None:
            monitor.sheet(step, sheet_rows(volumes if len(volumes) else self.job.training, recipe, self._reconstruct))

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(self.job.folder / CHECKPOINT, self.checkpoint())
