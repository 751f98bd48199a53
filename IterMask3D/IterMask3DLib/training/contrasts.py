"""Volumes that look like T2w, FLAIR or another T1w, made from a healthy T1w volume by a curve of its intensity.

The curve is drawn on a few nodes and linear between them, so a volume is a weighted sum of one fixed map a node. The
maps are made once at the volume's own resolution and brought to the grid of a model; any number of contrasts is then a
product away, each as if the curve had been applied before resampling, where partial volume belongs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from IterMask3DLib.core.geometry import polynomials
from IterMask3DLib.core.image import BoolVolume, FloatVolume

FloatVector = NDArray[np.float64]

NODES: FloatVector = np.array([-0.5, -0.2, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.3, 2.75])
"""Intensities with a map each, counted in tissues: 0 is fluid, 1 grey matter, 2 white matter."""

_TISSUES = (0.0, 1.0, 2.0)
_BINS = 256
_EM_STEPS = 40
_FLUID_PERCENTILE = 4.0
_FIT_VOXELS = 30_000
_BIAS_ROUNDS = 5
_BIAS_ORDER = 3
_LEAST_STEP = 0.05


@dataclass(frozen=True)
class TissueLevels:
    """Typical intensity of each tissue in a T1w volume, ascending."""

    fluid: float
    grey: float
    white: float

    def counted(self, values: NDArray[np.floating]) -> FloatVolume:
        """Intensities counted in tissues: 0 at fluid, 1 at grey, 2 at white matter, straight between and beyond.

        Cut at the outer `NODES`; any shape.
        """
        grey, white = (np.float32(step) for step in (self.grey - self.fluid, self.white - self.grey))
        below = (values - np.float32(self.fluid)) / grey
        counted = np.where(below < 1, below, 1 + (values - np.float32(self.grey)) / white)
        return np.clip(counted, NODES[0], NODES[-1]).astype(np.float32)


def tissue_levels(values: NDArray[np.floating]) -> TissueLevels:
    """The three tissues of a brain from its intensities [n], by a mixture of three Gaussians on their histogram.

    Fluid is a low percentile instead: the darkest Gaussian sits on the partial volume of the sulci.
    """
    top = float(np.percentile(values, 99.9))
    counts, edges = np.histogram(values, bins=_BINS, range=(0.0, top))
    x, weight = (edges[1:] + edges[:-1]) / 2, counts / counts.sum()
    means = np.percentile(values, [6.0, 40.0, 80.0]).astype(np.float64)
    spreads, shares = np.full(3, top / 12), np.array([0.15, 0.45, 0.4])
    for _ in range(_EM_STEPS):
        density = shares * np.exp(-0.5 * ((x[:, None] - means) / spreads) ** 2) / spreads
        belongs = density / np.maximum(density.sum(1, keepdims=True), 1e-300) * weight[:, None]
        shares = np.maximum(belongs.sum(0), 1e-6)
        means = (belongs * x[:, None]).sum(0) / shares
        spreads = np.maximum(np.sqrt((belongs * (x[:, None] - means) ** 2).sum(0) / shares), top / 100)
    _, grey, white = np.sort(means)
    fluid = float(np.percentile(values, _FLUID_PERCENTILE))
    # A mixture can put two Gaussians on one tissue; steps this small would make the curve explode.
    least = 0.08 * (white - min(fluid, 0.5 * white))
    grey = min(grey, white - least)
    return TissueLevels(min(fluid, grey - least), grey, white)


def without_smooth_bias(volume: FloatVolume, brain: BoolVolume) -> FloatVolume:
    """A T1w volume [x, y, z] without its bias field, a cubic polynomial of position in the logarithm; 0 outside.

    Alternates between the levels of the tissues and the field that explains how grey and white matter deviate from
    theirs.
    """
    places = np.argwhere(brain)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(places), min(_FIT_VOXELS, len(places)), replace=False)
    terms = polynomials(places[chosen], brain.shape, _BIAS_ORDER)
    values = np.log(np.maximum(volume[brain][chosen], 1).astype(np.float64))
    field = np.zeros(terms.shape[1])
    for _ in range(_BIAS_ROUNDS):
        even = np.exp(values - terms @ field)
        levels = tissue_levels(even)
        counted = levels.counted(even)
        # Where a voxel is clearly of one tissue; others tell nothing of the field.
        solid = even > (levels.fluid + levels.grey) / 2
        sure = solid & ((np.abs(counted - 1) < 0.4) | (counted > 1.6)) & (counted < 2.6)
        level = np.log(np.where(counted < 1.5, levels.grey, levels.white))
        field = np.linalg.lstsq(terms[sure], (values - level)[sure], rcond=None)[0]
    result = np.zeros(volume.shape, dtype=np.float32)
    result[brain] = volume[brain] * np.exp(-(polynomials(places, brain.shape, _BIAS_ORDER) @ field))
    return result


def node_maps(counted: FloatVolume) -> Iterator[FloatVolume]:
    """For each of `NODES` how much of it a voxel holds: hat functions of `TissueLevels.counted`, any shape, sum 1."""
    place = np.interp(counted, NODES, np.arange(len(NODES))).astype(np.float32)
    for number in range(len(NODES)):
        yield np.maximum(0, 1 - np.abs(place - np.float32(number)))


@dataclass(frozen=True)
class Palette:
    """What the curves of one contrast are drawn from; each pair is a range.

    Attributes:
        fluid, grey, white: intensity of the tissues.
        beyond_fluid, beyond_white: of the outermost nodes, as multiples of the tissue beside them.
        wiggle: standard deviation of what is added at every node, as a share of the curve's range.
    """

    fluid: tuple[float, float]
    grey: tuple[float, float]
    white: tuple[float, float]
    beyond_fluid: tuple[float, float]
    beyond_white: tuple[float, float]
    wiggle: float = 0.02


PALETTES: Mapping[str, Palette] = {
    "T1w": Palette((0.15, 0.4), (0.5, 0.78), (0.95, 1.05), (0.2, 0.8), (1.1, 1.35)),
    "T2w": Palette((0.9, 1.1), (0.32, 0.58), (0.22, 0.42), (0.4, 1.1), (0.4, 1.0)),
    "FLAIR": Palette((0.05, 0.35), (0.95, 1.05), (0.66, 0.92), (0.3, 1.0), (0.7, 1.05)),
}
"""Levels read off the figures of published scans of each kind; T2w and FLAIR keep grey above white matter."""


def draw_curve(contrast: str, rng: np.random.Generator) -> FloatVector:
    """Intensity at each of `NODES`: levels from the contrast's palette, a monotone cubic between, a little wiggle."""
    palette = PALETTES[contrast]
    fluid, grey, white = (rng.uniform(*bounds) for bounds in (palette.fluid, palette.grey, palette.white))
    white = max(white, grey + _LEAST_STEP) if contrast == "T1w" else min(white, grey - _LEAST_STEP)
    ends = fluid * rng.uniform(*palette.beyond_fluid), white * rng.uniform(*palette.beyond_white)
    curve = PchipInterpolator([NODES[0], *_TISSUES, NODES[-1]], [ends[0], fluid, grey, white, ends[1]])(NODES)
    return wiggled(curve, palette.wiggle, rng)


def wiggled(curve: FloatVector, share: float, rng: np.random.Generator) -> FloatVector:
    """A curve [nodes] with normal noise of `share` of its range at every node, not below 0."""
    return np.asarray(np.maximum(curve + rng.normal(0, share * np.ptp(curve), len(curve)), 0))
