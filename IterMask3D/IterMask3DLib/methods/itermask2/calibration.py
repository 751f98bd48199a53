"""The threshold of IterMask2, from the errors of the second network behind random masks of healthy slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.card import Figure
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.result import MASK
from IterMask3DLib.core.settings import changed
from IterMask3DLib.methods.base import Calibration, Healthy, Report
from IterMask3DLib.methods.itermask2.loop import Slices, reconstructed_behind, refine
from IterMask3DLib.methods.itermask2.masks import sample_slice_mask
from IterMask3DLib.methods.itermask2.network import FIRST, MASKED
from IterMask3DLib.methods.itermask2.settings import IterMask2CalibrationSettings, IterMask2Settings
from IterMask3DLib.methods.slices import slices_with_brain
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.distributed import map_shards
from IterMask3DLib.runtime.noise import seeded_noise
from IterMask3DLib.runtime.runner import Network, Runtime


def calibrate(
    model: Model,
    training: Sequence[Healthy],
    validation: Sequence[Healthy],
    choices: IterMask2CalibrationSettings,
    runtime: Runtime,
    report: Report,
) -> Calibration:
    """The error that a share of the masked pixels of healthy slices exceeds, and what a run then leaves masked.

    Each process takes its shard of the volumes. Raises `UserError` where there is none.
    """
    if not len(validation):
        raise UserError("A threshold needs healthy volumes for validation, and there are none.")
    report("choosing the threshold on the validation volumes")
    first, masked = (runtime.runner(model.networks[name]) for name in (FIRST, MASKED))
    settings = changed(IterMask2Settings(), model.card.settings, model.card.name)
    count, share = len(validation), choices.exceeding_share

    def errors_of(number: int) -> NDArray[np.float32]:
        healthy = validation[number]
        return masked_errors(_slices(healthy), masked, healthy.spacing[0], settings.smallest_slice, number)

    threshold = validation_threshold(np.concatenate(map_shards(errors_of, count)), share)
    report("measuring what is found in them")
    settings = replace(settings, threshold=threshold)
    shares = map_shards(lambda n: _found_share(validation[n], first, masked, threshold, settings), count)
    what, on = "calibration: share of healthy validation brains found anomalous", f"{count} validation volumes"
    figures = (
        Figure("calibration: share of masked pixels above the threshold", share, on),
        Figure("calibration: threshold", round(threshold, 6), on, unit="squared scaled intensity"),
        Figure(f"{what}, mean", round(float(np.mean(shares)), 5), on),
        Figure(f"{what}, worst", round(max(shares), 5), on),
    )
    return Calibration({"threshold": threshold}, figures)


def validation_threshold(errors: NDArray[np.float32], share: float) -> float:
    """The element of `errors` [n], of masked pixels, that the published selection of a share takes.

    Published over whole slices, whose other pixels count as error 0.
    """
    rank = max(1, int(len(errors) - share * len(errors)))
    return float(np.partition(errors, rank - 1)[rank - 1])


def masked_errors(given: Slices, masked: Network, spacing: float, smallest: float, seed: int) -> NDArray[np.float32]:
    """Squared errors of the second network behind one random mask a slice: float32 [pixels].

    Args:
        spacing: mm within slices.
        smallest: slices with less brain than this share of the largest one are left out.
        seed: of masks and noise.
    """
    rng = np.random.default_rng(seed)
    chosen = slices_with_brain(given.brain, smallest)
    values = given.values[chosen]
    mask = np.stack([sample_slice_mask(brain, spacing, rng) for brain in given.brain[chosen]])
    noise = rng.standard_normal(values.shape, dtype=np.float32)
    reconstruction = reconstructed_behind(mask, noise, values, given.high_frequency[chosen], masked)
    return np.asarray(np.square(values - reconstruction)[mask])


def _slices(healthy: Healthy) -> Slices:
    return Slices.of(healthy.channels[0], healthy.brain, healthy.spacing)


def _found_share(
    healthy: Healthy, first: Network, masked: Network, threshold: float, settings: IterMask2Settings
) -> float:
    """The share of a healthy brain that is found anomalous."""
    *_, last = refine(_slices(healthy), first, masked, threshold, settings, seeded_noise(0))
    return float(last.layers[MASK].read().sum()) / int(healthy.brain.sum())
