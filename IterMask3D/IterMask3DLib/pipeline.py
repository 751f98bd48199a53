"""One case from volume to outcome: prepare, refine, restore. Every door calls this."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from IterMask3DLib import __version__
from IterMask3DLib.engine.device import BackendName, DeviceName, Runner, choose_place
from IterMask3DLib.engine.execution import InferenceUNet
from IterMask3DLib.engine.healthy_error import expected_error
from IterMask3DLib.engine.highfreq import high_frequency
from IterMask3DLib.engine.models import Model
from IterMask3DLib.engine.prepare import Grid, Prepared, prepare
from IterMask3DLib.engine.records import PackedMask, Phase, Result, Step, Volume
from IterMask3DLib.engine.threshold import CurveSettings
from IterMask3DLib.methods.itermask3d import Case, Settings, Start, fast_points, refine, result_of
from IterMask3DLib.results.outcome import CaseOutcome, Iteration

OnPhase = Callable[[str], None]
OnStep = Callable[[Step], None]


Quality = Literal["auto", "fast", "full", "published"]
"""How much work a run is: the model's recipe with the sweep passes that decide (fast), with every pass (full), or the paper alone with every
pass (published). auto: fast where the model's threshold comes from the first pass alone, so that the result is the same, full where gamma
chooses on the curve."""


@dataclass(frozen=True)
class Request:
    """What a user may choose; None means as the card of the model says."""

    device: DeviceName = "auto"
    half: bool | None = None
    gamma: float | None = None
    start: Start = "brain"
    seed: int = 0
    save_iterations: bool = False
    quality: Quality = "auto"
    backend: BackendName = "auto"
    passes: int | None = None


@dataclass(frozen=True)
class Study:
    """A volume prepared for a model, with everything a run on it needs."""

    model: Model
    request: Request
    prepared: Prepared
    case: Case
    settings: Settings
    runner: Runner


def settings_of(model: Model, request: Request) -> Settings:
    """The numbers of a run: the card's, where the user did not choose others; with quality published, the paper's."""
    card, published = model.card, request.quality == "published"
    usual = CurveSettings().gamma if published else card.gamma
    limits = card.thresholds
    passes = request.passes or limits.passes
    # Whoever asks for a gamma wants the threshold chosen on the curve.
    times_median = None if published or request.gamma is not None else card.scoring.times_median
    fast = request.quality == "fast" or (request.quality == "auto" and times_median is not None)
    return Settings(
        curve=CurveSettings(
            gamma=usual if request.gamma is None else request.gamma,
            y_limit=limits.y_limit,
            r_squared_limit=limits.r_squared_limit,
            times_median=times_median,
        ),
        passes=passes,
        visited=fast_points(passes) if fast else None,
        smoothing=0.0 if published else card.scoring.smoothing_mm,
        start=request.start,
        stop_ratio=limits.shrink_ratio,
        max_shrink=limits.max_shrink,
        regrow=None if published else card.scoring.regrow,
        seed=request.seed,
    )


def study(volume: Volume, model: Model, request: Request, brain_mask: Volume | None = None) -> Study:
    """Prepares a volume for a model and a network for the device. Raises `InputError`."""
    place, card = choose_place(request.device, request.half), model.card
    runner = Runner(InferenceUNet(model.network), place, request.backend)
    prepared = prepare(volume, Grid(card.grid.spacing, card.grid.shape, card.intensity), brain_mask)
    image = high_frequency(prepared.volume, prepared.spacing, card.high_frequency_cutoff)
    table = None if request.quality == "published" else model.healthy_error
    expected = None if table is None else expected_error(table, prepared.brain)
    case = Case(prepared.volume, image, prepared.brain, prepared.spacing, expected)
    return Study(model, request, prepared, case, settings_of(model, request), runner)


def segment(
    volume: Volume,
    model: Model,
    request: Request,
    brain_mask: Volume | None = None,
    on_phase: OnPhase = lambda phase: None,
    on_step: OnStep = lambda step: None,
) -> CaseOutcome:
    """Finds what the model cannot explain in a volume.

    `on_phase` hears what is being done, `on_step` every network pass; an exception raised in either ends the run. Returns the outcome on the
    grid of `volume`. Raises `InputError`.
    """
    begun, started = time.perf_counter(), datetime.now(timezone.utc)
    on_phase("preparing the volume")
    made = study(volume, model, request, brain_mask)
    kept: list[tuple[int, Phase, float, PackedMask]] = []
    on_phase("refining the mask")

    def keep(step: Step) -> None:
        if request.save_iterations:
            kept.append((step.number, step.phase, step.threshold, step.mask))
        on_step(step)

    result = result_of(refine(made.case, made.runner, made.settings), keep)
    on_phase("returning to the grid of the input")
    provenance = provenance_of(model, request, made.settings, made.runner, started, time.perf_counter() - begun)
    outcome = restored(volume, made.prepared, result, provenance)
    restore = made.prepared.restore_mask
    iterations = tuple(Iteration(n, phase, threshold, restore(m.unpack()) > 0) for n, phase, threshold, m in kept)
    return replace(outcome, warnings=outcome.warnings + tuple(made.runner.notices), iterations=iterations or None)


def restored(volume: Volume, prepared: Prepared, result: Result, provenance: dict[str, object]) -> CaseOutcome:
    """A result of the model grid on the grid of `volume`."""
    brain = prepared.brain_mask
    return CaseOutcome(
        case=volume.name,
        volume=volume,
        brain=brain.array,
        anomaly=(prepared.restore_mask(result.mask) > 0) & brain.array,
        heatmap=prepared.restore_map(result.heatmap) * brain.array,
        reconstruction=prepared.restore_intensity(result.reconstruction),
        curve=result.curve,
        shrink=result.shrink,
        mask_size=result.mask_size,
        mean_error=result.mean_error,
        warnings=prepared.warnings + result.warnings,
        brain_source=brain.description,
        brain_ml=brain.millilitres,
        provenance=provenance,
        iterations=None,
    )


def provenance_of(
    model: Model, request: Request, settings: Settings, runner: Runner, started: datetime, seconds: float
) -> dict[str, object]:
    """What made a result, JSON-able."""
    return {
        "method": model.card.method,
        "model": model.card.name,
        "model_sha256": model.card.sha256,
        "settings": asdict(settings),
        "seed": settings.seed,
        "device_asked": request.device,
        "device": str(runner.place),
        "backend": runner.backend,
        "quality": request.quality,
        "versions": {"itermask3d": __version__, **{name: _version(name) for name in ("torch", "numpy", "scipy", "SimpleITK", "nibabel")}},
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "attribution": model.card.training.get("attribution", ""),
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
