"""The loop of IterMask2: a first mask from the high frequencies alone, shrunk until it stays, slice by slice.

Source: Liang et al., MICCAI 2024 (arXiv 2406.02422), and its public code, with that code's faults mended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from IterMask3DLib.core.artifacts import MaskHistory
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.core.result import ANOMALY, ERROR_MAP, HEATMAP, MASK, RECONSTRUCTION, Layer, Result, Step, Steps
from IterMask3DLib.methods.itermask2.settings import PUBLISHED_CUTOFF, IterMask2Settings
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.slices import as_slices, as_volume, in_batches, slices_with_brain
from IterMask3DLib.runtime.noise import Noise
from IterMask3DLib.runtime.runner import Network

_USUAL_SHRINK = 6
_STOPPED = "The run was cancelled before the mask stayed in every slice; the last pass that ended was kept."


@dataclass(frozen=True)
class Slices:
    """A brain in slices, along z.

    Attributes:
        values, high_frequency: float32 [z, x, y], scaled; brain: bool [z, x, y].
    """

    values: FloatVolume
    high_frequency: FloatVolume
    brain: BoolVolume

    @classmethod
    def of(
        cls, volume: FloatVolume, brain: BoolVolume, spacing: Sequence[float], cutoff: float = PUBLISHED_CUTOFF
    ) -> Slices:
        """Those of a volume [x, y, z] and its brain.

        `spacing`: mm; `cutoff`: of the high frequencies, in cycles per mm.
        """
        values = as_slices(volume)
        details = np.stack([high_frequency(each, spacing[:2], cutoff) for each in values])
        return cls(values, details, as_slices(brain))


@dataclass
class _State:
    """What is known of each slice.

    Attributes:
        mask: bool [z, x, y], what is hidden from the network next, or was hidden last where a slice is done.
        reconstruction: float32 [z, x, y], of its last pass; the slice itself where there was none.
        going: numbers of the slices that are not done.
    """

    mask: BoolVolume
    reconstruction: FloatVolume
    going: NDArray[np.intp]
    sizes: list[int] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


def refine(
    given: Slices, first: Network, masked: Network, threshold: float, settings: IterMask2Settings, noise: Noise
) -> Steps:
    """One `Step` a pass over the whole volume, then the `Result`.

    The first network sees the high frequencies; of each slice it leaves the part of the brain masked that it
    reconstructed worst. The second one sees the slice with that part behind noise; where its error is at most the
    threshold the mask is taken away, until a pass takes away hardly any of it. A slice that is done waits for the
    others; its reconstruction and its mask are those of its last pass.

    Args:
        first: float32 [b, 1, x, y] -> [b, 1, x, y]; masked: [b, 2, x, y] -> [b, 1, x, y].
        threshold: squared error above which a masked pixel stays masked.
        noise: what hides masked pixels.
    """
    begun = time.perf_counter()
    state = _first_pass(given, first, settings)
    yield _step(given, state, "first", begun, 1 + _USUAL_SHRINK, None)
    while len(state.going) and len(state.sizes) < settings.max_shrink:
        begun = time.perf_counter()
        _shrink_pass(given, state, masked, threshold, settings.stop_ratio, noise)
        done = 1 + len(state.sizes)
        to_come = max(1, _USUAL_SHRINK - len(state.sizes)) if len(state.going) else 0
        yield _step(given, state, "shrink", begun, done + to_come, threshold)
    if len(state.going):
        return _result(given, state, f"The mask was still shrinking after {settings.max_shrink} passes in some slices.")
    return _result(given, state)


def _first_pass(given: Slices, first: Network, settings: IterMask2Settings) -> _State:
    chosen = slices_with_brain(given.brain, settings.smallest_slice)
    reconstruction = given.values.copy()
    shown = torch.from_numpy(given.high_frequency[chosen])[:, None]
    reconstruction[chosen] = in_batches(first, shown)[:, 0].numpy()
    mask = np.zeros_like(given.brain)
    for number in chosen:
        mask[number] = worst(given.values[number], reconstruction[number], given.brain[number], settings.first_share)
    return _State(mask, reconstruction, chosen)


def worst(values: FloatVolume, reconstruction: FloatVolume, brain: BoolVolume, share: float) -> BoolVolume:
    """The `share` of a slice's brain with the largest errors, all [x, y].

    The threshold is the same element as the published selection over the whole slice, whose background counts as 0.
    """
    errors = np.square(values - reconstruction) * brain
    rank = max(1, int(brain.size - brain.sum() * share))
    return np.asarray(errors > np.partition(errors, rank - 1, axis=None)[rank - 1])


def _shrink_pass(
    given: Slices, state: _State, masked: Network, threshold: float, stop_ratio: float, noise: Noise
) -> None:
    """Reconstructs the slices that are not done behind their masks, and shrinks those."""
    going = state.going
    # Drawn for the whole brain, so that the noise of a pixel does not depend on which slices are done.
    drawn = np.zeros_like(given.values)
    drawn[given.brain] = noise(1 + len(state.sizes), int(given.brain.sum()))
    values, mask = given.values[going], state.mask[going]
    reconstruction = reconstructed_behind(mask, drawn[going], values, given.high_frequency[going], masked)
    smaller = mask & (np.square(values - reconstruction) > threshold)
    before, after = mask.sum(axis=(1, 2)), smaller.sum(axis=(1, 2))
    # A slice that has nothing masked any more is done when it was reconstructed once like that, as published.
    stays = (before - after) < stop_ratio * before
    stays |= before == 0
    state.reconstruction[going] = reconstruction
    state.mask[going] = np.where(stays[:, None, None], mask, smaller)
    state.going = going[~stays]
    state.sizes.append(int(state.mask.sum()))
    state.ratios.append(float((before - after).sum() / max(1, before.sum())))


def reconstructed_behind(
    mask: BoolVolume, noise: FloatVolume, values: FloatVolume, details: FloatVolume, masked: Network
) -> FloatVolume:
    """What the second network gives for slices whose masked pixels are noise; all [n, x, y].

    `details`: their high frequencies.
    """
    shown = np.stack((np.where(mask, noise, values), details), axis=1)
    return np.asarray(in_batches(masked, torch.from_numpy(shown))[:, 0].numpy())


def _step(given: Slices, state: _State, phase: str, begun: float, expected: int, threshold: float | None) -> Step:
    brain = given.brain
    scalars = {"masked_fraction": float(state.mask.sum() / brain.sum()), "slices": float(len(state.going))}
    if threshold is not None:
        scalars |= {"threshold": threshold, "unmasked_fraction": state.ratios[-1]}
    # What a step shows is its own: the next pass changes the state.
    mask, reconstruction, going = Layer.mask(as_volume(state.mask)), state.reconstruction.copy(), state.going
    sizes, ratios = list(state.sizes), list(state.ratios)
    layers = {
        MASK: mask,
        ERROR_MAP: Layer.score(lambda: as_volume(_errors(given, reconstruction))),
        RECONSTRUCTION: Layer.intensity(lambda: as_volume(reconstruction)),
    }

    def stopped() -> Result:
        found = _State(np.moveaxis(mask.read(), -1, 0), reconstruction, going, sizes, ratios)
        return _result(given, found, *([_STOPPED] if len(going) else []))

    return Step(1 + len(sizes), expected, phase, time.perf_counter() - begun, scalars, layers, stopped)


def _errors(given: Slices, reconstruction: FloatVolume) -> FloatVolume:
    """Squared errors [z, x, y] over the brain, masked or not."""
    return np.asarray(np.square(given.values - reconstruction) * given.brain)


def _result(given: Slices, state: _State, *warnings: str) -> Result:
    errors = _errors(given, state.reconstruction)
    mean_error = float(errors[given.brain].mean(dtype=np.float64))
    return Result(
        layers={
            ANOMALY: Layer.mask(as_volume(state.mask)),
            HEATMAP: Layer.score(as_volume(errors)),
            RECONSTRUCTION: Layer.intensity(as_volume(state.reconstruction)),
        },
        case_score=mean_error,
        scalars={"mask_size": float(state.mask.sum()), "mean_error": mean_error},
        artifacts=(MaskHistory(tuple(state.sizes), tuple(state.ratios)),) if state.sizes else (),
        warnings=warnings,
    )
