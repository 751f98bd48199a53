"""Brain extraction from SimpleITK parts alone, for users without a dedicated tool; nothing is downloaded.

A small mean brain is registered to the head (affine, mutual information); within its neighbourhood, bright tissue is separated from
what surrounds it by Otsu's threshold and morphology. Coarser than HD-BET or SynthStrip, and meant for T1-weighted heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.records import Affine, BoolVolume, Volume
from IterMask3DLib.engine.resources import resource

_WORKING_MM = 2.5
_NEIGHBOURHOOD_MM = 5.0
_CORE_MM = 10.0
_OPENING_MM = 7.5
_CLOSING_MM = 7.5
_TOP_TO_CENTRE_MM = 75.0


@dataclass(frozen=True)
class _Template:
    """A mean T1-weighted brain and the share of subjects whose brain covers each voxel (0 to 1), on one grid."""

    brain: sitk.Image
    share: sitk.Image


def extract_brain(volume: Volume) -> BoolVolume:
    """The brain of a T1-weighted head: bool [i, j, k]. Raises `InputError` if nothing brain-like is found."""
    image = _to_itk(volume.array.astype(np.float32), volume.affine)
    work = sitk.DICOMOrient(_coarse(image), "LPS")
    head = _largest(sitk.OtsuThreshold(sitk.RescaleIntensity(work, 0, 255), 0, 1, 128))
    if sitk.GetArrayViewFromImage(head).sum() == 0:
        raise InputError(f"{volume.source or volume.name}: no brain was found; give a brain mask.")
    work = _unbiased(work, head)
    template = _template()
    transform = _registered(work, head, template)
    share = sitk.Resample(template.share, work, transform, sitk.sitkLinear, 0.0)
    mask = _tissue(work, share)
    fine = sitk.Resample(sitk.Cast(mask, sitk.sitkFloat32), image, sitk.Transform(), sitk.sitkLinear, 0.0)
    return np.asarray(sitk.GetArrayFromImage(fine).T >= 0.5)


def _to_itk(array: NDArray[np.float32], affine: Affine) -> sitk.Image:
    """An ITK image of an array [i, j, k] and its RAS affine. ITK directions are orthonormal: a shear is left out."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    u, _, v = np.linalg.svd(lps[:3, :3] / spacing)
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection([float(d) for d in (u @ v).ravel()])
    image.SetOrigin([float(o) for o in lps[:3, 3]])
    return image


def _coarse(image: sitk.Image) -> sitk.Image:
    """The image on voxels of 2.5 mm, smoothed as it is coarsened."""
    spacing = np.array(image.GetSpacing())
    smooth = image
    for axis in np.flatnonzero(spacing < _WORKING_MM):
        smooth = sitk.RecursiveGaussian(smooth, float(0.4 * _WORKING_MM), False, sitk.RecursiveGaussianImageFilter.ZeroOrder, int(axis))
    size = np.maximum(1, np.round(np.array(image.GetSize()) * spacing / _WORKING_MM)).astype(int)
    reference = sitk.Image([int(n) for n in size], sitk.sitkFloat32)
    reference.SetSpacing([_WORKING_MM] * 3)
    reference.SetDirection(image.GetDirection())
    shift = (_WORKING_MM - spacing) / 2
    reference.SetOrigin((np.array(image.GetOrigin()) + np.reshape(image.GetDirection(), (3, 3)) @ shift).tolist())
    return sitk.Resample(smooth, reference, sitk.Transform(), sitk.sitkLinear, 0.0)


def _unbiased(image: sitk.Image, head: sitk.Image) -> sitk.Image:
    correction = sitk.N4BiasFieldCorrectionImageFilter()
    correction.SetMaximumNumberOfIterations([20, 20])
    positive = sitk.Maximum(image, 0.0) + 1.0
    shrunk = sitk.Shrink(positive, [2] * 3)
    correction.Execute(shrunk, sitk.Shrink(head, [2] * 3))
    return sitk.Cast(positive / sitk.Exp(correction.GetLogBiasFieldAsImage(positive)), sitk.sitkFloat32)


def _template() -> _Template:
    brain = sitk.ReadImage(str(resource("Templates", "t1w_brain_4mm.nii.gz")), sitk.sitkFloat32)
    share = sitk.ReadImage(str(resource("Templates", "t1w_brain_share_4mm.nii.gz")), sitk.sitkFloat32) / 255.0
    return _Template(brain, share)


def _registered(image: sitk.Image, head: sitk.Image, template: _Template) -> sitk.Transform:
    """The affine that takes points of the head to points of the template."""
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsMattesMutualInformation(32)
    registration.SetMetricFixedMask(sitk.BinaryDilate(sitk.Cast(template.share > 0.1, sitk.sitkUInt8), [2] * 3))
    registration.SetMetricSamplingStrategy(registration.NONE)
    registration.SetInterpolator(sitk.sitkLinear)
    registration.SetShrinkFactorsPerLevel([2, 1])
    registration.SetSmoothingSigmasPerLevel([4.0, 2.0])
    registration.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    registration.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, 80, relaxationFactor=0.6)
    registration.SetOptimizerScalesFromPhysicalShift()
    # The template is the fixed image: its mask keeps scalp and neck out of the measure.
    start = _first_guess(head, template)
    for transform in (sitk.Similarity3DTransform(), sitk.AffineTransform(3)):
        transform.SetMatrix(start.GetMatrix())
        transform.SetCenter(start.GetCenter())
        transform.SetTranslation(start.GetTranslation())
        registration.SetInitialTransform(transform, inPlace=True)
        registration.Execute(template.brain, image)
        start = transform
    return start.GetInverse()


def _first_guess(head: sitk.Image, template: _Template) -> sitk.AffineTransform:
    """Puts the template's centre 75 mm below the top of the head, in the middle of the slab that lies above it."""
    points = np.argwhere(sitk.GetArrayViewFromImage(head))[:, ::-1]
    matrix = np.reshape(head.GetDirection(), (3, 3)) * head.GetSpacing()
    places = points @ matrix.T + np.array(head.GetOrigin())
    top = np.percentile(places[:, 2], 99.9)
    slab = places[places[:, 2] > top - 1.6 * _TOP_TO_CENTRE_MM]
    centre = np.array([(slab[:, 0].min() + slab[:, 0].max()) / 2, (slab[:, 1].min() + slab[:, 1].max()) / 2, top - _TOP_TO_CENTRE_MM])
    share = sitk.GetArrayViewFromImage(template.share) > 0.5
    middle = np.argwhere(share)[:, ::-1].mean(axis=0)
    of_template = np.array(template.share.TransformContinuousIndexToPhysicalPoint(middle.tolist()))
    guess = sitk.AffineTransform(3)
    guess.SetCenter(of_template.tolist())
    guess.SetTranslation((centre - of_template).tolist())
    return guess


def _tissue(image: sitk.Image, share: sitk.Image) -> sitk.Image:
    """Tissue near the registered brain, cut free from what touches it, together with the core of the registered brain."""
    brain = share > 0.5
    near = sitk.BinaryDilate(brain, _voxels(_NEIGHBOURHOOD_MM))
    core = sitk.BinaryErode(brain, _voxels(_CORE_MM))
    values = sitk.GetArrayViewFromImage(image)[sitk.GetArrayViewFromImage(near) > 0]
    # Two thresholds: fluid and skull below the first, fat and vessels above the brain's own range.
    fluid = _otsu(values)
    bright = 1.6 * float(np.median(values[values > fluid]))
    tissue = sitk.And(sitk.And(image > fluid, image < bright), near)
    opened = sitk.Or(_largest(sitk.BinaryMorphologicalOpening(tissue, _voxels(_OPENING_MM))), core)
    closed = sitk.BinaryMorphologicalClosing(_largest(opened), _voxels(_CLOSING_MM))
    # A last opening takes away what leaked through thin bone.
    return _largest(sitk.BinaryMorphologicalOpening(sitk.And(sitk.BinaryFillhole(closed), near), _voxels(_OPENING_MM)))


def _otsu(values: NDArray[np.float32]) -> float:
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    mean_below = np.cumsum(counts * middles) / np.maximum(below, 1)
    mean_above = (np.sum(counts * middles) - np.cumsum(counts * middles)) / np.maximum(above, 1)
    return float(middles[np.argmax(below * above * (mean_below - mean_above) ** 2)])


def _largest(mask: sitk.Image) -> sitk.Image:
    return sitk.RelabelComponent(sitk.ConnectedComponent(mask), sortByObjectSize=True) == 1


def _voxels(millimetres: float) -> list[int]:
    return [max(1, round(millimetres / _WORKING_MM))] * 3
