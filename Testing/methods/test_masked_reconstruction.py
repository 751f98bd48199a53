"""What the network is given of a brain, and how its residual becomes an error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.methods.itermask3d.masked_reconstruction import MaskedReconstruction, NetworkInput
from Testing.methods.published import mean_filter, no_noise


def ball(shape: tuple[int, int, int] = (64, 48, 80), radius: float = 15.0) -> NetworkInput:
    rng = np.random.default_rng(3)
    distance = np.sqrt(sum((axis - side / 2 - 2) ** 2 for axis, side in zip(np.indices(shape), shape, strict=True)))
    brain = distance < radius
    volume = np.where(brain, rng.normal(size=shape), 0).astype(np.float32)
    return NetworkInput(volume, np.zeros(shape, np.float32), brain, (2.0, 1.0, 1.0))


def errors_of(given: NetworkInput, mask: BoolVolume, smoothing: float = 0.0) -> FloatVolume:
    passes = MaskedReconstruction(given, mean_filter, no_noise, smoothing)
    return passes.error_map(passes.forward(passes.brain_part(mask), draw=1))


def test_an_error_is_the_square_of_the_residual_smoothed_inside_the_brain() -> None:
    given = ball()
    hidden = given.brain & (np.arange(given.brain.shape[0]) > 30)[:, None, None]
    output = mean_filter(torch.from_numpy(np.where(hidden, 0, given.volume))[None, None])[0, 0].numpy()
    residual = np.where(given.brain, output - given.volume, 0).astype(np.float64)
    # 3 mm are 1.5 voxels along the first axis, which is coarser.
    weighted = (residual, given.brain.astype(np.float64))
    total, weight = (ndimage.gaussian_filter(a, (1.5, 3.0, 3.0), mode="constant") for a in weighted)
    wanted = np.where(given.brain, (total / np.maximum(weight, 0.01)) ** 2, 0)
    np.testing.assert_allclose(errors_of(given, hidden, smoothing=3.0), wanted, rtol=1e-3, atol=1e-6)


def test_errors_are_divided_by_those_of_healthy_brains_where_they_are_known() -> None:
    given = ball()
    normative = np.random.default_rng(1).uniform(0.5, 3, given.volume.shape).astype(np.float32)
    plain = errors_of(given, given.brain)
    divided = errors_of(replace(given, normative_error=normative), given.brain)
    np.testing.assert_allclose(divided, plain / normative, rtol=1e-6)


def test_only_hidden_voxels_are_replaced_by_noise() -> None:
    given, inputs = ball(), []

    def network(channels: torch.Tensor) -> torch.Tensor:
        inputs.append(channels.clone())
        return channels[:, :1]

    def noise(number: int, voxels: int) -> np.ndarray:
        return np.full(voxels, 100.0 + number, dtype=np.float32)

    passes = MaskedReconstruction(given, network, noise)
    half = given.brain & (np.arange(given.brain.shape[1]) > 24)[None, :, None]
    for number, mask in ((1, given.brain), (2, half)):
        passes.forward(passes.brain_part(mask), draw=number)
        wanted = np.where(mask, np.float32(100 + number), given.volume)
        np.testing.assert_array_equal(inputs[-1][0, 0].numpy(), wanted)
        np.testing.assert_array_equal(inputs[-1][0, 1].numpy(), given.high_frequency)
