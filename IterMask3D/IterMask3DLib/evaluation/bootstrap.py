"""Intervals for figures of a set, by drawing its subjects again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
Statistic = Callable[[NDArray[np.int64]], float | None]
"""A figure of the cases with the given numbers (a number may come several times); None where it has no meaning."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; all None where the figure has no meaning. `cases`: how many it was computed from."""

    value: float | None
    low: float | None
    high: float | None
    cases: int


def estimate(subjects: Sequence[str], statistic: Statistic, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """A figure and its percentile bootstrap interval over subjects.

    `subjects`: whose each case is [n]; a subject is drawn with all of its cases, because they are not independent. Draws for which the figure has
    no meaning are left out.
    """
    every = np.arange(len(subjects))
    value = statistic(every) if len(subjects) else None
    if value is None:
        return Estimate(None, None, None, len(subjects))
    names = sorted(set(subjects))
    of_subject = [np.flatnonzero([subject == name for subject in subjects]) for name in names]
    rng = np.random.default_rng(seed)
    drawn = (statistic(np.concatenate([of_subject[n] for n in rng.integers(len(names), size=len(names))])) for _ in range(draws))
    values = [figure for figure in drawn if figure is not None]
    low, high = np.percentile(values, (2.5, 97.5)) if values else (None, None)
    return Estimate(value, _number(low), _number(high), len(subjects))


def mean_of(values: Sequence[float | None]) -> Statistic:
    """The mean over the cases whose value is known."""
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = ~np.isnan(array)

    def mean(cases: NDArray[np.int64]) -> float | None:
        chosen = cases[known[cases]]
        return float(array[chosen].mean()) if len(chosen) else None

    return mean


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
