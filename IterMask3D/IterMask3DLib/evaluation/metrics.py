"""How well a mask and a score agree with the truth, for one case.

Where a number cannot be defined it is None and is left out of means; where it has a natural worst or best value it
takes that, so that a method is not rewarded for finding nothing. No number is ever NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.geometry import Affine, Spacing, bounding_box
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.evaluation.ranking import average_precision, of_all, roc_auc

FROC_STEP = 8
"""Of a detector's thresholds every so manieth is a point of its FROC curve."""

_FROC_MOST = 0.1
"""Share of the brain above which a threshold marks tissue and no lesions: it is no point of the curve."""

OVERLAP = 0.1
"""Share of a component that must overlap for it to count as found (true lesion) or as right (component of the mask)."""
_LEAST_OF_SLICE = 0.1
_TOUCHING = np.ones((3, 3, 3), dtype=bool)


FIGURES: tuple[str, ...] = ("dice", "iou", "sensitivity", "precision", "auroc", "average_precision", "assd_mm")
FIGURES += ("hd95_mm", "volume_error_ml", "absolute_volume_error_ml", "lesion_f1", "lesion_sensitivity")
FIGURES += ("lesion_precision", "psnr_healthy_db", "predicted_ml", "truth_ml")
"""Names of the figures of a case; lengths in mm, volumes in ml."""


def measure(
    image: Image,
    brain: BoolVolume,
    truth: BoolVolume,
    mask: BoolVolume | None,
    score: FloatVolume | None,
    reconstruction: FloatVolume | None = None,
) -> dict[str, float | None]:
    """Every figure of a case by name; all arrays [i, j, k] on the grid of `image`. Only brain voxels count.

    Args:
        mask, score, reconstruction: of a detector, None where it has none; a larger score is more anomalous, and a
            reconstruction is in the intensities of the image.
    """
    truth = truth & brain
    figures: dict[str, float | None] = dict.fromkeys(FIGURES)
    figures["truth_ml"] = int(truth.sum()) * image.voxel_ml
    if mask is not None:
        figures |= _of_mask(image, brain, truth, mask & brain)
    if score is not None:
        figures["auroc"] = of_all(roc_auc, score[brain], truth[brain])
        figures["average_precision"] = of_all(average_precision, score[brain], truth[brain])
    if reconstruction is not None:
        figures["psnr_healthy_db"] = psnr(image.array, reconstruction, brain & ~truth)
    return figures


def _of_mask(image: Image, brain: BoolVolume, truth: BoolVolume, mask: BoolVolume) -> dict[str, float | None]:
    hits, predicted, true = int((mask & truth).sum()), int(mask.sum()), int(truth.sum())
    assd, hd95 = surface_distances(mask, truth, brain, image.spacing)
    match = LesionMatch.of(mask, truth)
    found, right = match.found_share, match.right_share
    error_ml = (predicted - true) * image.voxel_ml
    return {
        # MONAI's default is NaN where there is nothing to find and nothing was found.
        "dice": 2 * hits / (predicted + true) if predicted or true else 1.0,
        "iou": hits / (predicted + true - hits) if predicted or true else 1.0,
        "sensitivity": hits / true if true else None,
        # An empty mask is right only where there was nothing to find.
        "precision": hits / predicted if predicted else float(true == 0),
        "assd_mm": assd,
        "hd95_mm": hd95,
        "volume_error_ml": error_ml,
        "absolute_volume_error_ml": abs(error_ml),
        "lesion_f1": _harmonic(found, right),
        "lesion_sensitivity": found,
        "lesion_precision": right,
        "predicted_ml": predicted * image.voxel_ml,
    }


def dice_curve(
    score: FloatVolume, truth: BoolVolume, brain: BoolVolume, thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Dice of `score > threshold` inside the brain for every threshold [n] (ascending), from two histograms."""
    true, values = truth[brain], score[brain].astype(np.float64)
    edges = np.concatenate([[-np.inf], thresholds, [np.inf]])

    def above(chosen: NDArray[np.float64]) -> NDArray[np.int64]:
        # Bins are open below and closed above, so that a value equal to a threshold is not above it.
        counts = np.bincount(np.searchsorted(edges, chosen, side="left"), minlength=len(edges) + 1)
        return np.asarray(len(chosen) - np.cumsum(counts)[1 : len(thresholds) + 1])

    hits, predicted = above(values[true]), above(values)
    total = predicted + int(true.sum())
    return np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.0)


def surface_distances(mask: BoolVolume, truth: BoolVolume, brain: BoolVolume, spacing: Spacing) -> tuple[float, float]:
    """Average symmetric surface distance and 95 % Hausdorff distance, in mm.

    ASSD: mean over the surface voxels of both objects of the distance to the other's surface. HD95: the larger of the
    two directed 95th percentiles. A surface voxel has a face on the outside. Both are 0 where both objects are empty,
    and the diagonal of the brain's box where one is. ITK's "average Hausdorff distance", used by the published code, is
    another thing: a mean over all voxels of the objects, to which the inside adds zeros.
    """
    box = bounding_box(mask | truth)
    if box is None:
        return 0.0, 0.0
    if not mask.any() or not truth.any():
        sides = [side.stop - side.start for side in bounding_box(brain) or box]
        worst = float(np.linalg.norm(np.array(sides) * spacing))
        return worst, worst
    mask, truth = np.pad(mask[box], 1), np.pad(truth[box], 1)
    first, second = (inside & ~ndimage.binary_erosion(inside) for inside in (mask, truth))
    forth = ndimage.distance_transform_edt(~second, sampling=spacing)[first]
    back = ndimage.distance_transform_edt(~first, sampling=spacing)[second]
    return float(np.concatenate([forth, back]).mean()), float(max(np.percentile(forth, 95), np.percentile(back, 95)))


@dataclass(frozen=True)
class LesionMatch:
    """Lesions of a truth and components of a mask; both touch by a face, an edge or a corner.

    A true lesion is found when the mask covers a tenth of it; a component of the mask is right when a tenth of it is
    true.

    Attributes:
        voxels: of each true lesion [n]; covered: share of each that the mask covers.
        components: of the mask; right: how many of them are right.
    """

    voxels: NDArray[np.int64]
    covered: NDArray[np.float64]
    components: int
    right: int

    @classmethod
    def of(cls, mask: BoolVolume, truth: BoolVolume) -> LesionMatch:
        lesions, true_count = ndimage.label(truth, structure=_TOUCHING)
        components, count = ndimage.label(mask, structure=_TOUCHING)
        voxels = np.bincount(lesions.ravel(), minlength=true_count + 1)[1:]
        right = int((_covered(truth, components, count) >= OVERLAP).sum())
        return cls(voxels, _covered(mask, lesions, true_count), count, right)

    @property
    def found(self) -> int:
        """How many true lesions are found."""
        return int((self.covered >= OVERLAP).sum())

    @property
    def found_share(self) -> float | None:
        """None where there is no true lesion."""
        return self.found / len(self.voxels) if len(self.voxels) else None

    @property
    def right_share(self) -> float:
        """Without a component 1 if there was nothing to find, else 0."""
        return self.right / self.components if self.components else float(len(self.voxels) == 0)


def froc_points(
    score: FloatVolume, truth: BoolVolume, brain: BoolVolume, thresholds: NDArray[np.float64]
) -> list[tuple[int, int]]:
    """For every `FROC_STEP`th threshold the true lesions found and the components that are not right.

    (-1, -1) where more than a tenth of the brain is above the threshold.
    """
    box = bounding_box(brain)
    assert box is not None
    score, truth, brain = score[box], truth[box] & brain[box], brain[box]
    most, empty = _FROC_MOST * int(brain.sum()), (0, 0)
    points: list[tuple[int, int]] = []
    for threshold in thresholds[::FROC_STEP]:
        mask = (score > threshold) & brain
        marked = int(mask.sum())
        match = LesionMatch.of(mask, truth) if 0 < marked <= most else None
        points.append((match.found, match.components - match.right) if match else (empty if not marked else (-1, -1)))
    return points


def slice_scores(score: FloatVolume, truth: BoolVolume, brain: BoolVolume, affine: Affine) -> list[tuple[float, int]]:
    """For every slice across the body's long axis the mean score over its brain, and 1 where anything in it is true.

    Slices with less than a tenth of the brain that the largest one has are left out.
    """
    axis = int(np.abs(affine[2, :3]).argmax())
    scores, abnormal, inside = (np.moveaxis(each, axis, 0) for each in (score, truth & brain, brain))
    areas = inside.sum(axis=(1, 2))
    return [
        (float(scores[number][inside[number]].mean(dtype=np.float64)), int(abnormal[number].any()))
        for number in np.flatnonzero(areas >= max(1, _LEAST_OF_SLICE * areas.max()))
    ]


def psnr(volume: NDArray[np.generic], reconstruction: FloatVolume, healthy: BoolVolume) -> float | None:
    """20·log10(highest healthy intensity / root mean squared difference) over healthy tissue, in dB.

    At most 100, None without such tissue. The published code takes the highest intensity of the whole test set, so that
    one bright subject raises everybody's figure; here it is the case's own.
    """
    if not healthy.any():
        return None
    given = volume[healthy].astype(np.float64)
    error = float(np.sqrt(np.mean((given - reconstruction[healthy]) ** 2)))
    highest = float(given.max())
    return float(min(100.0, 20 * np.log10(highest / error))) if error > 0 else 100.0


def _covered(by: BoolVolume, labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """Share of each component 1..count that lies in `by`."""
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return np.asarray(np.bincount(labels[by], minlength=count + 1)[1:] / np.maximum(sizes, 1))


def _harmonic(found: float | None, right: float) -> float:
    """F1; without true lesions 1 if no component was drawn, else 0."""
    if found is None:
        return 1.0 if right == 1.0 else 0.0
    return 2 * found * right / (found + right) if found + right > 0 else 0.0
