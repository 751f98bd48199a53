"""The numbers of a whole-brain inference: what healthy brains score by place, and a threshold for each sensitivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.card import Figure
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.core.settings import changed
from IterMask3DLib.methods.base import Calibration, Healthy, Report
from IterMask3DLib.methods.itermask3d.executable_unet import ExecutableUNet
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK
from IterMask3DLib.methods.itermask3d.normative_score import NORMATIVE_MEAN, NORMATIVE_SD, NormativeScore, standardising
from IterMask3DLib.methods.itermask3d.settings import SENSITIVITIES, WHOLE_BRAIN, CalibrationSettings, Settings
from IterMask3DLib.methods.itermask3d.whole_brain import (
    MEAN_BRAIN,
    MEAN_BRAIN_MM,
    MEAN_BRAIN_SPREAD,
    Brain,
    WholeBrainPasses,
    WholeBrainScore,
    as_image,
    combined,
    compared,
    normative_count,
    outline,
)
from IterMask3DLib.models.store import Model
from IterMask3DLib.preprocessing.mean_brain import MeanBrain, mean_of, sums_over
from IterMask3DLib.runtime.distributed import all_gather, map_shards, shard
from IterMask3DLib.runtime.noise import seeded_noise
from IterMask3DLib.runtime.runner import Runtime

_HALVINGS = 12
_HIGHEST = 40.0
_MARGIN = 0.02
"""Share by which the range of errors is wider than the cohort's: other noise and rounding change them a little."""


@dataclass(frozen=True)
class HealthyScore:
    """What a healthy brain scores.

    Attributes:
        scales: float16 [scores, n] in the brain's voxels, as of `WholeBrainScore.by_scale`.
        brain: bool [x, y, z]; tissue: what of it is healthy; cohort: the name of its cohort.
        first_error: robust spread of the residual of the first pass.
    """

    scales: NDArray[np.float16]
    brain: BoolVolume
    tissue: BoolVolume
    cohort: str
    first_error: float

    def scale(self, number: int) -> FloatVolume:
        """The score of a scale [x, y, z], 0 outside the brain."""
        volume = np.zeros(self.brain.shape, dtype=np.float32)
        volume[self.brain] = self.scales[number]
        return volume

    def score(self, tables: Sequence[NormativeScore], settings: Settings) -> FloatVolume:
        """All together [x, y, z], as a run has them."""
        scores = [self.scale(number) for number in range(len(self.scales))]
        return combined(compared(scores, standardising(tables, self.brain)), settings)


def calibrate_whole_brain(
    model: Model,
    training: Sequence[Healthy],
    validation: Sequence[Healthy],
    choices: CalibrationSettings,
    runtime: Runtime,
    report: Report,
) -> Calibration:
    """Normative scores from the training volumes, a threshold for each sensitivity from the validation volumes.

    A rate is the mean over the cohorts of the mean over their brains, each counted where it is healthy. The range of
    the first error is that of all volumes without anomalies together.
    """
    before = changed(Settings(), model.card.settings, model.card.name)
    chosen = {
        "inference": WHOLE_BRAIN,
        "high_frequency_cutoff": before.high_frequency_cutoff,
        "noises": choices.noises,
        "side": choices.side,
        "scales_mm": list(choices.scales_mm),
        "other_side": choices.other_side,
        **({} if choices.other_side_limit is None else {"other_side_limit": choices.other_side_limit}),
        **({} if not choices.mean_brain_weight else {"mean_brain_weight": choices.mean_brain_weight}),
        **({} if not choices.intensity_weight else {"intensity_weight": choices.intensity_weight}),
        "hysteresis": choices.hysteresis,
        **({} if not choices.peak_share else {"peak_share": choices.peak_share}),
    }
    settings = changed(Settings(), chosen, model.card.name)
    healthy_mean = None
    if settings.mean_brain_weight:
        report(f"laying {len(training)} healthy training volumes over each other")
        healthy_mean = _mean_brain(training)
    scored = _Scoring(model, settings, runtime, healthy_mean)
    report(f"scoring {len(training)} healthy training volumes")
    learned = scored.of(training)
    tables = [
        NormativeScore.of((each.scale(number), each.brain) for each in learned)
        for number in range(normative_count(settings))
    ]
    errors = [each.first_error for each in learned]
    del learned
    report(f"choosing thresholds on {len(validation)} healthy validation volumes")
    checked = scored.of(validation)
    errors += [each.first_error for each in checked if each.tissue.sum() == each.brain.sum()]
    rates = _Rates([(each.score(tables, settings), each.tissue, each.cohort) for each in checked], settings)
    thresholds = [rates.threshold_for(share) for share in choices.healthy_shares]
    found: dict[str, Any] = {
        **chosen,
        "normative_score": True,
        "thresholds": [round(each, 3) for each in thresholds],
        "healthy_shares": [round(rates.share(round(each, 3)), 6) for each in thresholds],
        "known_errors": [round(min(errors) * (1 - _MARGIN), 4), round(max(errors) * (1 + _MARGIN), 4)],
    }
    assets = {
        NORMATIVE_MEAN: np.stack([table.mean for table in tables]),
        NORMATIVE_SD: np.stack([table.sd for table in tables]),
    }
    if healthy_mean is not None:
        assets |= {MEAN_BRAIN: healthy_mean.mean, MEAN_BRAIN_SPREAD: healthy_mean.spread}
    figures = (
        *rates.figures(found["thresholds"]),
        Figure("calibration: first error, lowest", round(min(errors), 4), "all of these volumes"),
        Figure("calibration: first error, highest", round(max(errors), 4), "all of these volumes"),
    )
    return Calibration(found, figures, assets, replaces=True)


class _Scoring:
    """Scores healthy brains as a run would; every process takes its shard of them."""

    def __init__(self, model: Model, settings: Settings, runtime: Runtime, mean_brain: MeanBrain | None) -> None:
        self._settings, self._noise, self._mean_brain = settings, seeded_noise(0), mean_brain
        self._network = runtime.runner(model.stored[NETWORK], ExecutableUNet.of)

    def of(self, brains: Sequence[Healthy]) -> list[HealthyScore]:
        """Of each brain, in their order."""
        return map_shards(lambda number: self._one(brains[number]), len(brains))

    def _one(self, healthy: Healthy) -> HealthyScore:
        given = Brain(healthy.channels[0], healthy.brain, healthy.spacing)  # type: ignore[arg-type]
        passes = WholeBrainPasses(given, self._settings, self._network, self._noise)
        score = WholeBrainScore(given, self._settings, None, self._mean_brain)
        first = passes(1)
        first_error = score.begin(first)
        mean = (first + sum(passes(number) for number in range(2, passes.count + 1))) / np.float32(passes.count)
        scales = np.stack([scale[given.brain] for scale in score.by_scale(mean)]).astype(np.float16)
        return HealthyScore(scales, given.brain, healthy.tissue, healthy.cohort, first_error)


def _mean_brain(brains: Sequence[Healthy]) -> MeanBrain:
    """The mean of healthy brains, each process laying its shard of them over."""
    mine = (brains[number] for number in shard(range(len(brains))))
    laid = ((as_image(each.channels[0], each.brain, each.spacing), each.brain) for each in mine)
    return mean_of(np.sum(all_gather(sums_over(laid, MEAN_BRAIN_MM)), axis=0), len(brains))


class _Rates:
    """How much of healthy brains a threshold outlines.

    `scores`: float32 [x, y, z], healthy tissue bool [x, y, z] and cohort of each.
    """

    def __init__(self, scores: Sequence[tuple[FloatVolume, BoolVolume, str]], settings: Settings) -> None:
        self._scores, self._settings = scores, settings

    def shares(self, threshold: float) -> Mapping[str, list[float]]:
        """The share of each brain, by cohort."""
        shares: dict[str, list[float]] = {}
        for score, tissue, cohort in self._scores:
            outlined = outline(score, threshold, self._settings) & tissue
            shares.setdefault(cohort, []).append(float(outlined.sum()) / int(tissue.sum()))
        return shares

    def share(self, threshold: float) -> float:
        return float(np.mean([np.mean(each) for each in self.shares(threshold).values()]))

    def threshold_for(self, share: float) -> float:
        """The lowest threshold that outlines at most `share`, to a hundredth."""
        low, high = 0.0, _HIGHEST
        if self.share(high) > share:
            raise UserError(f"Healthy brains score above {high:g}: the model does not fit these volumes.")
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.share(middle) > share else (low, middle)
        return high

    def figures(self, thresholds: Sequence[float]) -> list[Figure]:
        """The mean of each cohort and the worst brain for each sensitivity."""
        found = []
        for sensitivity, threshold in zip(SENSITIVITIES, thresholds, strict=True):
            name = f"calibration: share of a healthy validation brain outlined, sensitivity {sensitivity}"
            shares = self.shares(threshold)
            for cohort, each in shares.items():
                on = f"{len(each)} validation volumes of {cohort}"
                found.append(Figure(f"{name}, mean", round(float(np.mean(each)), 6), on))
            worst = max(max(each) for each in shares.values())
            found.append(Figure(f"{name}, worst", round(worst, 6), f"{len(self._scores)} validation volumes"))
        return found
