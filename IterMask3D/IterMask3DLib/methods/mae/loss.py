"""What the masked auto-encoder makes small."""

from __future__ import annotations

from torch import Tensor

_EPS = 1e-6


def patch_loss(
    predicted: Tensor, target: Tensor, hidden: Tensor, normalised: bool = False, everywhere: bool = False
) -> Tensor:
    """Mean squared error of the patches that were hidden, or of all.

    Args:
        predicted, target: float32 [b, patches, pixels]; hidden: float32 [b, patches], 1 where hidden.
        normalised: whether each patch of the target is brought to mean 0 and variance 1 first.
    """
    if normalised:
        target = (target - target.mean(dim=2, keepdim=True)) / (target.var(dim=2, keepdim=True) + _EPS).sqrt()
    errors = (predicted - target).square().mean(dim=2)
    return errors.mean() if everywhere else (errors * hidden).sum() / hidden.sum()
