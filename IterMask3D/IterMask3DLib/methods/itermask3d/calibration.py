"""The numbers a model is used with, chosen by what it leaves masked in healthy brains."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.card import Figure
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.core.result import ANOMALY, Step
from IterMask3DLib.core.settings import changed
from IterMask3DLib.methods.base import Calibration, Healthy, Report
from IterMask3DLib.methods.itermask3d.executable_unet import ExecutableUNet
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.itermask3d.loop import Sweep, first_shrink_draw, shrink, sweep
from IterMask3DLib.methods.itermask3d.masked_reconstruction import MaskedReconstruction, NetworkInput
from IterMask3DLib.methods.itermask3d.normative_error import NORMATIVE_ERROR, normative_error_at, normative_table
from IterMask3DLib.methods.itermask3d.settings import WHOLE_BRAIN, CalibrationSettings, Settings, fast_points
from IterMask3DLib.methods.itermask3d.threshold import fit_curve
from IterMask3DLib.methods.itermask3d.whole_brain_calibration import calibrate_whole_brain
from IterMask3DLib.models.store import Model
from IterMask3DLib.runtime.distributed import map_shards
from IterMask3DLib.runtime.noise import seeded_noise
from IterMask3DLib.runtime.runner import Runtime

GAMMAS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)
GAMMA_LIMIT = 0.02
"""Share of a healthy brain that gamma may leave masked on average."""

MEDIAN_MULTIPLES = (10.0, 12.0, 15.0, 18.0, 21.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 60.0, 70.0, 85.0, 100.0)

Found = TypeVar("Found")
Shares = Mapping[float, Sequence[float]]
"""For each value that may be chosen, the share of each healthy brain that is left masked with it."""


def choose_gamma(model: Model, validation: Sequence[Healthy], runtime: Runtime, report: Report) -> Calibration:
    """The smallest gamma that leaves at most 2 % of healthy brains masked on average, or the published one."""
    if not len(validation):
        report(f"no validation volumes: gamma is the published {Settings.gamma:g}")
        return Calibration({"gamma": Settings.gamma})
    report("choosing gamma on the validation volumes")
    shares = _HealthyRuns(model, validation, Settings(), runtime).shares_by_gamma()
    gamma = smallest_within(shares, GAMMA_LIMIT)
    on = f"{len(validation)} validation volumes"
    figures = (
        *_figures(shares, "share of healthy validation brains left masked, gamma", on),
        Figure("gamma", gamma, on),
    )
    return Calibration({"gamma": gamma}, figures)


def calibrate(
    model: Model,
    training: Sequence[Healthy],
    validation: Sequence[Healthy],
    choices: CalibrationSettings,
    runtime: Runtime,
    report: Report,
) -> Calibration:
    """A table of normative errors, and the threshold and gamma that go with it; or what a whole-brain inference needs.

    The table comes from the training volumes, threshold and gamma from the validation volumes; both with the whole
    brain hidden first, as a run begins.
    """
    if choices.inference == WHOLE_BRAIN:
        return calibrate_whole_brain(model, training, validation, choices, runtime, report)
    settings = replace(
        changed(Settings(), model.card.settings, model.card.name),
        smoothing_mm=choices.smoothing_mm,
        region_growing=choices.region_growing or None,
        median_multiple=None,
    )
    settings = replace(settings, visited=fast_points(settings.sweep_passes))
    report(f"measuring the errors of {len(training)} healthy training volumes")
    plain = replace(settings, normative_error=False)
    table = normative_table(_HealthyRuns(model, training, plain, runtime).first_errors())
    report(f"choosing the threshold on {len(validation)} healthy validation volumes")
    runs = _HealthyRuns(model, validation, replace(settings, normative_error=True), runtime, table)
    by_median = runs.shares_by_median(choices.limit)
    report("choosing gamma on them")
    by_gamma = runs.shares_by_gamma()
    multiple, gamma = smallest_within(by_median, choices.limit), smallest_within(by_gamma, GAMMA_LIMIT)
    what = "calibration: share of healthy validation brains found anomalous"
    on = f"{len(validation)} validation volumes"
    figures = (
        *_figures(by_median, f"{what}, median multiple", on),
        *_figures(by_gamma, f"{what}, gamma", on),
        Figure("calibration: limit for the threshold", choices.limit),
        Figure("calibration: limit for gamma", GAMMA_LIMIT),
    )
    chosen = {
        "gamma": gamma,
        "smoothing_mm": settings.smoothing_mm,
        "normative_error": True,
        "region_growing": settings.region_growing,
        "median_multiple": multiple,
    }
    return Calibration(chosen, figures, {NORMATIVE_ERROR: table})


def smallest_within(shares: Shares, limit: float) -> float:
    """The smallest value whose mean share is at most `limit`; the largest value if there is none."""
    return next((value for value in sorted(shares) if np.mean(shares[value]) <= limit), max(shares))


class _HealthyRuns:
    """Runs of a model on healthy brains; every process takes its shard of them."""

    def __init__(
        self,
        model: Model,
        brains: Sequence[Healthy],
        settings: Settings,
        runtime: Runtime,
        table: NDArray[np.float32] | None = None,
    ) -> None:
        self._brains, self._settings, self._table = brains, settings, table
        self._network, self._noise = runtime.runner(model.stored[NETWORK], ExecutableUNet.of), seeded_noise(0)
        self._sweeps: dict[int, Sweep] = {}

    def first_errors(self) -> Iterator[tuple[FloatVolume, BoolVolume]]:
        """The error map of each brain with all of it hidden, and the brain."""
        for number in range(len(self._brains)):
            passes = self._passes(number)
            yield passes.error_map(passes.forward(passes.whole_brain(), draw=1)), self._brains[number].brain

    def shares_by_gamma(self) -> Shares:
        """For each of `GAMMAS`; one sweep a brain serves every gamma."""
        return self._gathered(GAMMAS, self._by_gamma)

    def shares_by_median(self, limit: float) -> Shares:
        """For `MEDIAN_MULTIPLES` from the smallest to the first whose mean is at most `limit`."""
        shares: dict[float, Sequence[float]] = {}
        for multiple in MEDIAN_MULTIPLES:
            settings = replace(self._settings, median_multiple=multiple)
            shares |= self._gathered((multiple,), partial(self._one_share, settings=settings))
            if np.mean(shares[multiple]) <= limit:
                break
        return shares

    def _gathered(self, values: Sequence[float], shares_of: Callable[[int], list[float]]) -> Shares:
        everyone = map_shards(shares_of, len(self._brains))
        return {value: [shares[i] for shares in everyone] for i, value in enumerate(values)}

    def _by_gamma(self, number: int) -> list[float]:
        known: dict[int, float] = {}
        shares = []
        for gamma in GAMMAS:
            settings = replace(self._settings, gamma=gamma)
            chosen = self._curve(number, settings).chosen
            # Gammas that choose the same threshold leave the same mask.
            if chosen not in known:
                known[chosen] = self._share(number, settings)
            shares.append(known[chosen])
        return shares

    def _one_share(self, number: int, settings: Settings) -> list[float]:
        return [self._share(number, settings)]

    def _share(self, number: int, settings: Settings) -> float:
        """The share of what is healthy of a brain that is found anomalous."""
        healthy, curve = self._brains[number], self._curve(number, settings)
        steps = shrink(self._passes(number), curve, settings, healthy.brain, first_shrink_draw(settings))
        anomaly = _result_of(steps).layers[ANOMALY].read() & healthy.tissue
        return float(anomaly.sum()) / int(healthy.tissue.sum())

    def _curve(self, number: int, settings: Settings) -> ThresholdCurve:
        if number not in self._sweeps:
            self._sweeps[number] = _result_of(sweep(self._passes(number), self._settings))
        swept = self._sweeps[number]
        return fit_curve(swept.thresholds, settings, swept.median)[0]

    def _passes(self, number: int) -> MaskedReconstruction:
        healthy, settings = self._brains[number], self._settings
        volume, brain = healthy.channels[0], healthy.brain
        table = self._table if settings.normative_error else None
        normative = None if table is None else normative_error_at(table, brain)
        details = high_frequency(volume, healthy.spacing, settings.high_frequency_cutoff)
        given = NetworkInput(volume, details, brain, healthy.spacing, normative)  # type: ignore[arg-type]
        return MaskedReconstruction(given, self._network, self._noise, settings.smoothing_mm)


def _result_of(steps: Generator[Step, None, Found]) -> Found:
    """What a generator returns when it has come to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found


def _figures(shares: Shares, name: str, on: str) -> list[Figure]:
    """The mean and the worst share of each value."""
    return [
        Figure(f"{name} {value:g}, {which}", round(float(number(shares[value])), 5), on)
        for value in shares
        for which, number in (("mean", np.mean), ("worst", max))
    ]
