"""Intervals for figures of a set, by drawing its subjects again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 2000
Weights = NDArray[np.float64]
"""How often each draw holds each case [draws, cases]."""
Statistic = Callable[[Weights], NDArray[np.float64]]
"""A figure for every draw [draws]; NaN where it has no meaning."""


class Estimate(NamedTuple):
    """A figure with its 95 % interval, NaN where it has no meaning, and from how many cases it was computed."""

    value: float
    low: float
    high: float
    cases: int


def estimate(subjects: Sequence[str], statistic: Statistic, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """A figure and its percentile bootstrap interval over subjects.

    Args:
        subjects: whose each case is [n]; a subject is drawn with all of its cases, because they are not independent.
        statistic: the figure. Draws for which it has no meaning are left out.
    """
    count = len(subjects)
    value = float(statistic(np.ones((1, count)))[0]) if count else np.nan
    if np.isnan(value):
        return Estimate(np.nan, np.nan, np.nan, count)
    figures = statistic(_drawn(tuple(subjects), seed, draws))
    known = figures[~np.isnan(figures)]
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (value, value)
    return Estimate(value, float(low), float(high), count)


def mean_of(values: ArrayLike) -> Statistic:
    """The mean over the cases whose value is known (not None, not NaN)."""
    array = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(array)

    def mean(weights: Weights) -> NDArray[np.float64]:
        chosen = weights[:, known]
        with np.errstate(invalid="ignore"):
            return np.asarray(chosen @ array[known] / chosen.sum(axis=1))

    return mean


def highest_mean_of(curves: NDArray[np.float64]) -> Statistic:
    """The highest point of the mean curve over the cases; `curves`: [cases, points]."""

    def highest(weights: Weights) -> NDArray[np.float64]:
        return np.asarray((weights @ curves / weights.sum(axis=1, keepdims=True)).max(axis=1))

    return highest


def ratio_of(above: ArrayLike, below: ArrayLike) -> Statistic:
    """The sum of the one over the sum of the other: a share of all lesions, say, whosever they are."""
    over, under = (np.asarray(each, dtype=np.float64) for each in (above, below))

    def ratio(weights: Weights) -> NDArray[np.float64]:
        total = weights @ under
        return np.where(total > 0, (weights @ over) / np.maximum(total, 1e-12), np.nan)

    return ratio


def froc_sensitivity(
    found: NDArray[np.float64], false: NDArray[np.float64], lesions: ArrayLike, most: float
) -> Statistic:
    """The highest share of all lesions that one threshold finds with at most `most` false components a case.

    Args:
        found, false: lesions found and false components [cases, thresholds], NaN where a threshold is not judged.
        lesions: true ones of each case [cases].
    """
    judged = ~np.isnan(false).any(axis=0)
    hits, wrong, total = found[:, judged], false[:, judged], np.asarray(lesions, dtype=np.float64)

    def highest(weights: Weights) -> NDArray[np.float64]:
        allowed = weights @ wrong <= most * weights.sum(axis=1, keepdims=True)
        of_all = weights @ total
        best = np.where(allowed, weights @ hits, 0).max(axis=1, initial=0)
        return np.where(of_all > 0, best / np.maximum(of_all, 1), np.nan)

    return highest


@lru_cache(maxsize=32)
def _drawn(subjects: tuple[str, ...], seed: int, draws: int) -> Weights:
    """The same draws for every figure of the same cases, so that a column compares figures on the same subjects."""
    names = sorted(set(subjects))
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return times[:, [names.index(subject) for subject in subjects]].astype(np.float64)
