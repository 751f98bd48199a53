"""Batch norm over the batches of all processes, on any device: they train as one process with the whole batch would.

PyTorch's own synchronised batch norm runs on GPUs alone; this one also runs on CPUs, where its equality is tested.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _OverAllProcesses(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose statistics in training are those of all processes; each must hold as many values."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of axes is right."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        # Imported here: builds of PyTorch without distributed training still read and run networks.
        from torch import distributed
        from torch.distributed.nn.functional import all_reduce

        values = x.float()
        variance, mean = torch.var_mean(values, dim=(0, *range(2, x.ndim)), correction=0)
        # Its gradient is summed over the processes too: what one normalises by depends on what all of them hold.
        total = all_reduce(torch.stack((mean, variance + mean.square()))) / distributed.get_world_size()
        mean, variance = total[0], total[1] - total[0].square()
        self._follow(mean.detach(), variance.detach(), values.numel() // values.shape[1] * distributed.get_world_size())
        scale = torch.rsqrt(variance + self.eps) * self.weight
        shift = self.bias - mean * scale
        view = (1, -1, *[1] * (x.ndim - 2))
        return (values * scale.view(view) + shift.view(view)).to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running statistics as the base class does; its running variance is the unbiased one."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / max(1, count - 1), self.momentum)


def synchronise_batch_norm(network: nn.Module) -> None:
    """Replaces every batch norm of a network by one over all processes with the same parameters, buffers and names."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
                everywhere = _OverAllProcesses(child.num_features, child.eps, child.momentum)
                everywhere.load_state_dict(child.state_dict())
                setattr(module, name, everywhere)
