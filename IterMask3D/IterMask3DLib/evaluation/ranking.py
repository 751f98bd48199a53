"""How well a score ranks what is anomalous above what is not: for voxels of a brain, and for whole volumes.

Each figure comes for many draws of a bootstrap at once: `weights` [draws, n] is the number of times a draw holds each
entry, and a figure is [draws], NaN where a draw lacks true or false entries. `of_all` is the figure of all entries.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Truth = NDArray[np.bool_]
Weights = NDArray[np.float64]


def of_all(figure: Callable[..., NDArray[np.float64]], scores: Scores, truth: Truth) -> float | None:
    """A figure of all entries [n], each once; None unless there are true and false ones."""
    value = float(figure(scores, truth, np.ones((1, len(scores))))[0])
    return None if np.isnan(value) else value


def roc_auc(scores: Scores, truth: Truth, weights: Weights) -> NDArray[np.float64]:
    """Probability that a true entry scores above a false one, ties counting half.

    For voxels, give those of the brain alone: the published code counts the background, which every method scores 0,
    and so inflates the area.
    """
    true, false = (np.pad(count, ((0, 0), (1, 0))) for count in _shares(*_cumulated(scores, truth, weights)))
    return np.asarray(np.sum(np.diff(false) * (true[:, 1:] + true[:, :-1]) / 2, axis=1))


def average_precision(scores: Scores, truth: Truth, weights: Weights) -> NDArray[np.float64]:
    """Mean precision over the steps of recall, as scikit-learn defines it."""
    true, false = _cumulated(scores, truth, weights)
    recall, _ = _shares(true, false)
    steps = np.diff(np.pad(recall, ((0, 0), (1, 0))))
    return np.asarray(np.sum(steps * true / np.maximum(true + false, 1), axis=1))


def false_positive_rate(scores: Scores, truth: Truth, weights: Weights, sensitivity: float) -> NDArray[np.float64]:
    """The lowest false positive rate of a threshold whose true positive rate is at least `sensitivity`.

    What the published code prints as "FNR80" is 1 - TPR where TPR first reaches 0.2: another quantity.
    """
    true, false = _shares(*_cumulated(scores, truth, weights))
    first = np.argmax(true >= sensitivity - 1e-12, axis=1)
    return np.asarray(false[np.arange(len(false)), first])


def _shares(true: Weights, false: Weights) -> list[Weights]:
    """Of all true and of all false entries; both NaN in a draw that lacks one kind."""
    both = (true[:, -1:] > 0) & (false[:, -1:] > 0)
    return [np.where(both, each / np.maximum(each[:, -1:], 1), np.nan) for each in (true, false)]


def _cumulated(scores: Scores, truth: Truth, weights: Weights) -> tuple[Weights, Weights]:
    """True and false entries at or above each distinct score, from the highest down: two of [draws, scores]."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores, sorted_truth, sorted_weights = scores[order], truth[order], weights[:, order]
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    true = np.cumsum(sorted_weights * sorted_truth, axis=1)[:, last]
    return true, np.cumsum(sorted_weights, axis=1)[:, last] - true
