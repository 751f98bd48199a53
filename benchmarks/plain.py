"""The method executed as its public code executes it: the yardstick of the other benchmarks.

The network is made of the modules of its definition (nearest up-sampling, batch norm, dropout) in contiguous memory;
the error, the selection of its percentile and the masks take the whole volume; every pass leaves a float32 mask behind.
What a model's card adds to the paper is done alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.watch import Clock
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.itermask3d.loop import grown
from IterMask3DLib.methods.itermask3d.masked_reconstruction import NetworkInput
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.methods.itermask3d.normative_error import NORMATIVE_ERROR, normative_error_at
from IterMask3DLib.methods.itermask3d.settings import Settings
from IterMask3DLib.methods.itermask3d.threshold import fit_curve
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.noise import seeded_noise


@dataclass(frozen=True)
class PlainRun:
    """What the plain loop found.

    Attributes:
        mask: bool [x, y, z]; sweep, shrink: passes there were; whole: False where the run was ended before its time.
    """

    mask: BoolVolume
    sweep: int
    shrink: int
    whole: bool


def network_input(case: Prepared, model: Model, settings: Settings) -> NetworkInput:
    """What the passes of a prepared case are given."""
    volume = case.channels[0]
    expected = normative_error_at(model.assets[NORMATIVE_ERROR], case.brain) if settings.normative_error else None
    image = high_frequency(volume, case.spacing, settings.high_frequency_cutoff)
    return NetworkInput(volume, image, case.brain, case.spacing, expected)


@torch.inference_mode()
def plain_run(
    case: Prepared, model: Model, settings: Settings, seed: int, clock: Clock, passes: int | None = None
) -> PlainRun:
    """The loop as published.

    Args:
        clock: the network's own time goes to the part `network`, selection to `threshold`.
        passes: end after so many.
    """
    given, network = network_input(case, model, settings), model.networks[NETWORK]
    assert isinstance(network, UNet3D)
    volume, brain = torch.from_numpy(given.volume), torch.from_numpy(given.brain)
    image = torch.from_numpy(given.high_frequency)
    noise, number, voxels = seeded_noise(seed), 0, int(given.brain.sum())
    execute = clock.timed("network", network.execute_plainly())

    def select(error: torch.Tensor, t: float) -> float:
        rank = max(1, int(volume.numel() - voxels * (1 - t / settings.sweep_passes)))
        return float(error.reshape(-1).kthvalue(rank).values)

    threshold_of = clock.timed("threshold", select)
    sigmas = [settings.smoothing_mm / side for side in given.spacing]
    weight = np.maximum(gaussian_filter(given.brain.astype(np.float32), sigmas, mode="constant"), 0.01)
    expected = None if given.normative_error is None else torch.from_numpy(given.normative_error)

    def scored(residual: torch.Tensor) -> torch.Tensor:
        if settings.smoothing_mm:
            residual = torch.from_numpy(gaussian_filter((residual * brain).numpy(), sigmas, mode="constant") / weight)
        error = residual.square() * brain
        return error if expected is None else error / expected

    def error_under(mask: torch.Tensor) -> torch.Tensor:
        nonlocal number
        number += 1
        fill = torch.zeros_like(volume)
        fill[brain] = torch.from_numpy(noise(number, voxels))
        hidden = mask.float()
        output = execute(torch.stack(((1 - hidden) * volume + hidden * fill, image))[None])[0, 0]
        return scored(volume - output)

    try:
        mask, thresholds, kept = brain, [], []
        for t in range(1, settings.sweep_passes + 1):
            error = error_under(mask)
            if t == 1:
                median = threshold_of(error, settings.sweep_passes / 2)
            thresholds.append(threshold_of(error, t))
            mask = error > thresholds[-1]
            kept.append(mask.float())
            if number == passes:
                return PlainRun(mask.numpy(), t, 0, False)
        curve, _ = fit_curve(np.array(thresholds), settings, median)
        mask, shrink = brain, 0
        while shrink < settings.max_shrink:
            shrink += 1
            error = error_under(mask)
            if shrink == 1 and settings.region_growing is not None:
                extent = (error > settings.region_growing * curve.threshold).numpy()
            smaller = error > curve.threshold
            ratio = (int(mask.sum()) - int(smaller.sum())) / int(mask.sum())
            mask = smaller
            if ratio < settings.stop_ratio or not mask.any():
                break
        found = mask.numpy() if settings.region_growing is None else grown(mask.numpy(), extent)
        return PlainRun(found, settings.sweep_passes, shrink, True)
    finally:
        network.execute_plainly(False)
