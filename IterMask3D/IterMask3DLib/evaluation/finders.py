"""What is compared: anything that finds anomalies in a volume, IterMask3D among them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.models.store import Model
from IterMask3DLib.core.image import BoolVolume, FloatVolume, Step, Image
from IterMask3DLib.methods.itermask3d.loop import sweep
from IterMask3DLib.run import OnStep, Request, segment, settings_of, study

ERROR_THRESHOLDS: NDArray[np.float64] = np.geomspace(1e-4, 1e4, 641)
"""Thresholds that are tried on errors; neighbours differ by 3 %."""


@dataclass(frozen=True)
class Finding:
    """What was found in a volume, [i, j, k] on its grid.

    `mask`: the finder's own; `score`: larger is more anomalous, 0 outside the brain; `reconstruction`: in the intensities of the volume;
    `first_error`: mean error over the brain of the pass that hides all of it, for a finder with several passes.
    """

    mask: BoolVolume
    score: FloatVolume
    reconstruction: FloatVolume | None = None
    first_error: float | None = None


class Finder(Protocol):
    """Anything that can be evaluated."""

    @property
    def name(self) -> str:
        """A short word for files and columns."""

    @property
    def title(self) -> str:
        """What a reader sees."""

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Thresholds on the score, ascending, among which a best one is looked for."""

    def identity(self) -> Mapping[str, Any]:
        """All that decides what is found, JSON-able: results with another identity are computed again."""

    def find(self, volume: Image, brain: BoolVolume) -> Finding:
        """Looks at a volume [i, j, k] whose brain is known. Raises `UserError`."""


class Scorer(Protocol):
    """A baseline before its threshold is chosen: like `Finder`, but gives a score and perhaps a reconstruction."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def thresholds(self) -> NDArray[np.float64]: ...

    def identity(self) -> Mapping[str, Any]: ...

    def score(self, volume: Image, brain: BoolVolume) -> tuple[FloatVolume, FloatVolume | None]:
        """The score [i, j, k], 0 outside `brain`, and the reconstruction in the volume's intensities where there is one."""


@dataclass(frozen=True)
class IterMask3D:
    """The method with the settings of its model's card; `on_step` hears every network pass."""

    model: Model
    request: Request
    on_step: OnStep = lambda step: None
    name: str = "itermask3d"
    title: str = "IterMask3D"

    @property
    def thresholds(self) -> NDArray[np.float64]:
        return ERROR_THRESHOLDS

    def identity(self) -> Mapping[str, Any]:
        return {**model_identity(self.model), "settings": asdict(settings_of(self.model, self.request)), **_request_identity(self.request)}

    def find(self, volume: Image, brain: BoolVolume) -> Finding:
        first: list[float] = []

        def watch(step: Step) -> None:
            if step.number == 1:
                errors = step.error_map()
                first.append(float(errors.sum(dtype=np.float64) / np.count_nonzero(errors)))
            self.on_step(step)

        outcome = segment(volume, self.model, self.request, _as_volume(brain, volume), on_step=watch)
        return Finding(outcome.anomaly, outcome.heatmap, outcome.reconstruction, first[0])


class FirstPass:
    """The network's pass that hides the whole brain; that of the last volume is kept, because several finders ask for it one after another."""

    def __init__(self, model: Model, request: Request) -> None:
        self.model, self.request = model, request
        self._volume: Image | None = None
        self._found: tuple[FloatVolume, FloatVolume, FloatVolume] | None = None

    def of(self, volume: Image, brain: BoolVolume) -> tuple[FloatVolume, FloatVolume, FloatVolume]:
        """On the grid of `volume` [i, j, k]: squared error, error scored as the model's card says, and the reconstruction."""
        if self._found is None or self._volume is not volume:
            made = study(volume, self.model, self.request, _as_volume(brain, volume))
            step = next(sweep(made.case, made.runner, made.settings))
            scored, reconstruction = step.error_map(), step.reconstruction()
            squared = np.square(reconstruction - made.case.volume) * made.prepared.brain
            squared, scored = (made.prepared.restore_map(errors) * brain for errors in (squared, scored))
            self._volume, self._found = volume, (squared, scored, made.prepared.restore_intensity(reconstruction))
        return self._found


@dataclass(frozen=True)
class OnePass:
    """The same network, once, with the whole brain hidden: what the iterations have to improve on.

    `scored`: its error is scored as the model's card says (smoothed, divided by that of healthy brains); else it is the plain squared error.
    """

    first: FirstPass
    scored: bool = False

    @property
    def name(self) -> str:
        return "one_pass_scored" if self.scored else "one_pass"

    @property
    def title(self) -> str:
        return f"One pass, {'error scored alike' if self.scored else 'squared error'}"

    @property
    def thresholds(self) -> NDArray[np.float64]:
        return ERROR_THRESHOLDS

    def identity(self) -> Mapping[str, Any]:
        model, request = self.first.model, self.first.request
        settings = settings_of(model, request)
        deciding = {"scored": self.scored, "smoothing": settings.smoothing, "seed": settings.seed}
        return {**model_identity(model), **deciding, **_request_identity(request)}

    def score(self, volume: Image, brain: BoolVolume) -> tuple[FloatVolume, FloatVolume | None]:
        squared, scored, reconstruction = self.first.of(volume, brain)
        return scored if self.scored else squared, reconstruction


def one_passes(model: Model, request: Request) -> list[OnePass]:
    """One pass with the model's scoring, and with the plain squared error where that is another one."""
    scoring, first = model.card.scoring, FirstPass(model, request)
    plain = request.quality == "published" or not (scoring.smoothing_mm or scoring.healthy_error)
    return [OnePass(first)] if plain else [OnePass(first, scored=True), OnePass(first)]


@dataclass(frozen=True)
class Thresholded:
    """A scorer whose own mask is where its score is above `threshold`, less components of fewer than `smallest_voxels`."""

    scorer: Scorer
    threshold: float
    smallest_voxels: int = 0

    @property
    def name(self) -> str:
        return self.scorer.name

    @property
    def title(self) -> str:
        return self.scorer.title

    @property
    def thresholds(self) -> NDArray[np.float64]:
        return self.scorer.thresholds

    def identity(self) -> Mapping[str, Any]:
        return {**self.scorer.identity(), "threshold": self.threshold, "smallest_voxels": self.smallest_voxels}

    def find(self, volume: Image, brain: BoolVolume) -> Finding:
        score, reconstruction = self.scorer.score(volume, brain)
        mask = (score > self.threshold) & brain
        if self.smallest_voxels > 1:
            labels, _ = ndimage.label(mask, structure=np.ones((3, 3, 3), dtype=bool))
            mask &= np.bincount(labels.ravel())[labels] >= self.smallest_voxels
        return Finding(mask, score, reconstruction)


def model_identity(model: Model) -> dict[str, Any]:
    """Name, weights and everything on the card that decides a result."""
    deciding = replace(model.card, title="", training={}, figures={}, options={}, created="")
    card = hashlib.sha256(deciding.to_json().encode()).hexdigest()
    return {"model": model.card.name, "sha256": model.card.sha256, "card": card}


def _request_identity(request: Request) -> dict[str, Any]:
    return {"quality": request.quality, "half": request.half, "backend": request.backend}


def _as_volume(brain: BoolVolume, volume: Image) -> Image:
    return Image(brain, volume.affine, volume.name, volume.source or volume.name)
