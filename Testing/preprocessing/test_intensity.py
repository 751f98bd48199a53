"""Intensity scales against their formulas, and back."""

from __future__ import annotations

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.preprocessing.intensity import BACKGROUND, SCALES, scale_named

RNG = np.random.default_rng(0)
BRAIN = RNG.random((12, 10, 8)) < 0.7
VOLUME = np.where(BRAIN, RNG.gamma(3.0, 90.0, BRAIN.shape), 0).astype(np.float32)


@pytest.mark.parametrize(("name", "limit"), [("zscore_clip3", 3), ("zscore_clip5", 5)])
def test_z_scores_are_cut_at_their_limit(name: str, limit: float) -> None:
    values = VOLUME[BRAIN].astype(np.float64)
    scaled, scale = scale_named(name)(VOLUME, BRAIN)
    np.testing.assert_allclose(
        scaled[BRAIN], np.clip((values - values.mean()) / values.std(), -limit, limit), atol=1e-5
    )
    assert (scaled[~BRAIN] == BACKGROUND).all()
    kept = np.abs(scaled[BRAIN]) < limit
    np.testing.assert_allclose(scale.back(scaled)[BRAIN][kept], VOLUME[BRAIN][kept], rtol=1e-4, atol=1e-2)


def test_the_reversed_scale_makes_the_brightest_darkest_and_back() -> None:
    values = VOLUME[BRAIN].astype(np.float64)
    scaled, scale = scale_named("reversed_zscore_clip5")(VOLUME, BRAIN)
    logarithm = -np.log(np.maximum(values / np.median(values), 0.1))
    wanted = np.clip((logarithm - logarithm.mean()) / logarithm.std(), -5, 5)
    np.testing.assert_allclose(scaled[BRAIN], wanted, atol=1e-5)
    assert scaled[BRAIN].argmin() == values.argmax() and scaled.dtype == np.float32
    kept = values > 0.1 * np.median(values)
    np.testing.assert_allclose(scale.back(scaled)[BRAIN][kept], values[kept], rtol=1e-4)
    assert scale.back(scaled)[BRAIN].min() >= 0.0999 * np.median(values)


def test_a_volume_without_a_logarithm_and_a_scale_that_is_not_known_are_refused() -> None:
    with pytest.raises(UserError, match="median of the brain is not above 0"):
        scale_named("reversed_zscore_clip5")(VOLUME - 1000, BRAIN)
    with pytest.raises(UserError, match="scale magic is not known here; known are zscore_clip3"):
        scale_named("magic")


def test_a_method_can_add_a_scale_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCALES, "own", SCALES["zscore_clip3"])
    np.testing.assert_array_equal(scale_named("own")(VOLUME, BRAIN)[0], scale_named("zscore_clip3")(VOLUME, BRAIN)[0])
