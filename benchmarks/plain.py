"""The method executed as its public code executes it: the yardstick of the other benchmarks.

The network is made of the modules of its definition (nearest up-sampling, batch norm, dropout) in contiguous memory; the error, the selection of
its percentile and the masks take the whole volume; every pass leaves a float32 mask behind. What a model's card adds to the paper is done alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from benchmarks.watch import Clock
from IterMask3DLib.methods.itermask3d.network import UNet3D
from IterMask3DLib.runtime.noise import seeded_noise
from IterMask3DLib.methods.itermask3d.threshold import fit_curve
from IterMask3DLib.methods.itermask3d.loop import Case, Settings, regrown


@dataclass(frozen=True)
class PlainRun:
    """`mask`: bool [x, y, z]; `sweep`, `shrink`: passes there were; `whole`: False where the run was ended before its time."""

    mask: np.ndarray
    sweep: int
    shrink: int
    whole: bool


@torch.inference_mode()
def plain_run(case: Case, network: UNet3D, settings: Settings, clock: Clock, passes: int | None = None) -> PlainRun:
    """The loop as published; `passes`: end after so many. The network's own time goes to the part `network`, selection to `threshold`."""
    volume, brain, image = torch.from_numpy(case.volume), torch.from_numpy(case.brain), torch.from_numpy(case.high_frequency)
    noise, number, voxels = seeded_noise(settings.seed), 0, int(case.brain.sum())
    execute = clock.timed("network", network.execute_plainly())

    def select(error: torch.Tensor, t: float) -> float:
        rank = max(1, int(volume.numel() - voxels * (1 - t / settings.passes)))
        return float(error.reshape(-1).kthvalue(rank).values)

    threshold_of = clock.timed("threshold", select)
    sigmas = [settings.smoothing / side for side in case.spacing]
    weight = np.maximum(gaussian_filter(case.brain.astype(np.float32), sigmas, mode="constant"), 0.01)
    expected = None if case.expected is None else torch.from_numpy(case.expected)

    def scored(residual: torch.Tensor) -> torch.Tensor:
        if settings.smoothing:
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
        for t in range(1, settings.passes + 1):
            error = error_under(mask)
            if t == 1:
                median = threshold_of(error, settings.passes / 2)
            thresholds.append(threshold_of(error, t))
            mask = error > thresholds[-1]
            kept.append(mask.float())
            if number == passes:
                return PlainRun(mask.numpy(), t, 0, False)
        curve, _ = fit_curve(np.array(thresholds), settings.curve, median)
        mask = brain
        shrink = 0
        while shrink < settings.max_shrink:
            shrink += 1
            error = error_under(mask)
            if shrink == 1 and settings.regrow is not None:
                extent = (error > settings.regrow * curve.threshold).numpy()
            smaller = error > curve.threshold
            ratio = (int(mask.sum()) - int(smaller.sum())) / int(mask.sum())
            mask = smaller
            if ratio < settings.stop_ratio or not mask.any():
                break
        found = mask.numpy() if settings.regrow is None else regrown(mask.numpy(), extent)
        return PlainRun(found, settings.passes, shrink, True)
    finally:
        network.execute_plainly(False)
