"""One case from volume to outcome: prepare, refine, restore. Every door calls this."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from IterMask3DLib import __version__
from IterMask3DLib.engine.device import DeviceName, Runner, choose_place
from IterMask3DLib.engine.execution import InferenceUNet
from IterMask3DLib.engine.highfreq import high_frequency
from IterMask3DLib.engine.models import Model
from IterMask3DLib.engine.prepare import Grid, Prepared, prepare
from IterMask3DLib.engine.records import PackedMask, Phase, Result, Step, Volume
from IterMask3DLib.engine.threshold import CurveSettings
from IterMask3DLib.methods.itermask3d import Case, Settings, Start, refine, result_of
from IterMask3DLib.results.outcome import CaseOutcome, Iteration

OnPhase = Callable[[str], None]
OnStep = Callable[[Step], None]


@dataclass(frozen=True)
class Request:
    """What a user may choose; None means as the card of the model says."""

    device: DeviceName = "auto"
    half: bool | None = None
    gamma: float | None = None
    start: Start = "brain"
    seed: int = 0
    save_iterations: bool = False


def settings_of(model: Model, request: Request) -> Settings:
    """The numbers of a run: the card's, where the user did not choose others."""
    limits = model.card.thresholds
    curve = CurveSettings(
        gamma=model.card.gamma if request.gamma is None else request.gamma,
        y_limit=limits.y_limit,
        r_squared_limit=limits.r_squared_limit,
    )
    return Settings(
        curve=curve,
        passes=limits.passes,
        start=request.start,
        stop_ratio=limits.shrink_ratio,
        max_shrink=limits.max_shrink,
        seed=request.seed,
    )


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
    place = choose_place(request.device, request.half)
    card = model.card
    on_phase("preparing the volume")
    prepared = prepare(volume, Grid(card.grid.spacing, card.grid.shape, card.intensity), brain_mask)
    case = Case(prepared.volume, high_frequency(prepared.volume, prepared.spacing, card.high_frequency_cutoff), prepared.brain)
    settings = settings_of(model, request)
    runner = Runner(InferenceUNet(model.network), place)
    kept: list[tuple[int, Phase, float, PackedMask]] = []
    on_phase("refining the mask")

    def keep(step: Step) -> None:
        if request.save_iterations:
            kept.append((step.number, step.phase, step.threshold, step.mask))
        on_step(step)

    result = result_of(refine(case, runner, settings), keep)
    on_phase("returning to the grid of the input")
    provenance = provenance_of(model, request, settings, runner, started, time.perf_counter() - begun)
    outcome = restored(volume, prepared, result, provenance)
    notices = tuple(runner.notices)
    iterations = tuple(Iteration(n, phase, threshold, prepared.restore_mask(m.unpack()) > 0) for n, phase, threshold, m in kept)
    return replace(outcome, warnings=outcome.warnings + notices, iterations=iterations or None)


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
