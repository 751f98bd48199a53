"""Batch norm over the batches of all processes, on any device, so that several processes train as one with the whole batch would.

PyTorch's own synchronised batch norm runs on GPUs alone; this one also runs on CPUs, where its equality is tested.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SharedBatchNorm3d(nn.BatchNorm3d):
    """A `BatchNorm3d` whose statistics in training are those of all processes; every process must hold as many voxels."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        # Imported here: builds of PyTorch without distributed training still read and run networks.
        from torch import distributed
        from torch.distributed.nn.functional import all_reduce

        values = x.float()
        variance, mean = torch.var_mean(values, dim=(0, 2, 3, 4), correction=0)
        # Its gradient is summed over the processes too: what one process normalises by depends on what all of them hold.
        total = all_reduce(torch.stack((mean, variance + mean.square()))) / distributed.get_world_size()
        mean, variance = total[0], total[1] - total[0].square()
        self._follow(mean.detach(), variance.detach(), values.numel() // values.shape[1] * distributed.get_world_size())
        scale = torch.rsqrt(variance + self.eps) * self.weight
        shift = self.bias - mean * scale
        view = (1, -1, 1, 1, 1)
        return (values * scale.view(view) + shift.view(view)).to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running statistics as the base class does; its running variance is the unbiased one."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / max(1, count - 1), self.momentum)


def share_batch_norm(network: nn.Module) -> None:
    """Replaces every `BatchNorm3d` of a network by one over all processes with the same parameters, buffers and names."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm3d:
                shared = SharedBatchNorm3d(child.num_features, child.eps, child.momentum)
                shared.load_state_dict(child.state_dict())
                setattr(module, name, shared)
