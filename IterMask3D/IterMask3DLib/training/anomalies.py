"""Anomalies drawn at random into a healthy volume: a network is given them, and has to return the healthy volume.

A network that only ever saw healthy volumes follows the edges of a lesion in the high-frequency image; one that has
seen these learns not to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.training.smooth_fields import random_field

Box = tuple[slice, slice, slice]

_REACH = 1.8
"""Half a side of the box a shape is drawn in, in radii of the ball of the same volume times its longest axis."""


@dataclass(frozen=True)
class AnomalyPlan:
    """How anomalies are drawn; pairs are ranges.

    Attributes:
        counts: probability of 0, 1, 2, … anomalies.
        small_share: how often the size is drawn from `small_ml` and not from `large_ml`, evenly in the logarithm.
        strength: change of intensity in standard deviations of the brain, either sign.
        elongation: largest logarithm of an axis.
        ruggedness: of the border, as a share of the radius.
        edge_mm: width over which an anomaly blends in.
    """

    counts: tuple[float, ...] = (0.15, 0.4, 0.25, 0.12, 0.08)
    small_share: float = 0.45
    small_ml: tuple[float, float] = (0.1, 5.0)
    large_ml: tuple[float, float] = (1.0, 100.0)
    strength: tuple[float, float] = (0.4, 3.0)
    elongation: float = 0.45
    ruggedness: tuple[float, float] = (0.1, 0.6)
    edge_mm: tuple[float, float] = (0.8, 4.0)

    def signed_strength(self, rng: np.random.Generator) -> float:
        """A change of intensity, up or down."""
        return float(rng.uniform(*self.strength) * rng.choice((-1, 1)))


@dataclass(frozen=True)
class AnomalyShape:
    """A soft shape.

    Attributes:
        box: where in the volume; alpha: float32 [a, b, c] in the box, 0 outside to 1 inside.
        centre: [3], voxels within the box.
    """

    box: Box
    alpha: FloatVolume
    centre: NDArray[np.float64]


@dataclass(frozen=True)
class Site:
    """Where an anomaly is painted: a volume [x, y, z] with its brain and its spacing in mm, and the shape."""

    volume: FloatVolume
    brain: BoolVolume
    spacing: float
    shape: AnomalyShape

    @property
    def own(self) -> FloatVolume:
        """What is there now: the volume in the box of the shape."""
        return self.volume[self.shape.box]

    @property
    def spread(self) -> float:
        """Standard deviation of the brain."""
        return float(self.volume[self.brain].std())


def with_anomalies(
    volume: FloatVolume, brain: BoolVolume, spacing: float, plan: AnomalyPlan, rng: np.random.Generator
) -> tuple[FloatVolume, FloatVolume]:
    """The volume with a random number of anomalies, and how much of each voxel is anomalous (0 to 1).

    Nothing changes outside the brain, and no voxel falls below 0. What a mass pushes aside counts as healthy.

    Args:
        volume: float32 [x, y, z], above 0 in the brain; brain: not empty; spacing: mm, isotropic.
    """
    result, extent = volume.copy(), np.zeros(volume.shape, dtype=np.float32)
    painters = tuple(PAINTERS.values())
    for _ in range(int(rng.choice(len(plan.counts), p=plan.counts))):
        painter = painters[int(rng.integers(len(painters)))]
        shape = draw_shape(brain, spacing, plan, rng)
        if shape.alpha.max() < 0.5:
            continue
        changed = painter(Site(result, brain, spacing, shape), plan, rng)
        result[shape.box] = np.where(brain[shape.box], np.maximum(changed, 0), result[shape.box])
        extent[shape.box] = np.maximum(extent[shape.box], shape.alpha)
    return result, extent


def draw_shape(brain: BoolVolume, spacing: float, plan: AnomalyPlan, rng: np.random.Generator) -> AnomalyShape:
    """An ellipsoid around a random voxel of the brain with a random border, cut to the brain."""
    bounds = plan.small_ml if rng.random() < plan.small_share else plan.large_ml
    radius = (3 / (4 * np.pi) * 1000 * np.exp(rng.uniform(*np.log(bounds)))) ** (1 / 3) / spacing
    stretch = rng.uniform(-plan.elongation, plan.elongation, 3)
    axes = radius * np.exp(stretch - stretch.mean())
    voxels = np.flatnonzero(brain)
    centre = np.array(np.unravel_index(voxels[rng.integers(len(voxels))], brain.shape), dtype=np.float64)
    low = np.maximum(np.floor(centre - _REACH * axes.max() - 2), 0).astype(int)
    high = np.minimum(np.ceil(centre + _REACH * axes.max() + 3), brain.shape).astype(int)
    (a, b, c), (d, e, f) = low.tolist(), high.tolist()
    box = slice(a, d), slice(b, e), slice(c, f)
    apart = np.indices(high - low) + (low - centre)[:, None, None, None]
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    distance = np.sqrt((np.einsum("ij,jxyz->ixyz", rotation, apart) ** 2 / axes[:, None, None, None] ** 2).sum(0))
    rugged = rng.uniform(*plan.ruggedness) * random_field(distance.shape, max(1.5, 0.7 * radius), rng)
    depth = (1 - distance + rugged) * radius * spacing
    alpha = np.clip(0.5 + depth / rng.uniform(*plan.edge_mm), 0, 1).astype(np.float32) * brain[box]
    return AnomalyShape(box, alpha, centre - low)


def foreign_tissue(site: Site, plan: AnomalyPlan, rng: np.random.Generator) -> FloatVolume:
    """Tissue of another place of the same brain, perhaps mirrored."""
    own, alpha = site.own, site.shape.alpha
    sides = alpha.shape
    free = [whole - side + 1 for whole, side in zip(site.brain.shape, sides, strict=True)]
    i, j, k = (int(rng.integers(0, end)) for end in free)
    other = slice(i, i + sides[0]), slice(j, j + sides[1]), slice(k, k + sides[2])
    tissue, there = site.volume[other], site.brain[other]
    if rng.random() < 0.5:
        axis = int(rng.integers(3))
        tissue, there = np.flip(tissue, axis), np.flip(there, axis)
    return own + alpha * there * np.float32(rng.uniform(0.5, 1.0)) * (tissue - own)


def shifted_tissue(site: Site, plan: AnomalyPlan, rng: np.random.Generator) -> FloatVolume:
    """One tissue brighter or darker; others keep their intensity."""
    own, spread = site.own, site.spread
    middle = float(own[tuple(np.minimum(np.rint(site.shape.centre).astype(int), np.array(own.shape) - 1))])
    width = rng.uniform(0.5, 1.5) * spread
    alike = np.exp(-0.5 * ((own - middle) / width) ** 2)
    return np.asarray(own + plan.signed_strength(rng) * spread * site.shape.alpha * alike, dtype=np.float32)


def texture(site: Site, plan: AnomalyPlan, rng: np.random.Generator) -> FloatVolume:
    """Tissue of its own level and grain that keeps some of what was there, perhaps with a core and a rim."""
    own, spread, alpha = site.own, site.spread, site.shape.alpha
    top = 1.2 * float(site.volume[site.brain].max())
    level = np.clip(np.median(own[alpha > 0.5]) + plan.signed_strength(rng) * spread, 0, top)
    grain = np.exp(rng.uniform(*np.log((3.0, 20.0)))) / site.spacing
    tissue = level + rng.uniform(0, 0.5) * spread * random_field(own.shape, grain, rng)
    if rng.random() < 0.3:
        depth = ndimage.distance_transform_edt(alpha > 0.5) * site.spacing
        core = np.clip(alpha * depth / rng.uniform(3, 10) - 1, 0, 1)
        tissue += core * plan.signed_strength(rng) * spread
    result = own + alpha * (1 - rng.uniform(0, 0.6)) * (tissue - own)
    if rng.random() < 0.3:
        rim = np.exp(-(((alpha - 0.5) / 0.3) ** 2)) * (alpha > 0)
        result += plan.signed_strength(rng) * 0.7 * spread * rim
    return np.asarray(result, dtype=np.float32)


def mass(site: Site, plan: AnomalyPlan, rng: np.random.Generator) -> FloatVolume:
    """Tissue pushed outward (or drawn in) around the shape, and a texture in its middle."""
    own, shape = site.own, site.shape
    apart = np.indices(own.shape) - shape.centre[:, None, None, None]
    pull = rng.uniform(-0.25, 0.5) * ndimage.gaussian_filter(shape.alpha, 3.0 / site.spacing)
    source = apart * (1 - pull) + shape.centre[:, None, None, None]
    moved = ndimage.map_coordinates(own, source, order=1, mode="nearest")
    there = ndimage.map_coordinates(site.brain[shape.box].astype(np.float32), source, order=1, mode="nearest") > 0.99
    pushed = site.volume.copy()
    pushed[shape.box] = np.where(there, moved, own)
    return texture(replace(site, volume=pushed), plan, rng)


Painter = Callable[[Site, AnomalyPlan, np.random.Generator], FloatVolume]

PAINTERS: Mapping[str, Painter] = {
    "foreign tissue": foreign_tissue,
    "shifted tissue": shifted_tissue,
    "texture": texture,
    "mass": mass,
}
"""Kinds of anomalies, each as frequent; each gives the box of the shape anew."""
