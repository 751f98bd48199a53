"""How well a score ranks what is anomalous above what is not: for voxels of a brain, and for whole volumes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]


def roc_auc(scores: Scores, truth: NDArray[np.bool_]) -> float | None:
    """Probability that a true entry [n] scores above a false one, ties counting half; None unless there are both.

    For voxels, give those of the brain alone: the published code counts the background, which every method scores 0, and so inflates the area.
    """
    counts = _cumulated(scores, truth)
    if counts is None:
        return None
    true, false = (np.concatenate([[0], c]) / c[-1] for c in counts)
    return float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))


def average_precision(scores: Scores, truth: NDArray[np.bool_]) -> float | None:
    """Mean precision over the steps of recall, as scikit-learn defines it; None unless there are true and false entries [n]."""
    counts = _cumulated(scores, truth)
    if counts is None:
        return None
    true, false = counts
    return float(np.sum(np.diff(true, prepend=0) / true[-1] * true / (true + false)))


def false_positive_rate_at(scores: Scores, truth: NDArray[np.bool_], sensitivity: float) -> float | None:
    """The lowest false positive rate of a threshold whose true positive rate is at least `sensitivity`; None unless both kinds are there.

    What the published code prints as "FNR80" is 1 - TPR where TPR first reaches 0.2: another quantity.
    """
    counts = _cumulated(scores, truth)
    if counts is None:
        return None
    true, false = counts
    return float(false[np.argmax(true / true[-1] >= sensitivity - 1e-12)] / false[-1])


def _cumulated(scores: Scores, truth: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """True and false entries at or above each distinct score, from the highest down."""
    if not truth.any() or truth.all():
        return None
    order = np.argsort(-scores, kind="stable")
    sorted_scores, sorted_truth = scores[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    true = np.cumsum(sorted_truth)[last]
    return true, last + 1 - true
