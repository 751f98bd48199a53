"""Areas and rates of rankings, beside scikit-learn, and their intervals."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from IterMask3DLib.evaluation.bootstrap import estimate, mean_of
from IterMask3DLib.evaluation.ranking import average_precision, false_positive_rate, of_all, roc_auc


def rate_at(scores: np.ndarray, truth: np.ndarray, sensitivity: float) -> float | None:
    return of_all(partial(false_positive_rate, sensitivity=sensitivity), scores, truth)


def drawn(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(500) < 0.2
    scores = rng.normal(size=500) + 0.8 * truth
    return (np.round(scores, 1) if ties else scores), truth


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_areas_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, truth = drawn(seed, ties)
    assert of_all(roc_auc, scores, truth) == pytest.approx(sklearn.roc_auc_score(truth, scores), abs=1e-12)
    assert of_all(average_precision, scores, truth) == pytest.approx(
        sklearn.average_precision_score(truth, scores), abs=1e-12
    )
    rates, sensitivities, _ = sklearn.roc_curve(truth, scores, drop_intermediate=False)
    for wanted in (0.8, 0.9):
        assert rate_at(scores, truth, wanted) == pytest.approx(rates[sensitivities >= wanted][0])


def test_areas_by_hand() -> None:
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    truth = np.array([True, False, True, False])
    assert of_all(roc_auc, scores, truth) == 0.75
    assert of_all(average_precision, scores, truth) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert rate_at(scores, truth, 0.5) == 0.0
    assert rate_at(scores, truth, 0.8) == 0.5
    assert of_all(roc_auc, np.zeros(4), truth) == 0.5


def test_one_kind_alone_has_no_ranking() -> None:
    for truth in (np.zeros(3, bool), np.ones(3, bool)):
        assert of_all(roc_auc, np.arange(3.0), truth) is None
        assert of_all(average_precision, np.arange(3.0), truth) is None
        assert rate_at(np.arange(3.0), truth, 0.8) is None


def test_the_interval_of_a_mean_is_the_normal_one() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, size=400)
    found = estimate([f"s{n}" for n in range(400)], mean_of(list(values)), seed=1)
    error = values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)
    assert found == estimate([f"s{n}" for n in range(400)], mean_of(list(values)), seed=1)


def test_cases_of_a_subject_are_drawn_together() -> None:
    values = list(np.random.default_rng(0).normal(size=20))
    repeated, subjects = values * 10, [f"s{n}" for n in range(20)] * 10
    alone = estimate([f"s{n}" for n in range(20)], mean_of(values))
    together = estimate(subjects, mean_of(repeated))
    # Ten copies of every case tell nothing new.
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=1e-9)


def test_unknown_values_are_left_out_of_means() -> None:
    found = estimate(["a", "b", "c"], mean_of([1.0, None, 3.0]))
    assert found.value == 2.0 and found.low == 1.0 and found.high == 3.0
    assert np.isnan(estimate(["a"], mean_of([None]))[:3]).all()
    assert np.isnan(estimate([], mean_of([])).value)
