"""The real engine behind the protocol of `engine_port`: models, preparation and the method, imported when a run needs them."""

from __future__ import annotations

import gc
from collections.abc import Generator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import BoolVolume, Curve, FloatVolume, PackedMask, Result, Step, Image
from IterMask3DLib.scene.engine_port import Choice, OnPhase, Study, SweepLike
from IterMask3DLib.scene.records import RunOptions

if TYPE_CHECKING:
    from IterMask3DLib.models.store import Model
    from IterMask3DLib.results.outcome import CaseOutcome


class TorchEngine:
    """Keeps the models it has read, so that the next volume starts at once."""

    def __init__(self) -> None:
        self._models: dict[Path, Model] = {}

    def prepare(self, volume: Image, brainMask: Image | None, options: RunOptions, onPhase: OnPhase) -> Study:
        try:
            from IterMask3DLib.models.store import find_model, load_model
        except ImportError as error:
            raise UserError(f"The Python package {error.name} is missing; install the packages IterMask3D needs first.") from None
        folder = find_model(options.model)
        if folder not in self._models:
            onPhase("Reading the model")
            self._models[folder] = load_model(folder)
        onPhase("Preparing the volume")
        return TorchStudy(volume, brainMask, self._models[folder], options)

    def release(self) -> None:
        self._models.clear()
        gc.collect()
        try:
            import torch
        except ImportError:
            return
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class TorchStudy:
    """A prepared volume with the network that looks at it."""

    def __init__(self, volume: Image, brainMask: Image | None, model: Model, options: RunOptions) -> None:
        from IterMask3DLib.run import Request, study

        self._started = datetime.now(timezone.utc)
        request = Request(
            device=options.device,  # type: ignore[arg-type]
            half=options.half,
            gamma=options.gamma,
            start=options.start,  # type: ignore[arg-type]
            seed=options.seed,
            quality=options.quality,  # type: ignore[arg-type]
            passes=options.passes,
        )
        self._made = study(volume, model, request, brainMask)
        self.affine, self.brain = self._made.prepared.affine, self._made.prepared.brain
        self.passes = self._made.settings.sweep_passes

    def sweep(self) -> Generator[Step, None, SweepLike]:
        from IterMask3DLib.methods.itermask3d.loop import sweep

        return sweep(self._made.case, self._made.runner, self._made.settings)

    def remembered(self, thresholds: NDArray[np.float64], masks: tuple[PackedMask, ...], median: float) -> SweepLike:
        from IterMask3DLib.methods.itermask3d.loop import Sweep

        return Sweep(thresholds, masks, median)

    def choose(self, sweep: SweepLike, choice: Choice) -> tuple[Curve, tuple[str, ...]]:
        from IterMask3DLib.methods.itermask3d.threshold import fit_curve

        settings = self._made.settings.curve
        if choice.gamma is not None:
            settings = replace(settings, gamma=choice.gamma, times_median=None)
        curve, warnings = fit_curve(sweep.thresholds, settings, sweep.median)
        return (curve, warnings) if choice.point is None else (replace(curve, chosen=choice.point, fixed=None), ())

    def shrink(self, curve: Curve, start: BoolVolume, first: int, warnings: tuple[str, ...]) -> Generator[Step, None, Result]:
        from IterMask3DLib.methods.itermask3d.loop import shrink

        return shrink(self._made.case, self._made.runner, curve, self._made.settings, start, first=first, warnings=warnings)

    def unscaled(self, reconstruction: FloatVolume) -> NDArray[Any]:
        scaled, original = self._made.prepared.scaled, self._made.prepared.original
        values = np.where(self.brain, reconstruction * scaled.factor + scaled.offset, 0)
        whole = original.array.dtype.kind in "iub" and np.abs(values).max() < np.iinfo(np.int16).max
        return np.round(values).astype(np.int16) if whole else values.astype(np.float32)

    def restore(self, result: Result, seconds: float, choice: Choice) -> CaseOutcome:
        from IterMask3DLib.run import provenance_of, restored

        made = self._made
        by_model = made.settings.curve.times_median if result.curve.fixed is not None else None
        curve = replace(made.settings.curve, gamma=result.curve.gamma, times_median=by_model)
        settings = replace(made.settings, curve=curve, start=choice.start)  # type: ignore[arg-type]
        provenance = provenance_of(made.model, made.request, settings, made.runner, self._started, seconds)
        provenance["point_chosen_by"] = "hand" if choice.point is not None else "gamma" if by_model is None else "model"
        outcome = restored(made.prepared.original, made.prepared, result, provenance)
        return replace(outcome, warnings=outcome.warnings + tuple(made.runner.notices))
