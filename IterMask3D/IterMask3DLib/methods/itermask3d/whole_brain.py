"""The inference beyond the paper: a few passes that hide the whole brain, and a score of what they cannot explain.

The reconstructions under several noises and of the mirrored volume are averaged; the residual of the volume's robust
fit from them is averaged over several distances, each in units of its robust spread, compared with the other
hemisphere and with healthy brains at the same place, and outlined where it is high. The mean of healthy brains can be
taken for a second reconstruction: the network is shown edges of a lesion and explains small ones, the mean does not.
The intensity can count too: where lesions are bright, as in FLAIR, it tells as much as the residual.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from IterMask3DLib.core.artifacts import SensitivityTable
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Spacing, voxel_millilitres
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Image
from IterMask3DLib.core.result import (
    ANOMALY,
    ERROR_MAP,
    HEATMAP,
    MASK,
    RECONSTRUCTION,
    Layer,
    LayerKind,
    Result,
    Step,
    Steps,
)
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.itermask3d.hysteresis import hysteresis, tightened
from IterMask3DLib.methods.itermask3d.normative_score import NormativeScore, standardising
from IterMask3DLib.methods.itermask3d.residual_fit import BrainAverage, RobustFit, in_spreads, robust_spread
from IterMask3DLib.methods.itermask3d.settings import SENSITIVITIES, Settings
from IterMask3DLib.methods.itermask3d.symmetry import OtherSide, one_sided
from IterMask3DLib.preprocessing.intensity import BACKGROUND
from IterMask3DLib.preprocessing.mean_brain import MeanBrain
from IterMask3DLib.runtime.noise import Noise
from IterMask3DLib.runtime.runner import ArrayNetwork

UNIT = "healthy SD"

MEAN_BRAIN, MEAN_BRAIN_SPREAD = "mean_brain", "mean_brain_spread"
"""Names of what a model knows of the mean of healthy brains: float32 [48, 56, 48] each."""

MEAN_BRAIN_MM = 4.0
"""Its voxels: the mean of many brains has no finer detail."""

_STOPPED = "The run was cancelled before its last pass; the passes that ended were kept."


@dataclass(frozen=True)
class Brain:
    """A scaled volume on the model grid: float32 [x, y, z], its brain bool [x, y, z], and its voxel sizes in mm."""

    volume: FloatVolume
    brain: BoolVolume
    spacing: Spacing


class WholeBrainPasses:
    """Hides the whole brain behind noise and has it reconstructed; every second pass of the volume's mirror image.

    Every second noise is the negative of the one before, so that most of what the noise does to a reconstruction
    averages out (antithetic variates; Hammersley and Morton, 1956) and little depends on the seed.

    Args:
        network: float32 [1, 2, x, y, z] (masked volume, high-frequency image) -> float32 [1, 1, x, y, z], anywhere.
    """

    def __init__(self, given: Brain, settings: Settings, network: ArrayNetwork, noise: Noise) -> None:
        self._network, self._noise, self._brain = network, noise, given.brain
        limit = np.float32(settings.input_clip)
        shown = np.where(given.brain, np.clip(given.volume, -limit, limit), np.float32(BACKGROUND))
        details = high_frequency(shown, given.spacing, settings.high_frequency_cutoff)
        self._channels = np.stack((shown, details))
        self._looks = 2 if settings.flips else 1
        self.count = settings.noises * self._looks

    @property
    def stops(self) -> tuple[int, ...]:
        """The passes after which the score is looked at: the first, and each that completes a pair of noises."""
        return tuple(sorted({1, *range(2 * self._looks, self.count, 2 * self._looks), self.count}))

    def __call__(self, number: int) -> FloatVolume:
        """The reconstruction [x, y, z] of a pass: 1, 2, … up to `count`."""
        draw, look = divmod(number - 1, self._looks)
        pair, negative = divmod(draw, 2)
        noise = self._noise(pair + 1, int(self._brain.sum()))
        self._channels[0][self._brain] = -noise if negative else noise
        given = self._channels[:, ::-1] if look else self._channels
        output = self._network(np.ascontiguousarray(given)[None])[0, 0]
        return np.ascontiguousarray(output[::-1]) if look else np.asarray(output)


class WholeBrainScore:
    """How far what a reconstruction leaves unexplained stands out, in standard deviations of healthy brains.

    Args:
        normative: of each scale, then of each scale of the mean brain where it counts; None: scores stay in units of
            the volume's own robust spread, as those of the intensity always do.
        mean_brain: that healthy brains have; None: it does not count.
    """

    def __init__(
        self,
        given: Brain,
        settings: Settings,
        normative: Sequence[NormativeScore] | None,
        mean_brain: MeanBrain | None = None,
    ) -> None:
        self._given, self._settings = given, settings
        self._normative = None if normative is None else standardising(normative, given.brain)
        self._expected = None if mean_brain is None else expected_at(given, mean_brain)
        self._fit = RobustFit(given.brain, settings.gain_order, settings.offset_order, settings.tukey)
        self._averages = [BrainAverage(given.brain, given.spacing, mm) for mm in settings.scales_mm]
        self._sign = np.float32(-1 if settings.side == "dark" else 1)
        self._mirrored: FloatVolume | None = None
        self._other: OtherSide | None = None
        self._beside: list[FloatVolume] | None = None

    def begin(self, first: FloatVolume) -> float:
        """Keeps the first reconstruction, whose mirror counts in every score; gives the robust spread of its residual.

        Without it the mirror is that of the first reconstruction that is scored.
        """
        self._mirrored = first
        return robust_spread(self.residual(first)[self._given.brain])

    def residual(self, reconstruction: FloatVolume) -> FloatVolume:
        """What the robust fit leaves of the volume [x, y, z]; 0 outside the brain."""
        return self._fit.residual(self._given.volume, reconstruction)

    def by_scale(self, reconstruction: FloatVolume) -> list[FloatVolume]:
        """The scores [x, y, z] of each scale in units of the volume's own spread, less the other side's.

        Of the residual, then of the mean brain and of the intensity where they count.
        """
        given = self._given
        if self._settings.other_side and self._other is None:
            mirrored = reconstruction if self._mirrored is None else self._mirrored
            self._other = OtherSide(mirrored, given.brain, given.spacing)
        if self._beside is None:
            self._beside = self._scores_beside()
        return self._scales(self.residual(reconstruction)) + self._beside

    def _scores_beside(self) -> list[FloatVolume]:
        """Those that do not depend on a reconstruction."""
        scores = []
        if self._expected is not None:
            mean, spread = self._expected
            scores += self._scales(self.residual(mean) / spread)
        if self._settings.intensity_weight:
            scores += self._scales(np.where(self._given.brain, self._given.volume, np.float32(0)))
        return scores

    def _scales(self, residual: FloatVolume) -> list[FloatVolume]:
        given, scores = self._given, []
        for average in self._averages:
            score = self._sign * in_spreads(average(residual), given.brain)
            if self._other is not None:
                score = one_sided(score, self._other(score), self._settings.other_side_limit)
            scores.append(score)
        return scores

    def __call__(self, reconstruction: FloatVolume) -> FloatVolume:
        """The mean of the scales [x, y, z]; 0 outside the brain."""
        scores = self.by_scale(reconstruction)
        return combined(scores if self._normative is None else compared(scores, self._normative), self._settings)


def expected_at(given: Brain, mean_brain: MeanBrain) -> tuple[FloatVolume, FloatVolume]:
    """Mean and spread of healthy brains at each voxel [x, y, z] of a brain; the mean is 0 outside it."""
    mean, spread = mean_brain.at(as_image(given.volume, given.brain, given.spacing), given.brain)
    return np.where(given.brain, mean, 0).astype(np.float32), spread


def as_image(volume: FloatVolume, brain: BoolVolume, spacing: Sequence[float]) -> Image:
    """A scaled volume [x, y, z] as an image that is above 0 in its brain and 0 outside: what registration takes."""
    positive = np.where(brain, volume - volume[brain].min() + 1, 0).astype(np.float32)
    return Image(positive, np.diag([*spacing, 1.0]), "brain")


def shares_of(settings: Settings) -> list[float]:
    """The shares of residual, mean brain and intensity in the score; the last two only where they count.

    Raises `UserError` for shares that are more than the whole.
    """
    beside = [share for share in (settings.mean_brain_weight, settings.intensity_weight) if share]
    rest = 1 - sum(beside)
    if rest < 0:
        raise UserError("mean_brain_weight and intensity_weight are more than 1 together; give smaller ones.")
    return [rest, *beside]


def normative_count(settings: Settings) -> int:
    """How many of the scores are compared with those of healthy brains: all but those of the intensity."""
    return len(settings.scales_mm) * (2 if settings.mean_brain_weight else 1)


def compared(
    scores: Sequence[FloatVolume], normative: Sequence[Callable[[FloatVolume], FloatVolume]]
) -> list[FloatVolume]:
    """The scores, as many standardised as there are `normative` ones."""
    known = [standardised(score) for standardised, score in zip(normative, scores, strict=False)]
    return known + list(scores[len(known) :])


def combined(scores: Sequence[FloatVolume], settings: Settings) -> FloatVolume:
    """One score [x, y, z] of all that `WholeBrainScore.by_scale` gives."""
    count = len(settings.scales_mm)
    means = [np.mean(scores[start : start + count], axis=0) for start in range(0, len(scores), count)]
    weighted = (share * mean for share, mean in zip(shares_of(settings), means, strict=True))
    return np.asarray(sum(weighted), dtype=np.float32)


@dataclass(frozen=True)
class Scored:
    """What the passes of a run found: all that is needed to outline it anew.

    Attributes:
        score, reconstruction: float32 [x, y, z].
        mean_error: mean squared difference of volume and reconstruction over the brain.
        first_error: robust spread of the residual of the first pass.
        steps: that were made; expected: that were to be made.
    """

    score: FloatVolume
    reconstruction: FloatVolume
    mean_error: float
    first_error: float
    steps: int
    expected: int

    def outlined(self, settings: Settings, at: int | None = None) -> BoolVolume:
        """The anomaly [x, y, z]. `at`: a sensitivity; None: that of the settings."""
        return outline(self.score, threshold_of(settings, settings.sensitivity if at is None else at), settings)


def outline(score: FloatVolume, threshold: float, settings: Settings) -> BoolVolume:
    """The anomaly [x, y, z] of a score above a threshold."""
    mask = hysteresis(score, threshold, settings.hysteresis * threshold, settings.smallest_voxels)
    return tightened(score, mask, threshold, settings.peak_share) if settings.peak_share else mask


def threshold_of(settings: Settings, sensitivity: int) -> float:
    """The threshold of a sensitivity. Raises `UserError` where the model has none yet."""
    if settings.thresholds is None:
        raise UserError(
            "The model has no thresholds for inference whole_brain; run `itermask3d calibrate` on it first."
        )
    return settings.thresholds[SENSITIVITIES.index(sensitivity)]


@dataclass
class _Looked:
    """The passes of a run so far: `mean` is that of their reconstructions. Scored when somebody asks."""

    score: WholeBrainScore
    mean: FloatVolume
    mean_error: float
    first_error: float
    steps: int
    expected: int

    @cached_property
    def scored(self) -> Scored:
        return Scored(self.score(self.mean), self.mean, self.mean_error, self.first_error, self.steps, self.expected)


def look(given: Brain, settings: Settings, passes: WholeBrainPasses, score: WholeBrainScore) -> Steps:
    """All passes; a `Step` with the score so far after the first and after each pair of noises.

    Between them the noise has not averaged out. Scoring takes longer than a pass, so a step is scored when one of its
    layers is read. The result's state is a `Scored`.
    """
    # What is wrong with the settings is told before the passes are made.
    threshold_of(settings, settings.sensitivity)
    shares_of(settings)
    total, first_error, done = np.zeros(given.volume.shape, dtype=np.float32), 0.0, 0
    # A step reaches what its passes found through this list, so that keeping every step keeps no volumes.
    latest: list[_Looked] = []
    for number, stop in enumerate(passes.stops, 1):
        begun = time.perf_counter()
        for each in range(done + 1, stop + 1):
            total += passes(each)
        done = stop
        mean = total / np.float32(done)
        if number == 1:
            first_error = score.begin(mean)
        error = float(np.square(given.volume - mean, dtype=np.float64)[given.brain].mean())
        latest[:] = [_Looked(score, mean, error, first_error, number, len(passes.stops))]
        yield _step(latest, given, settings, time.perf_counter() - begun)
    return result_of(latest[0].scored, given, settings)


def _step(latest: list[_Looked], given: Brain, settings: Settings, seconds: float) -> Step:
    number, expected = latest[0].steps, latest[0].expected

    def last() -> Scored:
        if latest[0].steps != number:
            raise RuntimeError(f"The volumes of step {number} are gone: ask for them before the next step.")
        return latest[0].scored

    layers = {
        MASK: Layer(LayerKind.MASK, lambda: last().outlined(settings)),
        ERROR_MAP: Layer.score(lambda: np.maximum(last().score, 0), UNIT),
        RECONSTRUCTION: Layer.intensity(lambda: last().reconstruction),
    }
    stop = None if number == expected else lambda: result_of(last(), given, settings)
    scalars = {"threshold": threshold_of(settings, settings.sensitivity)}
    return Step(number, expected, "score", seconds, scalars, layers, stop)


def result_of(found: Scored, given: Brain, settings: Settings) -> Result:
    """The result with the sensitivity of the settings."""
    anomaly = found.outlined(settings)
    ml = voxel_millilitres(np.diag([*given.spacing, 1.0]))
    shares = settings.healthy_shares
    table = SensitivityTable(
        SENSITIVITIES,
        tuple(threshold_of(settings, each) for each in SENSITIVITIES),
        shares if shares is not None else (),
        tuple(round(float(found.outlined(settings, each).sum()) * ml, 3) for each in SENSITIVITIES),
        settings.sensitivity,
        settings.hysteresis * threshold_of(settings, settings.sensitivity),
    )
    return Result(
        layers={
            ANOMALY: Layer.mask(anomaly),
            HEATMAP: Layer.score(np.maximum(found.score, 0), UNIT),
            RECONSTRUCTION: Layer.intensity(found.reconstruction),
        },
        case_score=found.mean_error,
        scalars={
            "mask_size": float(anomaly.sum()),
            "mean_error": found.mean_error,
            "first_error": found.first_error,
        },
        artifacts=(table,),
        state=found,
        warnings=_warnings(found, settings),
    )


def again(found: Scored, given: Brain, settings: Settings) -> Steps:
    """The result of passes that were made, with other settings; takes none."""
    yield from ()
    return result_of(found, given, settings)


def _warnings(found: Scored, settings: Settings) -> tuple[str, ...]:
    warnings = [_STOPPED] if found.steps < found.expected else []
    if settings.known_errors is not None:
        low, high = settings.known_errors
        if not low <= found.first_error <= high:
            size = "larger" if found.first_error > high else "smaller"
            warnings.append(
                f"The volume is unlike the scans this model learned from: its first error, {found.first_error:.3g}, is "
                f"{size} than in all of them ({low:.3g} to {high:.3g}). Look with care at what was found, and was not."
            )
    return tuple(warnings)
