"""What contrast a volume has, measured: the order of its tissues, whatever bias field lies over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from IterMask3DLib.core.contrast import FLAIR, T1W, T2W
from IterMask3DLib.core.geometry import Spacing, bounding_box
from IterMask3DLib.core.image import BoolVolume, FloatVolume

_REGION_MM, _PAIR_MM = 16.0, 12.0
_TAIL = 0.02
_DARKEST = 0.12
_CORTEX_MM, _DEEP_MM = (2.0, 4.0), 7.0
_LEAST_WEIGHT = 0.02
_ENOUGH_MM = 2.0

_BRIGHT_TAIL = 1.5
_BRIGHT_DEPTH = 0.38
_MARGIN = 0.12


@dataclass(frozen=True)
class TissueOrder:
    """How the tissues of a brain are ordered.

    Attributes:
        bright_tail: how far the brightest 2 % lie above the median of their surroundings, in distances that the darkest
            2 % lie below it: above 1.5 where fluid is bright.
        depth: how much brighter the tissue far from fluid (white matter) is than the tissue beside it (cortex), in
            standard deviations of the brain: above 0.38 where white matter is the brightest.
    """

    bright_tail: float
    depth: float

    @property
    def contrast(self) -> str:
        """The contrast of this order; "" where it is near the border of two."""
        if abs(np.log(self.bright_tail / _BRIGHT_TAIL)) < _MARGIN:
            return ""
        if self.bright_tail > _BRIGHT_TAIL:
            return T2W
        if abs(self.depth - _BRIGHT_DEPTH) < _MARGIN:
            return ""
        return T1W if self.depth > _BRIGHT_DEPTH else FLAIR


def tissue_order(volume: FloatVolume, brain: BoolVolume, spacing: Spacing) -> TissueOrder | None:
    """The order of a brain's tissues; None where there is too little of them to tell.

    Both numbers compare neighbours, so that bias fields do no harm. The borders lie in the middle between T1w of two
    scanners and of two patients with tumours, and T2w and FLAIR of the latter and drawn ones.

    Args:
        volume: float32 [x, y, z]; brain: bool [x, y, z]; spacing: mm.
    """

    def blurred(values: FloatVolume | BoolVolume, mm: float) -> FloatVolume:
        sigmas = [mm / side for side in spacing]
        return np.asarray(ndimage.gaussian_filter(values.astype(np.float32), sigmas, mode="constant"))

    inside = np.where(brain, volume, 0)
    local = inside - blurred(inside, _REGION_MM) / np.maximum(blurred(brain, _REGION_MM), _LEAST_WEIGHT)
    low, darkest, middle, high = np.quantile(local[brain], (_TAIL, _DARKEST, 0.5, 1 - _TAIL))
    free = brain & (local >= darkest)
    away = ndimage.distance_transform_edt(free, sampling=spacing)
    cortex, deep = free & (away > _CORTEX_MM[0]) & (away <= _CORTEX_MM[1]), free & (away >= _DEEP_MM)
    counts = [blurred(part, _PAIR_MM) for part in (cortex, deep)]
    both = brain & (counts[0] > _LEAST_WEIGHT) & (counts[1] > _LEAST_WEIGHT)
    if middle == low or not both.any():
        return None
    means = [
        blurred(np.where(part, volume, 0), _PAIR_MM)[both] / n[both]
        for part, n in zip((cortex, deep), counts, strict=True)
    ]
    depth = np.average(means[1] - means[0], weights=np.minimum(*counts)[both])
    spread = max(float(volume[brain].std(dtype=np.float64)), 1e-9)
    return TissueOrder(float((high - middle) / (middle - low)), float(depth) / spread)


def contrast_warning(
    volume: FloatVolume, brain: BoolVolume, spacing: Spacing, expected: str, name: str
) -> tuple[str, ...]:
    """A warning where a volume clearly has another contrast than a model expects: none or one sentence."""
    if expected not in _LOOKS:
        return ()
    steps = [max(1, round(_ENOUGH_MM / side)) for side in spacing]
    every = tuple(slice(None, None, step) for step in steps)
    coarse: Spacing = tuple(side * step for side, step in zip(spacing, steps, strict=True))  # type: ignore[assignment]
    box = bounding_box(brain[every], margin=1)
    order = None if box is None else tissue_order(volume[every][box], brain[every][box], coarse)
    if order is None or order.contrast in ("", expected):
        return ()
    found = order.contrast
    return (
        f"The tissues of {name} are ordered as in {found} ({_LOOKS[found]}), but the model learned from {expected} "
        f"({_LOOKS[expected]}); choose a model for {found}.",
    )


_LOOKS = {
    T1W: "white matter brightest, fluid dark",
    T2W: "fluid brightest",
    FLAIR: "cortex brightest, fluid dark",
}
