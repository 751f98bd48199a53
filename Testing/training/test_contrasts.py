"""Contrasts: smooth fields, levels of tissues, and the curves that are drawn for each contrast."""

from __future__ import annotations

import numpy as np
import pytest

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import polynomials
from IterMask3DLib.training.contrasts import (
    NODES,
    PALETTES,
    draw_curve,
    node_maps,
    tissue_levels,
    without_smooth_bias,
)
from IterMask3DLib.training.options import CONTRASTS, contrast_shares
from IterMask3DLib.training.smooth_fields import random_field
from Testing.training.tissues import SHAPE, tissues


@pytest.mark.parametrize(("order", "terms"), [(0, 1), (1, 4), (2, 10), (3, 20)])
def test_polynomials_are_all_products_of_powers(order: int, terms: int) -> None:
    found = polynomials(np.array([[0, 0, 0], [10, 4, 3]]), (11, 9, 5), order)
    assert found.shape == (2, terms)
    # The last corner of the first axis, the middle of the second, half way to the end of the third.
    x, y, z = 1.0, 0.0, 0.5
    wanted = [x**i * y**j * z**k for i in range(order + 1) for j in range(order + 1) for k in range(order + 1)
              if i + j + k <= order]  # fmt: skip
    np.testing.assert_allclose(sorted(found[1]), sorted(wanted))


def test_a_random_field_has_standard_deviation_1_and_changes_over_its_grain() -> None:
    field = random_field((60, 50, 40), 10.0, np.random.default_rng(1))
    assert field.shape == (60, 50, 40) and field.std() == pytest.approx(1, abs=1e-4)
    near, far = ((field[:-step] - field[step:]).std() for step in (1, 20))
    assert near < 0.25 and far > 1


def test_a_curve_of_the_maps_is_the_curve_of_the_intensity() -> None:
    counted = np.random.default_rng(0).uniform(NODES[0], NODES[-1], (5, 6, 7)).astype(np.float32)
    maps = np.stack(list(node_maps(counted)))
    np.testing.assert_allclose(maps.sum(axis=0), 1, atol=1e-5)
    curve = np.random.default_rng(1).uniform(size=len(NODES))
    np.testing.assert_allclose(np.tensordot(curve, maps, 1), np.interp(counted, NODES, curve), atol=1e-5)


def test_the_levels_of_three_tissues_are_found_and_counted() -> None:
    volume, brain = tissues()
    levels = tissue_levels(volume[brain])
    assert (levels.grey, levels.white) == pytest.approx((110, 170), abs=3)
    assert levels.fluid == pytest.approx(40, abs=5)
    np.testing.assert_allclose(
        levels.counted(np.array([levels.fluid, levels.grey, levels.white])), [0, 1, 2], atol=1e-5
    )
    assert levels.counted(np.array([-1e4, 1e4])).tolist() == pytest.approx([NODES[0], NODES[-1]])


def test_a_smooth_bias_field_is_taken_out() -> None:
    volume, brain = tissues()
    bias = np.exp(0.3 * np.linspace(-1, 1, SHAPE[0]))[:, None, None]
    even = without_smooth_bias((volume * bias).astype(np.float32), brain)
    assert not even[~brain].any()
    ratio = np.log(even[brain] / volume[brain])
    assert ratio.std() < 0.15 * np.log(bias * np.ones(SHAPE))[brain].std()


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_the_tissues_of_a_contrast_are_in_its_order(contrast: str) -> None:
    assert tuple(PALETTES) == CONTRASTS
    order = {"T1w": [0, 1, 2], "T2w": [2, 1, 0], "FLAIR": [0, 2, 1]}[contrast]
    for seed in range(30):
        curve = draw_curve(contrast, np.random.default_rng(seed))
        levels = [float(np.interp(tissue, NODES, curve)) for tissue in (0, 1, 2)]
        assert curve.min() >= 0 and levels[order[0]] < levels[order[2]]
    means = np.mean([draw_curve(contrast, np.random.default_rng(seed)) for seed in range(200)], axis=0)
    assert np.argsort([np.interp(tissue, NODES, means) for tissue in (0, 1, 2)]).tolist() == order


def test_shares_of_contrasts_add_up_and_others_are_refused() -> None:
    assert contrast_shares(("T1w=1", "FLAIR=3")) == {"T1w": 0.25, "FLAIR": 0.75}
    assert contrast_shares(("T1w", "T2w")) == {"T1w": 0.5, "T2w": 0.5}
    for text in ("PD", "T1w=none", "T1w=0", "T1w=-1", "T1w=inf"):
        with pytest.raises(UserError, match=r"T1w=0\.5,FLAIR=0\.5"):
            contrast_shares((text,))
