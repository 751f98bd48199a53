"""The trained network rewritten for inference: the same function of the same parameters, in fewer operations.

Batch norm is folded into the convolution before it, dropout is gone, and each nearest up-sampling with the convolution
after it is one transposed convolution. Derived once, when a run begins, in double precision and without PyTorch, whose
import takes as long as five passes of a bundled model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.methods.card_checks import check_card, choices_of
from IterMask3DLib.methods.itermask3d.settings import TrainingSettings
from IterMask3DLib.models.weights import Arrays, State, TensorKind, arrays_of

NETWORK = "reconstruction"
"""The network's name in a model."""

INPUTS = 2
"""Channels of the input: the masked volume and its high frequencies."""

SIDE_MULTIPLE = 16
"""Every side of the input must be a multiple of this: four stages halve the grid."""

STRIDES = (2, 2, 2, 2, 1)
"""Of the encoder's stages."""

_NORM_EPSILON = 1e-5

UPSAMPLED_TAPS = ((0.0, 0.0, 1.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Row t: which of the three taps of a kernel after nearest up-sampling fall on tap t of the equal transposed kernel."""


class HasState(Protocol):
    """A network, or what a model knows of it."""

    def state_dict(self) -> Any: ...


@dataclass(frozen=True)
class Convolution:
    """A convolution that carries its batch norm, and the activation after it.

    Attributes:
        weight: float32 [out, in, 3, 3, 3], padding 1; transposed: [in, out, 4, 4, 4], stride 2, padding 1.
        bias: float32 [out]; slope: of the leaky ReLU; None: there is none.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    slope: float | None
    stride: int = 1
    transposed: bool = False


@dataclass(frozen=True)
class FoldedUNet:
    """A `UNet3D` in evaluation mode; input and output as there, from which it differs by rounding alone.

    Attributes:
        down: the two convolutions of each stage of the encoder; their pooled input is added to the first channels.
        up: those of each stage of the decoder, the first transposed.
    """

    down: tuple[tuple[Convolution, Convolution], ...]
    up: tuple[tuple[Convolution, Convolution], ...]

    @classmethod
    def of(cls, network: HasState) -> FoldedUNet:
        tensors: State | Arrays = network.state_dict()
        state = arrays_of(tensors)
        down = tuple(
            (_folded(state, f"conv_{stage}.conv.unit0", stride), _folded(state, f"conv_{stage}.conv.unit1"))
            for stage, stride in enumerate(STRIDES, 1)
        )
        up = tuple(
            (_folded(state, f"up_stage_{stage}.1", 2, transposed=True), _folded(state, f"up_stage_{stage}.2"))
            for stage in range(1, len(STRIDES))
        )
        return cls(down, up)


def _folded(state: Arrays, name: str, stride: int = 1, transposed: bool = False) -> Convolution:
    """A convolution with the batch norm that a state has for it (Jacob et al., arXiv 1712.05877, equation 14)."""

    def tensor(key: str) -> NDArray[np.float64]:
        return state[f"{name}.{key}"].astype(np.float64)

    weight, bias, slope = tensor("conv.weight"), tensor("conv.bias"), None
    if f"{name}.adn.N.weight" in state:
        gain = tensor("adn.N.weight") / np.sqrt(tensor("adn.N.running_var") + _NORM_EPSILON)
        weight = weight * gain[:, None, None, None, None]
        bias = (bias - tensor("adn.N.running_mean")) * gain + tensor("adn.N.bias")
        slope = float(tensor("adn.A.weight")[0])
    if transposed:
        taps = np.array(UPSAMPLED_TAPS)
        weight = np.einsum("oixyz,ax,by,cz->ioabc", weight, taps, taps, taps, optimize=True)
    return Convolution(
        np.ascontiguousarray(weight, dtype=np.float32), bias.astype(np.float32), slope, stride, transposed
    )


def choices_in(card: ModelCard) -> TrainingSettings:
    """What a card's network is built with. Raises `UserError` for a configuration that makes none."""
    check_card(card, "IterMask3D", (NETWORK,), 3, SIDE_MULTIPLE)
    return choices_of(card, NETWORK, TrainingSettings(), ("widths", "dropout"))


def tensor_kinds(widths: Sequence[int]) -> Mapping[str, TensorKind]:
    """The tensors of a `UNet3D` of these widths, in its order."""
    kinds: dict[str, TensorKind] = {}

    def block(name: str, inputs: int, outputs: int, bare: bool = False) -> None:
        shapes: dict[str, tuple[int, ...]] = {"conv.weight": (outputs, inputs, 3, 3, 3), "conv.bias": (outputs,)}
        if not bare:
            norm = ("weight", "bias", "running_mean", "running_var")
            shapes |= {**{f"adn.N.{each}": (outputs,) for each in norm}, "adn.N.num_batches_tracked": ()}
            shapes["adn.A.weight"] = (1,)
        for key, shape in shapes.items():
            kinds[f"{name}.{key}"] = TensorKind("float32" if shape else "int64", shape)

    for stage, (inputs, outputs) in enumerate(zip((INPUTS, *widths), widths, strict=False), 1):
        block(f"conv_{stage}.conv.unit0", inputs, outputs)
        block(f"conv_{stage}.conv.unit1", outputs, outputs)
    here = widths[-1]
    for stage, (skip, outputs) in enumerate(zip(widths[-2::-1], (*widths[-3::-1], 1), strict=True), 1):
        block(f"up_stage_{stage}.1", here + skip, here + skip)
        block(f"up_stage_{stage}.2", here + skip, outputs, bare=stage == len(widths) - 1)
        here = outputs
    return kinds
