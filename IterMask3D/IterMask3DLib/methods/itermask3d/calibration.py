"""What a model leaves masked in healthy brains, by which the numbers it is used with are chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from IterMask3DLib.runtime.device import Runner
from IterMask3DLib.core.image import Curve
from IterMask3DLib.runtime.distributed import share, together
from IterMask3DLib.methods.itermask3d.threshold import CurveSettings, fit_curve
from IterMask3DLib.methods.itermask3d.loop import Case, Settings, Sweep, result_of, shrink, sweep

GAMMAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)
GAMMA_LIMIT = 0.02
"""Share of a healthy brain that gamma may leave masked on average."""

TIMES_MEDIAN = (10.0, 12.0, 15.0, 18.0, 21.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 60.0, 70.0, 85.0, 100.0)

CaseOf = Callable[[int], Case]
"""A healthy volume by its number, ready for the method."""


def shares_by_gamma(runner: Runner, count: int, case_of: CaseOf, settings: Settings) -> dict[float, list[float]]:
    """For each of `GAMMAS`, the share of each healthy brain that is taken for anomalous; one sweep a volume serves every gamma."""
    return _gathered(count, GAMMAS, lambda number: _by_gamma(runner, case_of(number), settings))


def shares_by_median(runner: Runner, count: int, case_of: CaseOf, settings: Settings, limit: float) -> dict[float, list[float]]:
    """For `TIMES_MEDIAN` from the smallest to the first whose mean is at most `limit`, the share of each healthy brain taken for anomalous."""
    shares: dict[float, list[float]] = {}
    sweeps: dict[int, Sweep] = {}
    for times in TIMES_MEDIAN:
        shares |= _gathered(count, (times,), partial(_at_median, runner, case_of, sweeps, _with(settings, times)))
        if np.mean(shares[times]) <= limit:
            break
    return shares


def smallest_within(shares: Mapping[float, Sequence[float]], limit: float) -> float:
    """The smallest value whose mean share is at most `limit`; the largest value if there is none."""
    return next((value for value in sorted(shares) if np.mean(shares[value]) <= limit), max(shares))


def told(shares: Mapping[float, Sequence[float]], name: str) -> dict[str, dict[str, float]]:
    """Shares as a card holds them: mean and worst by value."""
    return {f"{name} {value:g}": {"mean": round(float(np.mean(s)), 5), "worst": round(max(s), 5)} for value, s in shares.items()}


def _gathered(count: int, values: Sequence[float], shares_of: Callable[[int], list[float]]) -> dict[float, list[float]]:
    """The shares of all volumes by value; every process takes its part of the volumes."""
    mine = [(number, shares_of(number)) for number in share(range(count))]
    everyone = [shares for _, shares in sorted(row for part in together(mine) for row in part)]
    return {value: [shares[i] for shares in everyone] for i, value in enumerate(values)}


def _by_gamma(runner: Runner, case: Case, settings: Settings) -> list[float]:
    swept = result_of(sweep(case, runner, settings))
    shares, known = [], {}
    for gamma in GAMMAS:
        limits = settings.curve
        curve, _ = fit_curve(swept.thresholds, CurveSettings(gamma, limits.y_limit, limits.r_squared_limit))
        # Gammas that choose the same threshold leave the same mask.
        if curve.chosen not in known:
            known[curve.chosen] = _share(runner, case, curve, settings)
        shares.append(known[curve.chosen])
    return shares


def _with(settings: Settings, times: float) -> Settings:
    return replace(settings, curve=replace(settings.curve, times_median=times))


def _at_median(runner: Runner, case_of: CaseOf, sweeps: dict[int, Sweep], settings: Settings, number: int) -> list[float]:
    case = case_of(number)
    if number not in sweeps:
        sweeps[number] = result_of(sweep(case, runner, settings))
    curve, _ = fit_curve(sweeps[number].thresholds, settings.curve, sweeps[number].median)
    return [_share(runner, case, curve, settings)]


def _share(runner: Runner, case: Case, curve: Curve, settings: Settings) -> float:
    result = result_of(shrink(case, runner, curve, settings, case.brain, first=settings.passes + 1))
    return result.mask_size / int(case.brain.sum())
