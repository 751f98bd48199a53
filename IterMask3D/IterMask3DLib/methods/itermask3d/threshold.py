"""The threshold curve of a sweep: its points, the tangent through them, and the one point that is chosen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

# scipy.interpolate and scipy.optimize are imported where they are used: an inference without a curve needs neither.
import numpy as np
import torch

from IterMask3DLib.core.artifacts import FloatVector, ThresholdCurve
from IterMask3DLib.methods.itermask3d.settings import Settings

_FIRST_GUESS = (1.0, 0.01)
_MAX_EVALUATIONS = 500_000
_SMOOTHING_WIDTH = 5
_CHECKED_SHARE = 0.8


def percentile_threshold(errors: torch.Tensor, share: float, voxels: int) -> float:
    """The error that `share` of the brain voxels do not exceed.

    The same element as the published selection over the whole volume, found among the brain's voxels alone.

    Args:
        errors: [n] squared errors of the brain's voxels.
        share: 0 to 1.
        voxels: of the whole volume, whose background counts as error 0.
    """
    brain = errors.numel()
    rank = max(1, int(voxels - brain * (1 - share)))
    inside = rank - (voxels - brain)
    return float(errors.kthvalue(inside).values) if inside >= 1 else 0.0


def interpolated(visited: Sequence[int], thresholds: Sequence[float], passes: int) -> FloatVector:
    """The thresholds of all points from those of the visited ones, by a monotone cubic (PCHIP): [passes].

    Args:
        visited: ascending, begins with 1 and ends with `passes`; a single point stands for itself.
        thresholds: of the visited points.
        passes: how many points there are.
    """
    if len(visited) == passes:
        return np.asarray(thresholds, dtype=np.float64)
    from scipy.interpolate import PchipInterpolator

    return np.asarray(PchipInterpolator(visited, thresholds)(np.arange(1, passes + 1)), dtype=np.float64)


def fit_curve(
    thresholds: FloatVector, settings: Settings, median: float = 0.0, from_zero: bool = False
) -> tuple[ThresholdCurve, tuple[str, ...]]:
    """Fits a·tan(b·t), checks the fit, and chooses the first point whose derivative exceeds gamma.

    Where no derivative exceeds gamma the last threshold is chosen (the public code falls to the first). Where the
    threshold is a multiple of the median, gamma does not matter. Source: section 3.3 of the paper.

    Args:
        thresholds: float64 [points], entry t-1 belongs to point t.
        median: of the first pass, see `ThresholdCurve`.
        from_zero: count the first threshold's distance to zero as a difference, as the public code does; it can then
            choose the lowest threshold by accident.
    """
    t = np.arange(1, len(thresholds) + 1, dtype=np.float64)
    fit, slope = _tangent(t, thresholds, settings.y_limit)
    checked = int(_CHECKED_SHARE * len(t))
    r_squared = _r_squared(thresholds[:checked], fit[:checked])
    used_fit = bool(r_squared >= settings.r_squared_limit)
    derivative = slope if used_fit else smoothed_differences(thresholds, from_zero)
    curve = ThresholdCurve(thresholds, fit, derivative, r_squared, used_fit, settings.gamma, 0, median)
    if settings.median_multiple is not None:
        fixed = settings.median_multiple * median
        return replace(curve, fixed=fixed, chosen=min(int(np.searchsorted(thresholds, fixed)), len(t) - 1)), ()
    above = np.flatnonzero(derivative > settings.gamma)
    notes = []
    if not used_fit:
        quality = f" (R² {r_squared:.2f})" if np.isfinite(r_squared) and r_squared >= 0 else ""
        notes.append(
            f"The tangent does not describe the threshold curve{quality}; smoothed differences were used instead."
        )
    if len(above) == 0:
        notes.append(
            f"The threshold curve is nowhere steeper than gamma {settings.gamma:g}; the highest threshold was used."
        )
    return replace(curve, chosen=int(above[0]) if len(above) else len(t) - 1), tuple(notes)


def smoothed_differences(thresholds: FloatVector, from_zero: bool) -> FloatVector:
    """Differences of neighbouring thresholds, averaged over five (fewer at the ends): [passes].

    The first point has no neighbour before it: it takes the second one's difference, or with `from_zero` its own
    distance to zero.
    """
    differences = np.diff(thresholds, prepend=0.0)
    if not from_zero and len(differences) > 1:
        differences[0] = differences[1]
    ones = np.ones(_SMOOTHING_WIDTH)
    total = np.convolve(differences, ones, mode="same")[: len(differences)]
    count = np.convolve(np.ones_like(differences), ones, mode="same")[: len(differences)]
    return np.asarray(total / count)


def _tangent(t: FloatVector, thresholds: FloatVector, y_limit: float) -> tuple[FloatVector, FloatVector]:
    """Values and derivative of the fitted tangent at every `t`; NaN where there was too little to fit."""
    nothing = np.full_like(t, np.nan)
    over = np.flatnonzero(thresholds > y_limit)
    n = int(over[0]) if len(over) else len(t)
    if n < len(_FIRST_GUESS):
        return nothing, nothing
    from scipy.optimize import curve_fit

    try:
        # The covariance, which a perfect or hopeless fit does not have, is not needed.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (a, b), _ = curve_fit(
                lambda x, a, b: a * np.tan(b * x), t[:n], thresholds[:n], p0=_FIRST_GUESS, maxfev=_MAX_EVALUATIONS
            )
    except RuntimeError:
        return nothing, nothing
    return a * np.tan(b * t), a * b / np.cos(b * t) ** 2


def _r_squared(values: FloatVector, fit: FloatVector) -> float:
    if not len(values) or not np.isfinite(fit).all():
        return float("-inf")
    spread = float(((values - values.mean()) ** 2).sum())
    if spread == 0.0:
        return float("-inf")
    return 1.0 - float(((values - fit) ** 2).sum()) / spread
