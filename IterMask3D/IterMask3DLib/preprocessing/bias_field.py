"""The bias field of a head: smooth brightness that comes from the coil and not from the tissue."""

from __future__ import annotations

import SimpleITK as sitk

_ITERATIONS = [20, 20]
_SHRINK = 2


def without_bias_field(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """An image divided by the bias field that N4 (Tustison et al. 2010) finds inside `mask`, coarsely."""
    correction = sitk.N4BiasFieldCorrectionImageFilter()
    correction.SetMaximumNumberOfIterations(_ITERATIONS)
    positive = sitk.Maximum(image, 0.0) + 1.0
    correction.Execute(sitk.Shrink(positive, [_SHRINK] * 3), sitk.Shrink(mask, [_SHRINK] * 3))
    return sitk.Cast(positive / sitk.Exp(correction.GetLogBiasFieldAsImage(positive)), sitk.sitkFloat32)
