"""Interpolation by a matrix an axis is scipy's interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from IterMask3DLib.preprocessing.resampling import along_axes, gaussian, linear


@pytest.mark.parametrize("factor", [(2.0, 1.7, 0.6), (1.0, 1.0, 1.0), (0.5, 3.1, 2.0)])
@pytest.mark.parametrize("sigma", [0.0, 0.9])
def test_it_equals_the_general_routine(factor: tuple[float, ...], sigma: float) -> None:
    values = np.random.default_rng(5).normal(size=(19, 24, 17)).astype(np.float32)
    offset, shape = (-2.3, 1.0, 4.6), (16, 20, 18)
    smoothed = ndimage.gaussian_filter(values.astype(np.float64), sigma) if sigma else values.astype(np.float64)
    wanted = ndimage.affine_transform(smoothed, factor, offset, output_shape=shape, order=1, mode="grid-constant")
    matrices = [
        linear(n, m, f, o) @ gaussian(m, sigma) for n, m, f, o in zip(shape, values.shape, factor, offset, strict=True)
    ]
    ours = along_axes(values, matrices)
    assert ours.dtype == np.float32 and ours.shape == shape and ours.flags.c_contiguous
    np.testing.assert_allclose(ours, wanted, atol=1e-6)


def test_whole_steps_on_the_same_grid_copy_the_values() -> None:
    values = np.random.default_rng(6).normal(size=(6, 7, 8)).astype(np.float32)
    shifted = along_axes(values, [linear(6, 6, 1.0, 2.0), linear(7, 7, 1.0, 0.0), linear(8, 8, 1.0, -1.0)])
    np.testing.assert_array_equal(shifted[:4, :, 1:], values[2:, :, :-1])
    assert not shifted[4:].any() and not shifted[:, :, 0].any()
