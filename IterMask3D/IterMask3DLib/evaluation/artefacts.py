"""Scanner artefacts put into healthy volumes, as the published evaluation does, on any grid and at any severity.

The published settings belong to 1 mm volumes of 192 voxels a side, scaled to a background of -3; severity 1 is those
settings with lengths in mm and k-space positions relative to the grid. Bias field, ghosting and motion are TorchIO's;
the others are specified here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Spacing, bounding_box
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.preprocessing.intensity import BACKGROUND

SEVERITIES = {"mild": 0.5, "medium": 1.0, "severe": 2.0}
"""Medium is the published strength (for motion, which was not published: 5 degrees and 5 mm)."""

_PUBLISHED_SIDE = 192
_CHUNK_MM = 30.0
_ZIPPER_FIRST_MM = (-35.5, -5.5, 24.5)
_ZIPPER_WIDTH_MM = 5.0
_ALONG_RAS = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])


@dataclass(frozen=True)
class Artefact:
    """One artefact.

    Attributes:
        kind: a key of `KINDS`; severity: 1 is the published strength, 0 nothing.
        seed: of what is drawn (motion, k-space noise, zipper).
    """

    kind: str
    severity: float = 1.0
    seed: int = 0


def corrupt(image: Image, brain: BoolVolume, artefact: Artefact) -> Image:
    """An image with an artefact, float32, in its own intensities, 0 outside `brain` (bool [i, j, k]).

    Raises `UserError` where TorchIO is needed and missing.
    """
    orientation = io_orientation(image.affine)
    inside = image.array[brain].astype(np.float64)
    offset, factor = float(inside.mean()), float(inside.std())
    # Scaled as for the networks but not clipped, so that nothing but the artefact changes the volume.
    scaled = np.where(brain, (image.array - offset) / factor, BACKGROUND).astype(np.float32)
    turned, turned_brain = (apply_orientation(array, orientation) for array in (scaled, brain))
    x, y, z = np.array(image.spacing)[np.argsort(orientation[:, 0])]
    changed = KINDS[artefact.kind](turned, turned_brain > 0, (float(x), float(y), float(z)), artefact)
    back = apply_orientation(changed, ornt_transform(_ALONG_RAS, orientation))
    return replace(image, array=np.where(brain, back * factor + offset, 0).astype(np.float32))


def top_chunk(volume: FloatVolume, brain: BoolVolume, spacing: Spacing, artefact: Artefact) -> FloatVolume:
    """30 mm from the first slice with brain along axis 1 become the volume's minimum."""
    return _emptied(volume, _extent(brain)[0], round(_CHUNK_MM * artefact.severity / spacing[1]))


def middle_chunk(volume: FloatVolume, brain: BoolVolume, spacing: Spacing, artefact: Artefact) -> FloatVolume:
    """30 mm in the middle of the brain along axis 1 become the volume's minimum."""
    count = round(_CHUNK_MM * artefact.severity / spacing[1])
    return _emptied(volume, max(0, round(sum(_extent(brain)) / 2 - (count - 1) / 2)), count)


def bias_field(volume: FloatVolume, brain: BoolVolume, spacing: Spacing, artefact: Artefact) -> FloatVolume:
    """Multiplies by exp of a polynomial of order 3, all 20 coefficients 0.1, after a shift of the minimum to 0."""
    field = _torchio().BiasField(coefficients=[0.1 * artefact.severity] * 20, order=3)
    lowest = volume.min()
    return _through(field, volume - lowest, spacing) + lowest


def spike(volume: FloatVolume, brain: BoolVolume, spacing: Spacing, artefact: Artefact) -> FloatVolume:
    """Adds 4 times the largest real part of k-space at 0.45 of each of its sides.

    This is TorchIO's spike up to version 0.20, which the published code uses. Later versions take the largest
    magnitude, which is that of the mean: their spike grows with the background around the head, so it is computed here.
    """
    spectrum = np.fft.fftshift(np.fft.fftn(volume.astype(np.float64)))
    spectrum[tuple(int(0.45 * side) for side in volume.shape)] += 4.0 * artefact.severity * spectrum.real.max()
    return np.fft.ifftn(np.fft.ifftshift(spectrum)).real.astype(np.float32)


def ghosting(volume: FloatVolume, brain: BoolVolume, spacing: Spacing, artefact: Artefact) -> FloatVolume:
    """Multiplies every fourth plane of k-space along axis 1 by -1, but for the two in its middle.

    TorchIO restores round(0.01 N) planes: two where N is 192, none below 50, and then the volume's mean turns over; two
    are asked for here.
    """
    restore = max(0.01, 2.0 / volume.shape[1])
    transform = _torchio().Ghosting(num_ghosts=4, axis=1, intensity=2.0 * artefact.severity, restore=restore)
    return _through(transform, volume, spacing)


def motion(volume: FloatVolume, brain: BoolVolume, spacing: Spacing, artefact: Artefact) -> FloatVolume:
    """The head moves twice during the scan, each time by 5 degrees and 5 mm about and along axes that are drawn."""
    rng = np.random.default_rng(artefact.seed)
    axes = rng.normal(size=(2, 2, 3))
    degrees, translation = 5.0 * artefact.severity * axes / np.linalg.norm(axes, axis=-1, keepdims=True)
    # Near the middle of k-space, which carries the contrast: movements further out hardly show.
    times = 0.5 + np.array([-1.0, 1.0]) * rng.uniform(0.04, 0.12, size=2)
    lowest = float(volume.min())
    # TorchIO fills what moves in from outside with 0, which is the background once the minimum is.
    moved = _torchio().Motion(degrees=degrees, translation=translation, times=times, image_interpolation="linear")
    return _through(moved, volume - lowest, spacing) + lowest


def kspace_noise(volume: FloatVolume, brain: BoolVolume, spacing: Spacing, artefact: Artefact) -> FloatVolume:
    """Uniform complex noise in all but the middle rows of the 2D k-space of each slice along axis 2.

    The published code calls it Gaussian noise.
    """
    rng = np.random.default_rng(artefact.seed)
    # Noise of the same half-width is less noise in a smaller image; the published strength is that of 192 voxels a
    # side.
    strength = 0.003 * artefact.severity * _PUBLISHED_SIDE / np.sqrt(volume.shape[0] * volume.shape[1])
    slices = [noisy_slice(volume[:, :, k].astype(np.float64), strength, rng) for k in range(volume.shape[2])]
    return np.stack(slices, axis=2).astype(np.float32)


def noisy_slice(picture: NDArray[np.float64], strength: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A slice [rows, columns] with noise of half-width `strength` x max|Re k|, x max|Im k| in its outer k-space rows.

    As published, the widths for the last rows are taken after the first were changed.
    """
    spectrum = np.fft.fftshift(np.fft.fft2(picture))
    rows = len(picture) - len(picture) // 2 - 1
    for part in (slice(0, rows), slice(len(picture) - rows, None)):
        shape = spectrum[part].shape
        widths = (strength * np.abs(values).max() for values in (spectrum.real, spectrum.imag))
        real, imaginary = (width * rng.uniform(-1, 1, shape) for width in widths)
        spectrum[part] += real + 1j * imaginary
    return np.asarray(np.fft.ifft2(np.fft.ifftshift(spectrum)).real)


def zipper(volume: FloatVolume, brain: BoolVolume, spacing: Spacing, artefact: Artefact) -> FloatVolume:
    """Three bands of 5 mm across axis 1 become noise over the range of their slice.

    The published texture overflows an 8-bit integer, which differs between machines; here the noise is uniform.
    """
    rng = np.random.default_rng(artefact.seed)
    changed = volume.copy()
    middle = sum(_extent(brain)) / 2
    width = max(1, round(_ZIPPER_WIDTH_MM * artefact.severity / spacing[1]))
    low, high = volume.min(axis=(0, 1)), volume.max(axis=(0, 1))
    for offset in _ZIPPER_FIRST_MM:
        first = max(0, round(middle + offset / spacing[1]))
        band = changed[:, first : first + width]
        band[...] = low + (high - low) * rng.random(band.shape, dtype=np.float32)
    return changed


KINDS: dict[str, Callable[[FloatVolume, BoolVolume, Spacing, Artefact], FloatVolume]] = {
    each.__name__: each for each in (top_chunk, middle_chunk, bias_field, spike, ghosting, motion, kspace_noise, zipper)
}
"""Every artefact: scaled volume and brain [R, A, S], spacing in mm -> the changed scaled volume."""


def _emptied(volume: FloatVolume, first: int, count: int) -> FloatVolume:
    changed = volume.copy()
    changed[:, first : first + count] = volume.min()
    return changed


def _extent(brain: BoolVolume) -> tuple[int, int]:
    """The first and the last slice with brain along axis 1."""
    box = bounding_box(brain)
    assert box is not None
    return box[1].start, box[1].stop - 1


def _through(transform: Any, volume: FloatVolume, spacing: Spacing) -> FloatVolume:
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(volume))[None].float()
    image = _torchio().ScalarImage(tensor=tensor, affine=np.diag([*spacing, 1.0]))
    return np.asarray(transform(image).data[0].numpy(), dtype=np.float32)


def _torchio() -> Any:
    try:
        import torchio
    except ImportError:
        raise UserError(
            "This artefact needs TorchIO, which is missing; run: pip install itermask3d[evaluate]"
        ) from None
    return torchio
