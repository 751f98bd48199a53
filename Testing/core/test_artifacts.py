"""Findings beside layers survive as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from IterMask3DLib.core.artifacts import MaskHistory, ThresholdCurve, artifact_from

CURVE = ThresholdCurve(
    thresholds=np.array([0.1, 0.25, 0.7]),
    fit=np.array([0.12, 0.2, np.nan]),
    derivative=np.array([0.15, 0.15, 0.45]),
    r_squared=0.93,
    used_fit=True,
    gamma=0.05,
    chosen=1,
    median=0.2,
    steps=(1, 1, 2),
)


@pytest.mark.parametrize(
    "curve",
    [
        CURVE,
        replace(CURVE, r_squared=float("-inf"), fit=np.full(3, np.nan), used_fit=False),
        replace(CURVE, fixed=0.4, by_hand=True),
    ],
)
def test_a_threshold_curve_comes_back_from_json(curve: ThresholdCurve) -> None:
    again = artifact_from("curve", json.loads(json.dumps(curve.to_record(), allow_nan=False)))
    assert isinstance(again, ThresholdCurve)
    for name in ThresholdCurve.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(curve, name), err_msg=name)
    assert again.threshold == curve.threshold


def test_the_history_of_a_mask_comes_back_from_json() -> None:
    history = MaskHistory((90, 40, 39), (0.1, 0.5, 0.025))
    assert artifact_from("shrink", json.loads(json.dumps(history.to_record()))) == history


def test_an_artifact_of_an_unknown_kind_is_left_out() -> None:
    assert artifact_from("unheard of", {"value": 1}) is None


def test_the_threshold_is_that_of_the_chosen_point_unless_it_is_fixed() -> None:
    assert CURVE.threshold == 0.25 and replace(CURVE, fixed=0.4).threshold == 0.4


def test_a_fit_is_drawn_up_to_its_pole_alone() -> None:
    t = np.arange(1, 101)
    fit = np.tan(0.02 * t)
    drawn = replace(CURVE, fit=fit).drawn_fit
    pole = int(np.pi / 2 / 0.02)
    np.testing.assert_array_equal(drawn[: pole - 1], fit[: pole - 1])
    assert np.isnan(drawn[pole + 1 :]).all()
