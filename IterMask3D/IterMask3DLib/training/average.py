"""An exponential moving average of a network's weights, often a little better than the last ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Average:
    """Follows a network's floating-point parameters and buffers with a decay; early on with a smaller one, to forget the beginning."""

    def __init__(self, network: nn.Module, decay: float, begun: Mapping[str, Tensor] | None = None) -> None:
        self._decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        if begun is not None:
            for name, tensor in self.state.items():
                tensor.copy_(begun[name])

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Takes in the weights after step `step` (counted from 0)."""
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.state[name].lerp_(tensor, weight)
            else:
                self.state[name].copy_(tensor)
