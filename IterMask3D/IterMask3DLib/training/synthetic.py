"""Synthetic scans: a contrast, a scanner and anomalies drawn anew each time a healthy brain is learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.methods.base import Healthy
from IterMask3DLib.preprocessing.intensity import BACKGROUND, reversed_logarithm
from IterMask3DLib.training.anomalies import AnomalyPlan, with_anomalies
from IterMask3DLib.training.augmentation import AUGMENTATIONS, LightChanges
from IterMask3DLib.training.contrasts import draw_curve, wiggled
from IterMask3DLib.training.options import SYNTHETIC, TrainingOptions, contrast_shares
from IterMask3DLib.training.scanners import Scanners, draw_scanner, scanned, with_noise
from IterMask3DLib.training.smooth_fields import random_field
from IterMask3DLib.training.tissue_maps import WHOLE, TissueMaps

REVERSED = "T2w"
"""The contrast that models see reversed, with fluid dark, as in all others."""

_DARKEST = 1e-3
_REGIONAL_WIGGLE, _REGION_VOXELS = 0.03, 15.0


@dataclass(frozen=True)
class SyntheticScans:
    """What makes a scan from a brain's tissue maps.

    Attributes:
        contrasts: share of each.
        flip, affine: probabilities of a left-right flip, and of a turn and a change of size.
        degrees, scale: as of `LightChanges`.
        scanners, anomalies: what they are drawn from.
    """

    contrasts: Mapping[str, float]
    flip: float = 0.5
    affine: float = 0.7
    degrees: float = 10.0
    scale: float = 0.1
    scanners: Scanners = field(default_factory=Scanners)
    anomalies: AnomalyPlan = field(default_factory=AnomalyPlan)

    def __call__(self, tissue: TissueMaps, rng: np.random.Generator) -> Healthy:
        """A brain with what a network is given of it: the same with anomalies and noise, on its own scale."""
        spacing = tissue.spacing[0]
        contrast = str(rng.choice(list(self.contrasts), p=list(self.contrasts.values())))
        volume, brain = self._posed(painted(tissue, contrast, rng), tissue.brain, rng)
        scanner = draw_scanner(self.scanners, rng)
        healthy, brain = scanned(volume, brain, spacing, scanner)
        ill, anomalous = with_anomalies(healthy, brain, spacing, self.anomalies, rng)
        given = with_noise(ill, brain, scanner, rng)
        if contrast == REVERSED:
            median = float(np.median(given[brain]))
            given, healthy = (_on_brain(reversed_logarithm(each[brain], median), brain) for each in (given, healthy))
        given, healthy = _scaled_alike(given, healthy, brain)
        return Healthy(healthy[None], brain, tissue.spacing, given[None], anomalous * brain)

    def _posed(
        self, volume: FloatVolume, brain: BoolVolume, rng: np.random.Generator
    ) -> tuple[FloatVolume, BoolVolume]:
        if rng.random() < self.flip:
            volume, brain = volume[::-1], brain[::-1]
        if rng.random() < self.affine:
            (volume,), brain = LightChanges(degrees=self.degrees, scale=self.scale).turned(volume[None], brain, rng)
        return np.ascontiguousarray(volume), np.ascontiguousarray(brain)


def augmentation_of(options: TrainingOptions) -> Any:
    """What a brain is put through each time it is learned from: called with the brain and an rng, gives `Healthy`."""
    if options.augmentation == SYNTHETIC:
        return SyntheticScans(contrast_shares(options.contrasts))
    return AUGMENTATIONS[options.augmentation]


def described(options: TrainingOptions) -> dict[str, Any]:
    """The augmentation by name with its numbers, for the card."""
    return {"name": options.augmentation, **asdict(augmentation_of(options))}


def painted(tissue: TissueMaps, contrast: str, rng: np.random.Generator) -> FloatVolume:
    """A brain in a contrast: float32 [x, y, z], above 0 in the brain, 0 outside.

    Two curves a little apart are mixed by a smooth field, as no two regions map alike.
    """
    brain = tissue.brain
    curve = draw_curve(contrast, rng)
    curves = np.stack((curve, wiggled(curve, _REGIONAL_WIGGLE, rng))).astype(np.float32) / np.float32(WHOLE)
    one, other = curves @ tissue.maps.astype(np.float32)
    share = np.clip(0.5 + 0.5 * random_field(brain.shape, _REGION_VOXELS, rng)[brain], 0, 1)
    return _on_brain(np.maximum(share * one + (1 - share) * other, np.float32(_DARKEST)), brain)


def _scaled_alike(given: FloatVolume, healthy: FloatVolume, brain: BoolVolume) -> tuple[FloatVolume, FloatVolume]:
    """Both on the scale that a run finds for what it is given: mean 0, standard deviation 1, clipped to -3..3."""
    values = given[brain].astype(np.float64)
    mean, spread = values.mean(), max(float(values.std()), 1e-6)
    one, other = (
        _on_brain(np.clip((each[brain] - mean) / spread, -3.0, 3.0), brain, BACKGROUND) for each in (given, healthy)
    )
    return one, other


def _on_brain(values: FloatVolume, brain: BoolVolume, outside: float = 0.0) -> FloatVolume:
    """Values [n] in the voxels of a brain: float32 [x, y, z]."""
    volume = np.full(brain.shape, outside, dtype=np.float32)
    volume[brain] = values
    return volume
