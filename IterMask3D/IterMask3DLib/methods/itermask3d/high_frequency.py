"""The high-frequency image: what a network is shown of the hidden voxels, of a volume or of a slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.methods.itermask3d.settings import PUBLISHED_CUTOFF


def high_frequency(
    volume: NDArray[np.float32], spacing: Sequence[float], cutoff: float = PUBLISHED_CUTOFF
) -> NDArray[np.float32]:
    """Volume, or slice, whose low frequencies keep their phase but have amplitude 1.

    Source: section "Data" of the IterMask3D code (amplitude 1, not 0, below the radius).

    Args:
        volume: float32 [x, y, z] or [x, y].
        spacing: mm along each axis.
        cutoff: cycles per mm; frequencies at or above it stay as they are.

    Returns:
        float32, of the same shape.
    """
    spectrum = np.fft.rfftn(volume.astype(np.float64))
    axes = [np.fft.fftfreq(n, d=float(d)) for n, d in zip(volume.shape, spacing, strict=True)]
    axes[-1] = np.fft.rfftfreq(volume.shape[-1], d=float(spacing[-1]))
    squared = sum(np.meshgrid(*(axis**2 for axis in axes), indexing="ij", sparse=True))
    # A frequency exactly on the radius belongs to the kept ones, whatever the rounding of its square.
    low = squared < cutoff**2 * (1.0 - 1e-9)
    spectrum[low] = np.exp(1j * np.angle(spectrum[low]))
    return np.fft.irfftn(spectrum, s=volume.shape, axes=range(volume.ndim)).astype(np.float32)
