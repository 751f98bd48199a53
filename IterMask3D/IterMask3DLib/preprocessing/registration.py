"""Affine fits of the bundled mean brain: to a whole head, and to a brain that is stripped already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from IterMask3DLib.core.geometry import Affine, world_transform_in_ras
from IterMask3DLib.core.image import BoolVolume, Image
from IterMask3DLib.core.resources import resource
from IterMask3DLib.preprocessing.resampling import itk_image

MNI_TO_TEMPLATE: Affine = np.array(
    [
        [0.88386, 0.00914, 0.00518, 0.0397],
        [-0.00492, 0.93083, -0.21325, 16.51933],
        [-0.00383, 0.22783, 0.78465, 2.55805],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""RAS mm of MNI152 (ICBM 2009a, skull-stripped) to those of the bundled template: its `template_to_brain`, inverted."""

_TOP_TO_CENTRE_MM = 75.0
_BLUR_MM = 4.0
_TYPICAL = 128.0


@dataclass(frozen=True)
class Template:
    """A mean T1-weighted brain and the share of subjects whose brain covers each voxel (0 to 1), on one grid."""

    brain: sitk.Image
    share: sitk.Image

    @classmethod
    def read(cls) -> Template:
        brain = sitk.ReadImage(str(resource("Templates", "t1w_brain_4mm.nii.gz")), sitk.sitkFloat32)
        share = sitk.ReadImage(str(resource("Templates", "t1w_brain_share_4mm.nii.gz")), sitk.sitkFloat32) / 255.0
        return cls(brain, share)


def head_to_template(image: sitk.Image, head: sitk.Image, template: Template) -> sitk.Transform:
    """The affine that takes points of a head to points of the template, by mutual information.

    Args:
        image: the head, without its bias field; head: 1 where it is not air.
    """
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
    start = _below_the_top(head, template)
    for transform in (sitk.Similarity3DTransform(), sitk.AffineTransform(3)):
        transform.SetMatrix(start.GetMatrix())
        transform.SetCenter(start.GetCenter())
        transform.SetTranslation(start.GetTranslation())
        registration.SetInitialTransform(transform, inPlace=True)
        registration.Execute(template.brain, image)
        start = transform
    return start.GetInverse()


def template_to_brain(image: Image, brain: BoolVolume) -> Affine:
    """The affine (4x4) that takes RAS mm of the bundled template to RAS mm of a stripped brain, by correlation.

    Moments of the two brains come first, then SimpleITK's correlation of the two blurred brains; the same image always
    gives the same affine.

    Args:
        brain: bool [i, j, k] on the grid of `image`.
    """
    fixed = Template.read().brain
    typical = float(np.median(image.array[brain]))
    scaled = np.where(brain, image.array, 0).astype(np.float32) * np.float32(_TYPICAL / (typical or 1.0))
    moving = itk_image(scaled, image.affine)
    transform = sitk.AffineTransform(sitk.CenteredTransformInitializer(fixed, moving, sitk.AffineTransform(3)))
    transform.SetMatrix(np.diag(_extent(moving) / _extent(fixed)).ravel().tolist())
    blurred = [sitk.SmoothingRecursiveGaussian(each, _BLUR_MM) for each in (fixed, moving)]
    # A third level, of the whole template, moves no point of five validation brains by more than 0.6 mm, and takes two
    # thirds of the time.
    for factor in (4, 2):
        correlate(sitk.BinShrink(blurred[0], [factor] * 3), blurred[1], transform, steps=150)
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.array(transform.GetCenter())
    matrix[:3, 3] = centre + np.array(transform.GetTranslation()) - matrix[:3, :3] @ centre
    return world_transform_in_ras(matrix)


def correlate(
    fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform, steps: int, first: float = 1.0, last: float = 1e-2
) -> None:
    """Moves a transform, from places of one image to those of another, to where their correlation is best.

    Args:
        steps: of the optimiser, at most; first, last: how far they move, in the units of the images.
    """
    registration = sitk.ImageRegistrationMethod()
    registration.SetMetricAsCorrelation()
    registration.SetInterpolator(sitk.sitkLinear)
    # Smoothed gradients of the whole images, the usual ones, take longer than everything else here.
    registration.MetricUseFixedImageGradientFilterOff()
    registration.MetricUseMovingImageGradientFilterOff()
    # With 0.7, noise that nobody sees moves some brains by 0.6 mm; with 0.8 by less than 0.1 mm.
    registration.SetOptimizerAsRegularStepGradientDescent(
        first, last, steps, relaxationFactor=0.8, gradientMagnitudeTolerance=1e-8
    )
    registration.SetOptimizerScalesFromPhysicalShift()
    registration.SetInitialTransform(transform, inPlace=True)
    # One thread adds in one order, so that the last digits are the same on every run.
    registration.SetNumberOfThreads(1)
    registration.Execute(fixed, moving)


def mni_to_brain(image: Image, brain: BoolVolume) -> Affine:
    """The affine (4x4) that takes RAS mm of MNI space to RAS mm of a stripped brain [i, j, k]."""
    return np.asarray(template_to_brain(image, brain) @ MNI_TO_TEMPLATE)


def _below_the_top(head: sitk.Image, template: Template) -> sitk.AffineTransform:
    """Puts the template's centre 75 mm below the top of the head, in the middle of the slab that lies above it."""
    points = _points(head)
    top = np.percentile(points[:, 2], 99.9)
    slab = points[points[:, 2] > top - 1.6 * _TOP_TO_CENTRE_MM]
    centre = np.append((slab[:, :2].min(axis=0) + slab[:, :2].max(axis=0)) / 2, top - _TOP_TO_CENTRE_MM)
    share = sitk.GetArrayViewFromImage(template.share) > 0.5
    middle = np.argwhere(share)[:, ::-1].mean(axis=0)
    of_template = np.array(template.share.TransformContinuousIndexToPhysicalPoint(middle.tolist()))
    guess = sitk.AffineTransform(3)
    guess.SetCenter(of_template.tolist())
    guess.SetTranslation((centre - of_template).tolist())
    return guess


def _extent(brain: sitk.Image) -> NDArray[np.float64]:
    """Standard deviation (mm) of a brain along the world's axes."""
    return np.asarray(_points(brain).std(axis=0))


def _points(image: sitk.Image) -> NDArray[np.float64]:
    """Where the voxels above 0 lie, LPS mm [n, 3]."""
    voxels = np.argwhere(sitk.GetArrayViewFromImage(image) > 0)[:, ::-1]
    matrix = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    return np.asarray(voxels @ matrix.T + np.array(image.GetOrigin()))
