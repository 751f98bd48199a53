"""A lesion: one connected component of an anomaly, measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesion:
    """One connected component; its voxels touch by a face, an edge or a corner.

    Attributes:
        number: 1, 2, … from the largest to the smallest.
        voxels, volume_ml: its size, on the grid of the input.
        centroid_ras: mm.
        mean_score, peak_score: of the heatmap inside it.
    """

    number: int
    voxels: int
    volume_ml: float
    centroid_ras: tuple[float, float, float]
    mean_score: float
    peak_score: float
