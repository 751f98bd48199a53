"""What a scanner does to a volume: blur, thick slices, a bias field and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import csr_array

from IterMask3DLib.core.geometry import polynomials
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.preprocessing.resampling import along_axes, gaussian

_LEAST_SHARE = 0.05
_SLICE_AXES = (0.2, 0.2, 0.6)
"""How often thick slices lie along each axis; most are axial."""
_BIAS_ORDER = 3
_BIAS_TERMS = 20


@dataclass(frozen=True)
class Scanners:
    """How much scanners differ; pairs are ranges, each `…_share` is a probability.

    Attributes:
        blur_mm: standard deviation of a Gaussian.
        slice_mm: thickness of slices.
        bias: standard deviation of the bias field's logarithm over the brain.
        noise: standard deviation, as a share of the brain's.
        eroded_share: how often skull stripping took the outermost voxels of the brain.
    """

    blur_share: float = 0.7
    blur_mm: tuple[float, float] = (0.5, 1.4)
    slice_share: float = 0.4
    slice_mm: tuple[float, float] = (3.0, 6.0)
    bias_share: float = 0.8
    bias: tuple[float, float] = (0.02, 0.18)
    noise: tuple[float, float] = (0.01, 0.12)
    eroded_share: float = 0.25


@dataclass(frozen=True)
class Scanner:
    """One scanner.

    Attributes:
        blur_mm: 0: none. slices: axis and thickness in mm of thick slices, if any.
        bias: weights of the cubic polynomials of the bias field; bias_spread: standard deviation of its logarithm.
        noise: as of `Scanners`; eroded: whether the brain lost its outermost voxels.
    """

    blur_mm: float
    slices: tuple[int, float] | None
    bias: tuple[float, ...]
    bias_spread: float
    noise: float
    eroded: bool


def draw_scanner(scanners: Scanners, rng: np.random.Generator) -> Scanner:
    """A scanner, by the probabilities and ranges of `scanners`."""
    blur = rng.uniform(*scanners.blur_mm) if rng.random() < scanners.blur_share else 0.0
    slices = None
    if rng.random() < scanners.slice_share:
        slices = int(rng.choice(3, p=_SLICE_AXES)), rng.uniform(*scanners.slice_mm)
    bias = tuple(rng.standard_normal(_BIAS_TERMS).tolist())
    spread = rng.uniform(*scanners.bias) if rng.random() < scanners.bias_share else 0.0
    eroded = bool(rng.random() < scanners.eroded_share)
    return Scanner(blur, slices, bias, spread, rng.uniform(*scanners.noise), eroded)


def scanned(volume: FloatVolume, brain: BoolVolume, spacing: float, scanner: Scanner) -> tuple[FloatVolume, BoolVolume]:
    """The volume as a scanner without noise would give it, and the brain that is left.

    Args:
        volume: float32 [x, y, z], above 0 in the brain; spacing: mm, isotropic.
    """
    matrices = [_axis_matrix(axis, size, spacing, scanner) for axis, size in enumerate(volume.shape)]
    weight = brain.astype(np.float32)
    blurred, share = (along_axes(each, matrices) for each in (volume * weight, weight))
    if scanner.eroded:
        inner = np.asarray(ndimage.binary_erosion(brain))
        brain = inner if inner.any() else brain
    result = np.zeros(volume.shape, dtype=np.float32)
    # Averages inside the brain alone, so that no background bleeds into its rim.
    result[brain] = blurred[brain] / np.maximum(share[brain], np.float32(_LEAST_SHARE)) * _bias(brain, scanner)
    return result, brain


def with_noise(volume: FloatVolume, brain: BoolVolume, scanner: Scanner, rng: np.random.Generator) -> FloatVolume:
    """The volume with Rician noise in the brain: float32 [x, y, z]."""
    values = volume[brain]
    real, imaginary = rng.standard_normal((2, values.size), dtype=np.float32) * np.float32(scanner.noise * values.std())
    noisy = volume.copy()
    noisy[brain] = np.hypot(values + real, imaginary)
    return noisy


def _axis_matrix(axis: int, size: int, spacing: float, scanner: Scanner) -> csr_array:
    """Blur along an axis, then averages over its thick slices with straight lines between their middles."""
    matrix = gaussian(size, scanner.blur_mm / spacing)
    if scanner.slices is None or scanner.slices[0] != axis:
        return matrix
    step = scanner.slices[1] / spacing
    count = int(size / step) + 1
    edges = np.arange(count + 1)[:, None] * step
    inside = np.clip(np.minimum(edges[1:], np.arange(size) + 1) - np.maximum(edges[:-1], np.arange(size)), 0, 1)
    averaged = inside / np.maximum(inside.sum(1, keepdims=True), 1e-6)
    places = np.clip((np.arange(size) + 0.5) / step - 0.5, 0, count - 1)
    between = np.stack([np.interp(places, np.arange(count), row) for row in np.eye(count)], axis=1)
    return csr_array(between @ averaged @ matrix.toarray())


def _bias(brain: BoolVolume, scanner: Scanner) -> FloatVolume:
    logarithm = polynomials(np.argwhere(brain), brain.shape, _BIAS_ORDER) @ np.array(scanner.bias)
    spread = max(float(logarithm.std()), 1e-6)
    return np.exp((logarithm - logarithm.mean()) * (scanner.bias_spread / spread)).astype(np.float32)
