"""Healthy T1w brains as maps of their tissues, prepared once, from which volumes of any contrast are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.card import CardGrid, ModelCard
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.methods.base import Report
from IterMask3DLib.preprocessing.prepare import Averages
from IterMask3DLib.training.cache import centred, opened, prepared_case
from IterMask3DLib.training.cohort import Source
from IterMask3DLib.training.contrasts import node_maps, tissue_levels, without_smooth_bias

WHOLE = 255
"""What a map holds where a voxel is of its node alone."""


@dataclass(frozen=True)
class TissueMaps:
    """A brain as maps of its tissues, on the grid of a model.

    Attributes:
        maps: uint8 [nodes, n], how much of each of `contrasts.NODES` the n voxels of the brain hold, 0 to `WHOLE`.
        brain: bool [x, y, z]; spacing: mm along each axis.
    """

    maps: NDArray[np.uint8]
    brain: BoolVolume
    spacing: tuple[float, ...]


@dataclass(frozen=True)
class CachedTissueMaps(Sequence[TissueMaps]):
    """Prepared maps, centred on the grid of a model; each is a file of uint8 [nodes, x, y, z], 0 outside the brain."""

    files: tuple[Path, ...]
    grid: CardGrid

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> TissueMaps:  # type: ignore[override]
        maps = centred(opened(self.files[number]), self.grid.shape, 0, np.uint8)
        brain: BoolVolume = np.any(maps, axis=0)  # type: ignore[assignment]
        return TissueMaps(maps[:, brain], brain, self.grid.spacings)


def tissue_maps(source: Source, card: ModelCard, report: Report) -> NDArray[np.uint8]:
    """The maps of a T1w brain on the grid of a card: uint8 [nodes, x, y, z].

    The tissues are told apart at the resolution of the volume, without its bias field. Raises `UserError`.
    """
    case = prepared_case(source, card, report)
    brain = case.brain_mask.array
    even = without_smooth_bias(case.case.reference.array.astype(np.float32), brain)
    counted = tissue_levels(even[brain]).counted(even)
    averages = Averages(case.brain_mask, case.transform)
    return np.stack([np.rint(WHOLE * averages(each)).astype(np.uint8) for each in node_maps(counted)])
