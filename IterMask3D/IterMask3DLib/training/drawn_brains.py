"""Healthy brains in another contrast, drawn from T1w volumes as a training draws them, for calibrating a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.preprocessing.intensity import scale_named
from IterMask3DLib.training.scanners import Scanners, draw_scanner, scanned, with_noise
from IterMask3DLib.training.synthetic import painted
from IterMask3DLib.training.tissue_maps import CachedTissueMaps


@dataclass(frozen=True)
class DrawnBrains(Sequence[Healthy]):
    """One volume of each brain; the same number always gives the same one.

    Attributes:
        tissues: of the brains; contrast: that is drawn; intensity: name of the scale.
        seed: of every draw.
    """

    tissues: CachedTissueMaps
    contrast: str
    intensity: str
    seed: int

    def __len__(self) -> int:
        return len(self.tissues)

    def __getitem__(self, number: int) -> Healthy:  # type: ignore[override]
        tissue, rng = self.tissues[number], np.random.default_rng([self.seed, number])
        volume = painted(tissue, self.contrast, rng)
        # No eroded brains: the rim of an eroded brain would not lie where that of the others does.
        scanner = draw_scanner(replace(Scanners(), eroded_share=0.0), rng)
        volume, brain = scanned(volume, tissue.brain, tissue.spacing[0], scanner)
        scaled, _ = scale_named(self.intensity)(with_noise(volume, brain, scanner, rng), brain)
        return Healthy(scaled[None], brain, tissue.spacing)


@dataclass(frozen=True)
class LabelledBrains(Sequence[Healthy]):
    """The brains of several cohorts, one cohort after another, each brain with the name of its cohort."""

    cohorts: tuple[tuple[str, Sequence[Healthy]], ...]

    def __len__(self) -> int:
        return sum(len(brains) for _, brains in self.cohorts)

    def __getitem__(self, number: int) -> Healthy:  # type: ignore[override]
        for name, brains in self.cohorts:
            if number < len(brains):
                return replace(brains[number], cohort=name)
            number -= len(brains)
        raise IndexError(number)
