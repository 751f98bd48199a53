"""The folded network for whatever executes it; what that needs is imported when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IterMask3DLib.methods.itermask3d.folded_unet import FoldedUNet, HasState

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ExecutableUNet:
    """What a `Runner` makes of a `UNet3D`, or of its tensors."""

    folded: FoldedUNet

    @classmethod
    def of(cls, network: HasState) -> ExecutableUNet:
        return cls(FoldedUNet.of(network))

    def openvino_model(self, shape: tuple[int, ...]) -> Any:
        """An openvino.Model for inputs of one shape [b, 2, x, y, z]."""
        from IterMask3DLib.methods.itermask3d.openvino_graph import openvino_model

        return openvino_model(self.folded, shape)

    def pytorch_module(self) -> nn.Module:
        from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet

        return InferenceUNet(self.folded)
