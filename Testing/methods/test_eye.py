"""What the network sees of a brain, and how its residual becomes an error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.methods.itermask3d.masked_reconstruction import Case, Eye
from Testing.engine.published import mean_filter, no_noise


def ball_case(shape: tuple[int, int, int] = (64, 48, 80), radius: float = 15.0) -> Case:
    rng = np.random.default_rng(3)
    distance = np.sqrt(sum((axis - side / 2 - 2) ** 2 for axis, side in zip(np.indices(shape), shape, strict=True)))
    brain = distance < radius
    volume = np.where(brain, rng.normal(size=shape), 0).astype(np.float32)
    return Case(volume, np.zeros(shape, np.float32), brain, (2.0, 1.0, 1.0))


def errors_of(case: Case, mask: BoolVolume, smoothing: float = 0.0) -> FloatVolume:
    eye = Eye(case, mean_filter, no_noise, smoothing)
    return eye.error_map(eye.look(eye.brain_part(mask), draw=1))


def test_an_error_is_the_square_of_the_residual_smoothed_inside_the_brain() -> None:
    case = ball_case()
    hidden = case.brain & (np.arange(case.brain.shape[0]) > 30)[:, None, None]
    residual = np.where(
        case.brain, mean_filter(torch.from_numpy(np.where(hidden, 0, case.volume))[None, None]).numpy() - case.volume, 0
    ).astype(np.float64)
    # 3 mm are 1.5 voxels along the first axis, which is coarser.
    blurred = [ndimage.gaussian_filter(a, (1.5, 3.0, 3.0), mode="constant") for a in (residual, case.brain.astype(np.float64))]
    wanted = np.where(case.brain, (blurred[0] / np.maximum(blurred[1], 0.01)) ** 2, 0)
    np.testing.assert_allclose(errors_of(case, hidden, smoothing=3.0), wanted, rtol=1e-3, atol=1e-6)


def test_errors_are_divided_by_those_of_healthy_brains_where_they_are_known() -> None:
    case = ball_case()
    expected = np.random.default_rng(1).uniform(0.5, 3, case.volume.shape).astype(np.float32)
    plain = errors_of(case, case.brain)
    np.testing.assert_allclose(errors_of(replace(case, expected=expected), case.brain), plain / expected, rtol=1e-6)


def test_only_hidden_voxels_are_replaced_by_noise() -> None:
    case, seen = ball_case(), []

    def watch(channels: torch.Tensor) -> torch.Tensor:
        seen.append(channels.clone())
        return channels[0, 0]

    def noise(number: int, voxels: int) -> np.ndarray:
        return np.full(voxels, 100.0 + number, dtype=np.float32)

    eye = Eye(case, watch, noise)
    half = case.brain & (np.arange(case.brain.shape[1]) > 24)[None, :, None]
    for number, mask in ((1, case.brain), (2, half)):
        eye.look(eye.brain_part(mask), draw=number)
        np.testing.assert_array_equal(seen[-1][0, 0].numpy(), np.where(mask, np.float32(100 + number), case.volume))
