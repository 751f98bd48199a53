"""How well a score ranks what is anomalous above what is not: for voxels of a brain, and for whole volumes.

Each figure comes twice: of all entries, and for a bootstrap of every draw of them, which is the number of times it
holds each entry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Truth = NDArray[np.bool_]
Weights = NDArray[np.float64]


def roc_auc(scores: Scores, truth: Truth) -> float | None:
    """Probability that a true entry [n] scores above a false one, ties counting half; None unless there are both.

    For voxels, give those of the brain alone: the published code counts the background, which every method scores 0,
    and so inflates the area.
    """
    return _number(roc_aucs(scores, truth, _once(scores)))


def average_precision(scores: Scores, truth: Truth) -> float | None:
    """Mean precision over the steps of recall, as scikit-learn defines it; None unless there are both [n]."""
    return _number(average_precisions(scores, truth, _once(scores)))


def false_positive_rate_at(scores: Scores, truth: Truth, sensitivity: float) -> float | None:
    """The lowest false positive rate where the true one is at least `sensitivity`; None unless there are both.

    What the published code prints as "FNR80" is 1 - TPR where TPR first reaches 0.2: another quantity.
    """
    return _number(false_positive_rates_at(scores, truth, sensitivity, _once(scores)))


def roc_aucs(scores: Scores, truth: Truth, weights: Weights) -> NDArray[np.float64]:
    """`roc_auc` of each draw; `weights`: [draws, n]; returns [draws], NaN where a draw has not both kinds."""
    true, false = (np.pad(count, ((0, 0), (1, 0))) for count in _shares(*_cumulated(scores, truth, weights)))
    return np.asarray(np.sum(np.diff(false) * (true[:, 1:] + true[:, :-1]) / 2, axis=1))


def average_precisions(scores: Scores, truth: Truth, weights: Weights) -> NDArray[np.float64]:
    """`average_precision` of each draw; shapes as in `roc_aucs`."""
    true, false = _cumulated(scores, truth, weights)
    recall, _ = _shares(true, false)
    steps = np.diff(np.pad(recall, ((0, 0), (1, 0))))
    return np.asarray(np.sum(steps * true / np.maximum(true + false, 1), axis=1))


def false_positive_rates_at(scores: Scores, truth: Truth, sensitivity: float, weights: Weights) -> NDArray[np.float64]:
    """`false_positive_rate_at` of each draw; shapes as in `roc_aucs`."""
    true, false = _shares(*_cumulated(scores, truth, weights))
    first = np.argmax(true >= sensitivity - 1e-12, axis=1)
    return np.asarray(false[np.arange(len(false)), first])


def _once(scores: Scores) -> Weights:
    return np.ones((1, len(scores)))


def _number(figures: NDArray[np.float64]) -> float | None:
    return None if np.isnan(figures[0]) else float(figures[0])


def _shares(true: Weights, false: Weights) -> tuple[Weights, Weights]:
    """Of all true and of all false entries; both NaN in a draw that lacks one kind."""
    both = (true[:, -1:] > 0) & (false[:, -1:] > 0)
    of_true, of_false = (np.where(both, each / np.maximum(each[:, -1:], 1), np.nan) for each in (true, false))
    return of_true, of_false


def _cumulated(scores: Scores, truth: Truth, weights: Weights) -> tuple[Weights, Weights]:
    """True and false entries at or above each distinct score, from the highest down: two of [draws, scores]."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores, sorted_truth, sorted_weights = scores[order], truth[order], weights[:, order]
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    true = np.cumsum(sorted_weights * sorted_truth, axis=1)[:, last]
    return true, np.cumsum(sorted_weights, axis=1)[:, last] - true
