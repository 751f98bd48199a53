"""The other hemisphere: what stands out on both sides alike is anatomy or the scanner, and seldom a lesion."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from IterMask3DLib.core.geometry import Spacing
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.methods.itermask3d.residual_fit import BrainAverage
from IterMask3DLib.preprocessing.registration import correlate

_LEAST_SHARE = 0.3
_AVERAGED_MM = 3.0

_LEVELS = ((4, 2.0, 1.0), (3, 1.0, 0.25))
"""Of the registration: voxels that become one, sigma of the smoothing before it, and first step, in voxels.

With two voxels in place of three the mirror of 18 brains moves by 0.15 mm, at most 0.5, and takes twice as long.
"""
_LAST_STEP = 0.02


class OtherSide:
    """Gives a map the values that it has at the mirrored places.

    The mirrored brain is laid on the brain by a rigid registration (SimpleITK, correlation), so a turned head does no
    harm. The same volume always gives the same mirror.

    Args:
        volume: float32 [x, y, z], x along right; best a reconstruction, in which no lesion pulls at the fit.
        brain: bool [x, y, z]; spacing: mm, isotropic.
    """

    def __init__(self, volume: FloatVolume, brain: BoolVolume, spacing: Spacing) -> None:
        inside = volume[brain]
        background = float(inside.min()) - float(inside.std())
        self._brain = brain
        self._transform = _registered(np.where(brain, volume, background).astype(np.float32))
        # No two hemispheres match to the voxel.
        self._average = BrainAverage(brain, spacing, _AVERAGED_MM)
        self._share = self._moved(brain.astype(np.float32))

    def __call__(self, values: FloatVolume) -> FloatVolume:
        """Of values [x, y, z], those of the other side, averaged over 3 mm; 0 where the mirrored brain has none."""
        there = self._brain & (self._share > _LEAST_SHARE)
        moved = self._moved(self._average(values))
        return np.where(there, moved / np.where(there, self._share, 1), 0).astype(np.float32)

    def _moved(self, values: FloatVolume) -> FloatVolume:
        image = _image(values[::-1])
        moved = sitk.Resample(image, image, self._transform, sitk.sitkLinear, 0.0)
        return np.ascontiguousarray(sitk.GetArrayFromImage(moved).T)


def one_sided(score: FloatVolume, other: FloatVolume, limit: float | None = None) -> FloatVolume:
    """A score less that of the other side, where the other side's is above 0; at most `limit` is taken away.

    Without a limit lesions that both sides have, as in multiple sclerosis, take each other away.
    """
    return score - np.clip(other, 0, limit)


def _registered(volume: FloatVolume) -> sitk.Transform:
    """From places of the volume to those of its mirror image."""
    fixed, moving = _image(volume), _image(volume[::-1])
    found = sitk.Euler3DTransform()
    found.SetCenter([(side - 1) / 2 for side in volume.shape])
    for factor, sigma, first in _LEVELS:
        coarse = [
            sitk.BinShrink(sitk.SmoothingRecursiveGaussian(each, sigma), [factor] * 3) for each in (fixed, moving)
        ]
        correlate(coarse[0], coarse[1], found, 100, first, _LAST_STEP)
    return found


def _image(values: FloatVolume) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(values.T))
