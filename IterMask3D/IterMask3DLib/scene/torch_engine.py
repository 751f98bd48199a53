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

from IterMask3DLib.engine.errors import InputError
from IterMask3DLib.engine.records import BoolVolume, Curve, FloatVolume, PackedMask, Result, Step, Volume
from IterMask3DLib.scene.engine_port import OnPhase, Study, SweepLike
from IterMask3DLib.scene.records import RunOptions

if TYPE_CHECKING:
    from IterMask3DLib.engine.models import Model
    from IterMask3DLib.results.outcome import CaseOutcome


class TorchEngine:
    """Keeps the models it has read, so that the next volume starts at once."""

    def __init__(self) -> None:
        self._models: dict[Path, Model] = {}

    def prepare(self, volume: Volume, brainMask: Volume | None, options: RunOptions, onPhase: OnPhase) -> Study:
        try:
            from IterMask3DLib.engine.models import find_model, load_model
        except ImportError as error:
            raise InputError(f"The Python package {error.name} is missing; install the packages IterMask3D needs first.") from None
        folder = find_model(options.model)
        if folder not in self._models:
            onPhase("Reading the model")
            self._models[folder] = load_model(folder)
        onPhase("Preparing the volume")
        return TorchStudy(volume, brainMask, self._models[folder], options)

    def release(self) -> None:
        self._models.clear()
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class TorchStudy:
    """A prepared volume with the network that looks at it."""

    def __init__(self, volume: Volume, brainMask: Volume | None, model: Model, options: RunOptions) -> None:
        from IterMask3DLib.engine.device import Runner, choose_place
        from IterMask3DLib.engine.execution import InferenceUNet
        from IterMask3DLib.engine.highfreq import high_frequency
        from IterMask3DLib.engine.prepare import Grid, prepare
        from IterMask3DLib.methods.itermask3d import Case
        from IterMask3DLib.pipeline import Request, settings_of

        self._started = datetime.now(timezone.utc)
        self._model, self._volume = model, volume
        self._request = Request(options.device, options.half, options.gamma, options.start, options.seed)  # type: ignore[arg-type]
        settings = settings_of(model, self._request)
        self._settings = settings if options.passes is None else replace(settings, passes=options.passes)
        place, card = choose_place(self._request.device, options.half), model.card
        self._prepared = prepare(volume, Grid(card.grid.spacing, card.grid.shape, card.intensity), brainMask)
        high = high_frequency(self._prepared.volume, self._prepared.spacing, card.high_frequency_cutoff)
        self._case = Case(self._prepared.volume, high, self._prepared.brain)
        self._runner = Runner(InferenceUNet(model.network), place)
        self.affine, self.brain, self.passes = self._prepared.affine, self._prepared.brain, self._settings.passes

    def sweep(self) -> Generator[Step, None, SweepLike]:
        from IterMask3DLib.methods.itermask3d import sweep

        return sweep(self._case, self._runner, self._settings)

    def remembered(self, thresholds: NDArray[np.float64], masks: tuple[PackedMask, ...]) -> SweepLike:
        from IterMask3DLib.methods.itermask3d import Sweep

        return Sweep(thresholds, masks)

    def choose(self, sweep: SweepLike, gamma: float | None, point: int | None) -> tuple[Curve, tuple[str, ...]]:
        from IterMask3DLib.engine.threshold import fit_curve

        settings = self._settings.curve if gamma is None else replace(self._settings.curve, gamma=gamma)
        curve, warnings = fit_curve(sweep.thresholds, settings)
        return (curve, warnings) if point is None else (replace(curve, chosen=point), ())

    def shrink(self, curve: Curve, start: BoolVolume, first: int, warnings: tuple[str, ...]) -> Generator[Step, None, Result]:
        from IterMask3DLib.methods.itermask3d import shrink

        return shrink(self._case, self._runner, curve, self._settings, start, first=first, warnings=warnings)

    def unscaled(self, reconstruction: FloatVolume) -> NDArray[Any]:
        scaled = self._prepared.scaled
        values = np.where(self.brain, reconstruction * scaled.factor + scaled.offset, 0)
        whole = self._volume.array.dtype.kind in "iub" and np.abs(values).max() < np.iinfo(np.int16).max
        return np.round(values).astype(np.int16) if whole else values.astype(np.float32)

    def restore(self, result: Result, seconds: float) -> CaseOutcome:
        from IterMask3DLib.pipeline import provenance_of, restored

        curve = replace(self._settings.curve, gamma=result.curve.gamma)
        provenance = provenance_of(self._model, self._request, replace(self._settings, curve=curve), self._runner, self._started, seconds)
        outcome = restored(self._volume, self._prepared, result, provenance)
        return replace(outcome, warnings=outcome.warnings + tuple(self._runner.notices))
