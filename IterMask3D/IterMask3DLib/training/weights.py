"""Which weights: those a training begins with, their moving average, and those a model gets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.loading import load_model
from IterMask3DLib.models.catalogue import find_model
from IterMask3DLib.models.store import Model
from IterMask3DLib.training.checkpoint import BEST, CHECKPOINT, States, load_best, load_checkpoint
from IterMask3DLib.training.options import TrainingOptions


def moving_average(networks: nn.Module, decay: float, begun: int = 0) -> AveragedModel:
    """An exponential moving average of parameters and buffers, often a little better than the last weights.

    Its decay is smaller early on, min(decay, (1 + step) / (10 + step)), to forget the beginning.

    Args:
        begun: steps that it has taken in already.
    """

    def blend(averaged: Any, current: Any, _: Any) -> None:
        # Counted on the CPU, so that a GPU need not stop at every step.
        step = int(average.n_averaged) - 1
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + step) / (10 + step)))
        else:
            torch._foreach_copy_(averaged, current)

    average = AveragedModel(networks, multi_avg_fn=blend, use_buffers=True)
    # The copy made above is the first of the weights that are averaged.
    average.n_averaged += begun + 1
    return average


def initial_model(options: TrainingOptions) -> Model:
    """The model whose weights a training begins with. Raises `UserError` if it is one of another method."""
    model = load_model(find_model(options.initial))
    if model.card.method != options.method:
        raise UserError(f"{options.initial} is a model of the method {model.card.method}; give --method to match.")
    return model


def begin_with(
    model: Model, networks: Mapping[str, nn.Module], configs: Mapping[str, Mapping[str, Any]], where: str
) -> None:
    """Gives networks the weights that a model has for them. Raises `UserError` if its networks are other ones."""
    for name, network in networks.items():
        if name not in model.networks:
            continue
        state, wanted = model.networks[name].state_dict(), network.state_dict()
        if {key: tensor.shape for key, tensor in state.items()} != {
            key: tensor.shape for key, tensor in wanted.items()
        }:
            there = model.card.networks[name].config
            for key, value in configs.get(name, {}).items():
                if key in there and _json(there[key]) != _json(value):
                    option = f"--{key.replace('_', '-')}"
                    raise UserError(f"{where} has {key} {there[key]}, not {value}; give {option} to match.")
            raise UserError(f"{where} has another network {name}; choose another model, or none.")
        network.load_state_dict(state)


def _json(value: Any) -> Any:
    """A tuple as the list it is in JSON."""
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class ChosenWeights:
    """The weights a stage leaves.

    Attributes:
        networks: their states.
        step: after which they were had; description: the same in words; precision: what they were computed in.
    """

    networks: States
    step: int
    description: str
    precision: str

    @property
    def key(self) -> str:
        """The same for the same weights."""
        digest = hashlib.sha256()
        for name, state in self.networks.items():
            for entry, tensor in state.items():
                digest.update(f"{name} {entry}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def chosen_weights(folder: Path, options: TrainingOptions) -> ChosenWeights:
    """The best weights on validation or the last ones, as the options say; their moving average where there is one.

    Raises:
        UserError: where a file of the stage is gone or damaged.
    """
    checkpoint = load_checkpoint(folder / CHECKPOINT)
    if checkpoint is None:
        raise UserError(f"{folder / CHECKPOINT} is gone; train again.")
    average = f", moving average with decay {options.ema:g}" if options.ema else ""
    best = load_best(folder / BEST) if options.weights == "best" else None
    if best is not None:
        text = f"best on validation, step {best.step}{average}"
        return ChosenWeights(best.networks, best.step, text, checkpoint.precision)
    step = checkpoint.progress.step
    networks = checkpoint.average or checkpoint.networks
    return ChosenWeights(networks, step, f"last, step {step}{average}", checkpoint.precision)


def states_of(networks: nn.ModuleDict) -> dict[str, dict[str, Tensor]]:
    """The state of each of several networks, on the CPU."""
    return {
        name: {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
        for name, network in networks.items()
    }
