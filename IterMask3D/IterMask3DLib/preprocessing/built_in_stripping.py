"""Skull stripping from SimpleITK parts alone, for users without a dedicated tool; nothing is downloaded.

A small mean brain is registered to the head (affine, mutual information); within its neighbourhood, bright tissue is
separated from what surrounds it by Otsu's threshold and morphology. Coarser than HD-BET, SynthStrip or deepbet, and
meant for T1-weighted heads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.core.limits import short
from IterMask3DLib.preprocessing.bias_field import without_bias_field
from IterMask3DLib.preprocessing.registration import Template, head_to_template
from IterMask3DLib.preprocessing.resampling import itk_image

_WORKING_MM = 2.5
_NEIGHBOURHOOD_MM = 5.0
_CORE_MM = 10.0
_OPENING_MM = 7.5
_CLOSING_MM = 7.5
_OVERSHOOT, _USUAL_RANGE, _RESCALED = 0.2, (50.0, 1e6), 1000.0


def strip_head(image: Image) -> BoolVolume:
    """The brain of a T1-weighted head: bool [i, j, k]. Raises `UserError` if nothing brain-like is found."""
    try:
        return _stripped(image)
    except RuntimeError as error:  # The registration finds no overlap, or a head without contrast.
        raise UserError(f"{image.label}: no brain was found ({short(error)}); give a brain mask.") from None


def _stripped(image: Image) -> BoolVolume:
    whole = itk_image(_positive(image.array), image.affine)
    work = sitk.DICOMOrient(_coarse(whole), "LPS")
    head = _largest(sitk.OtsuThreshold(sitk.RescaleIntensity(work, 0, 255), 0, 1, 128))
    if sitk.GetArrayViewFromImage(head).sum() == 0:
        raise UserError(f"{image.label}: no brain was found; give a brain mask.")
    work = without_bias_field(work, head)
    template = Template.read()
    transform = head_to_template(work, head, template)
    share = sitk.Resample(template.share, work, transform, sitk.sitkLinear, 0.0)
    mask = _tissue(work, share)
    fine = sitk.Resample(sitk.Cast(mask, sitk.sitkFloat32), whole, sitk.Transform(), sitk.sitkLinear, 0.0)
    return np.asarray(sitk.GetArrayFromImage(fine).T >= 0.5)


def _positive(array: NDArray[Any]) -> NDArray[np.float32]:
    """Intensities as a scanner gives them: those that lie below 0, or are far larger or smaller, are rescaled."""
    low, high = float(array.min()), float(array.max())
    # What resampling leaves a little below 0 is cut.
    if low >= -_OVERSHOOT * high and _USUAL_RANGE[0] <= high - low <= _USUAL_RANGE[1]:
        return array.astype(np.float32)
    return ((array - low) * (_RESCALED / (high - low))).astype(np.float32)


def _coarse(image: sitk.Image) -> sitk.Image:
    """The image on voxels of 2.5 mm, smoothed as it is coarsened."""
    spacing = np.array(image.GetSpacing())
    smooth = image
    for axis in np.flatnonzero(spacing < _WORKING_MM):
        order = sitk.RecursiveGaussianImageFilter.ZeroOrder
        smooth = sitk.RecursiveGaussian(smooth, float(0.4 * _WORKING_MM), False, order, int(axis))
    size = np.maximum(1, np.round(np.array(image.GetSize()) * spacing / _WORKING_MM)).astype(int)
    reference = sitk.Image([int(n) for n in size], sitk.sitkFloat32)
    reference.SetSpacing([_WORKING_MM] * 3)
    reference.SetDirection(image.GetDirection())
    shift = (_WORKING_MM - spacing) / 2
    origin = np.array(image.GetOrigin()) + np.reshape(image.GetDirection(), (3, 3)) @ shift
    reference.SetOrigin(origin.tolist())
    return sitk.Resample(smooth, reference, sitk.Transform(), sitk.sitkLinear, 0.0)


def _tissue(image: sitk.Image, share: sitk.Image) -> sitk.Image:
    """Tissue near the registered brain, cut free from what touches it, together with the core of that brain."""
    brain = share > 0.5
    near = sitk.BinaryDilate(brain, _voxels(_NEIGHBOURHOOD_MM))
    core = sitk.BinaryErode(brain, _voxels(_CORE_MM))
    # Two thresholds: fluid and skull below the first, fat and vessels above the brain's own range.
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.SetMaskValue(1)
    otsu.Execute(image, near)
    fluid = otsu.GetThreshold()
    values = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(near) > 0]
    bright = 1.6 * float(np.median(values[values > fluid]))
    tissue = sitk.And(sitk.And(image > fluid, image < bright), near)
    opened = sitk.Or(_largest(sitk.BinaryMorphologicalOpening(tissue, _voxels(_OPENING_MM))), core)
    closed = sitk.BinaryMorphologicalClosing(_largest(opened), _voxels(_CLOSING_MM))
    # A last opening takes away what leaked through thin bone.
    filled = sitk.And(sitk.BinaryFillhole(closed), near)
    return _largest(sitk.BinaryMorphologicalOpening(filled, _voxels(_OPENING_MM)))


def _largest(mask: sitk.Image) -> sitk.Image:
    return sitk.RelabelComponent(sitk.ConnectedComponent(mask), sortByObjectSize=True) == 1


def _voxels(millimetres: float) -> list[int]:
    return [max(1, round(millimetres / _WORKING_MM))] * 3
