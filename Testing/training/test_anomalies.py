"""Synthetic anomalies: their shapes, their kinds, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from IterMask3DLib.training.anomalies import PAINTERS, AnomalyPlan, Site, draw_shape, with_anomalies
from Testing.training.tissues import ball, far_from, tissues


def test_a_shape_has_the_volume_that_was_drawn_and_stays_in_the_brain() -> None:
    brain = np.ones((64, 64, 64), dtype=bool)
    plan = AnomalyPlan(small_share=0.0, large_ml=(8.0, 8.0001), ruggedness=(0.0, 0.0), edge_mm=(0.8, 0.8))
    inside = []
    for seed in range(40):
        shape = draw_shape(brain, 2.0, plan, np.random.default_rng(seed))
        assert shape.alpha.min() >= 0 and shape.alpha.max() <= 1
        if all(12 < s.start + c < 52 for s, c in zip(shape.box, shape.centre, strict=True)):
            inside.append((shape.alpha > 0.5).sum() * 0.008)
    assert len(inside) > 5 and np.mean(inside) == pytest.approx(8, rel=0.05)
    small = ball()
    for seed in range(20):
        shape = draw_shape(small, 2.0, AnomalyPlan(), np.random.default_rng(seed))
        assert not shape.alpha[~small[shape.box]].any()


def test_nothing_but_the_anomalies_changes_and_their_extent_is_told() -> None:
    volume, brain = tissues()
    counts = []
    for seed in range(60):
        ill, extent = with_anomalies(volume, brain, 2.0, AnomalyPlan(), np.random.default_rng(seed))
        again, _ = with_anomalies(volume, brain, 2.0, AnomalyPlan(), np.random.default_rng(seed))
        np.testing.assert_array_equal(ill, again)
        assert (
            ill.dtype == np.float32
            and ill.min() >= 0
            and not extent[~brain].any()
            and 0 <= extent.min() <= extent.max() <= 1
        )
        far = far_from(extent)
        np.testing.assert_allclose(ill[far], volume[far], atol=1e-3)
        counts.append(bool(extent.any()))
    assert 0.7 < np.mean(counts) < 0.98
    none = AnomalyPlan(counts=(1.0,))
    np.testing.assert_array_equal(with_anomalies(volume, brain, 2.0, none, np.random.default_rng(0))[0], volume)


@pytest.mark.parametrize("kind", PAINTERS)
def test_each_kind_changes_the_brain_where_the_shape_is(kind: str) -> None:
    volume, brain = tissues()
    plan = AnomalyPlan(small_share=0.0, large_ml=(5.0, 20.0))
    changes = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shape = draw_shape(brain, 2.0, plan, rng)
        changed = PAINTERS[kind](Site(volume, brain, 2.0, shape), plan, rng)
        assert changed.shape == shape.alpha.shape and np.isfinite(changed).all()
        if kind != "mass":
            np.testing.assert_allclose(changed[shape.alpha == 0], volume[shape.box][shape.alpha == 0], atol=1e-4)
        changes.append(np.abs(changed - volume[shape.box])[shape.alpha > 0.9].mean() / volume[brain].std())
    assert np.mean(changes) > 0.2
