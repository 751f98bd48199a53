"""What the scene needs of an engine. The real one is in `torch_engine`; tests bring a small one of their own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.image import Affine, BoolVolume, Curve, FloatVolume, PackedMask, Result, Step, Image
from IterMask3DLib.scene.records import RunOptions

if TYPE_CHECKING:
    from IterMask3DLib.results.outcome import CaseOutcome

OnPhase = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """What the shrink phase is to begin with.

    `gamma`: None as the run was asked; `point`: of the curve, chosen by hand, overrules gamma; `start`: brain, best or edited.
    """

    gamma: float | None = None
    point: int | None = None
    start: str = "brain"


class SweepLike(Protocol):
    """A sweep: thresholds [points] and, for each, the mask it left; `median`: see `Curve`."""

    @property
    def thresholds(self) -> NDArray[np.float64]: ...

    @property
    def masks(self) -> tuple[PackedMask, ...]: ...

    @property
    def median(self) -> float: ...


class Study(Protocol):
    """One volume prepared for one model; lives on the worker thread.

    `affine`: model voxel to RAS mm; `brain`: bool [x, y, z] on the model grid; `passes`: about how many network passes a sweep takes.
    """

    affine: Affine
    brain: BoolVolume
    passes: int

    def sweep(self) -> Generator[Step, None, SweepLike]:
        """Every pass of the sweep."""
        ...

    def remembered(self, thresholds: NDArray[np.float64], masks: tuple[PackedMask, ...], median: float) -> SweepLike:
        """A sweep that was made earlier, from what the scene kept of it."""
        ...

    def choose(self, sweep: SweepLike, choice: Choice) -> tuple[Curve, tuple[str, ...]]:
        """The threshold curve with its chosen point, and warnings."""
        ...

    def shrink(self, curve: Curve, start: BoolVolume, first: int, warnings: tuple[str, ...]) -> Generator[Step, None, Result]:
        """Every shrink pass from the mask `start` [x, y, z]; the first pass is number `first`."""
        ...

    def unscaled(self, reconstruction: FloatVolume) -> NDArray[Any]:
        """A reconstruction [x, y, z] in the intensities of the input, 0 outside the brain, in a compact type."""
        ...

    def restore(self, result: Result, seconds: float, choice: Choice) -> CaseOutcome:
        """The outcome on the grid of the input, with what made it."""
        ...


class Engine(Protocol):
    """Makes studies."""

    def prepare(self, volume: Image, brainMask: Image | None, options: RunOptions, onPhase: OnPhase) -> Study:
        """Reads the model, prepares the volume. Raises `UserError`."""
        ...

    def release(self) -> None:
        """Forgets models and gives memory of the device back."""
        ...
