"""What is compared: anything that detects anomalies in a case, models of every method among them."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import json_text
from IterMask3DLib.core.image import BoolVolume, Case, FloatVolume, Image
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import ANOMALY, ERROR_MAP, HEATMAP, RECONSTRUCTION, Layer, Step
from IterMask3DLib.core.settings import about, as_published
from IterMask3DLib.evaluation.cases import LoadedCase, contrast_of
from IterMask3DLib.methods.base import Capability
from IterMask3DLib.methods.registry import find_method
from IterMask3DLib.models.store import Model
from IterMask3DLib.run import CaseRun, Event, finish
from IterMask3DLib.runtime.runner import Runtime

ERROR_THRESHOLDS: NDArray[np.float64] = np.geomspace(1e-4, 1e4, 641)
"""Thresholds that are tried on errors; neighbours differ by 3 %."""


@dataclass(frozen=True)
class Detection:
    """What was detected in a case, [i, j, k] on the grid of its reference; what a detector does not have is None.

    Attributes:
        mask: bool, the detector's own.
        score: float32, larger is more anomalous, 0 outside the brain.
        reconstruction: in the intensities of the reference.
        slices: how anomalous the slice of each voxel is, float32, 0 outside the brain.
        case_score: how anomalous the whole case is.
        first_error: of the first of several passes: what the method itself measures of it, by which a run warns, else
            the mean error over the brain.
    """

    mask: BoolVolume | None = None
    score: FloatVolume | None = None
    reconstruction: FloatVolume | None = None
    slices: FloatVolume | None = None
    case_score: float | None = None
    first_error: float | None = None


class Detector(ABC):
    """Anything that can be evaluated.

    Attributes:
        name: a short word for files and columns; title: what a reader sees.
        thresholds: on the score, ascending, among which a best one is looked for.
        smallest_voxels: components of fewer voxels leave the mask where a threshold makes it.
    """

    name: str
    title: str
    thresholds: NDArray[np.float64] = ERROR_THRESHOLDS
    smallest_voxels: int = 0

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """All that decides what is detected, JSON-able: results with another identity are computed again."""

    @abstractmethod
    def detect(self, case: LoadedCase) -> Detection:
        """Raises `UserError`."""

    def accepts(self, channels: Sequence[str]) -> bool:
        """Whether it can be used where these channels are."""
        return True


class ModelDetector(Detector):
    """A model of any method, run as `itermask3d segment` runs it.

    Args:
        model: with the method that its card names.
        request: its `settings` may be of several methods; those that this one has are used.
        name, title: where the method's own do not tell it from others.

    Attributes:
        is_strict: whether a model of one input takes no image of another channel.
    """

    is_strict = False

    def __init__(self, model: Model, request: Request, name: str = "", title: str = "") -> None:
        self.model, self.spec = model, find_method(model.card.method)
        self.name, self.title = name or self.spec.name, title or self.spec.title
        known = about(self.spec.Settings)
        self.request = replace(request, settings={k: v for k, v in request.settings.items() if k in known})
        self.settings = self.spec.settings(model.card, self.request)

    def identity(self) -> Mapping[str, Any]:
        runtime = Runtime.of(self.request)
        return {
            "model": self.model.card.name,
            "model_sha256": dict(self.model.card.files),
            "card": hashlib.sha256(json_text(self.model.card.deciding).encode()).hexdigest(),
            "settings": asdict(self.settings),
            "seed": self.request.seed,
            "device": str(runtime.device),
            "backend": runtime.backend,
        }

    def accepts(self, channels: Sequence[str]) -> bool:
        """A model of one input takes the only image, unless it is strict."""
        inputs = self.model.card.inputs
        return set(inputs) <= set(channels) or (not self.is_strict and len(inputs) == len(channels) == 1)

    @property
    def members(self) -> Sequence[ModelDetector]:
        """The detectors of the single models."""
        return (self,)

    def of(self, channels: Sequence[str]) -> ModelDetector:
        """What is used where these channels are."""
        return self

    def detect(self, case: LoadedCase) -> Detection:
        first: list[float] = []

        def watch(event: Event) -> None:
            if isinstance(event, Step) and event.number == 1 and ERROR_MAP in event.layers:
                errors = event.layers[ERROR_MAP].read()
                first.append(float(errors.sum(dtype=np.float64) / max(1, np.count_nonzero(errors))))

        run = CaseRun.of(self.case_for(case), self.model, self.request)
        result = finish(run.infer(), watch)
        first_error = result.scalars.get("first_error")
        if first_error is None and first and Capability.STEPS in self.spec.capabilities:
            first_error = first[0]
        mask, score, reconstruction = (result.array(name) for name in (ANOMALY, HEATMAP, RECONSTRUCTION))
        slices = None
        if result.slice_scores is not None:
            everywhere = np.broadcast_to(np.asarray(result.slice_scores, np.float32), run.prepared.brain.shape)
            slices = run.prepared.restore(Layer.score(everywhere)).read()
        return Detection(mask, score, reconstruction, slices, result.case_score, first_error)

    def case_for(self, case: LoadedCase) -> Case:
        """The images that the model takes, with the brain as it is known."""
        inputs = self.model.card.inputs
        named = all(name in case.images for name in inputs)
        images = {name: case.images[name] for name in inputs} if named else case.images
        reference = next(iter(images.values()))
        return Case(reference.name, images, Image(case.brain, reference.affine, reference.name, reference.label))


class ByContrast(ModelDetector):
    """Models of one method, each for its own contrast: a case goes to the model of its contrast.

    Args:
        detectors: the first has the name, the title and the settings of all.
    """

    def __init__(self, detectors: Sequence[ModelDetector]) -> None:
        first = detectors[0]
        super().__init__(first.model, first.request, first.name, first.title)
        self.detectors = tuple(detectors)
        for detector in detectors:
            detector.is_strict = True

    def identity(self) -> Mapping[str, Any]:
        own = [detector.identity() for detector in self.detectors]
        names = [one["model"] for one in own]
        together = {key: dict(zip(names, (one[key] for one in own), strict=True)) for key in own[0] if key != "model"}
        return {"model": ", ".join(names), **together}

    def accepts(self, channels: Sequence[str]) -> bool:
        return any(detector.accepts(channels) for detector in self.detectors)

    @property
    def members(self) -> Sequence[ModelDetector]:
        return self.detectors

    def of(self, channels: Sequence[str]) -> ModelDetector:
        return next(detector for detector in self.detectors if detector.accepts(channels))

    def detect(self, case: LoadedCase) -> Detection:
        return self.of(tuple(case.images)).detect(case)


def lines_of_models(detectors: Sequence[ModelDetector]) -> list[ModelDetector]:
    """The detectors, those of one method that take one contrast each, all different, as one line.

    A model for a contrast that the line before it has begins another one. Raises `UserError` for two lines of one name.
    """
    lines: list[ModelDetector] = []
    for method in dict.fromkeys(detector.spec.name for detector in detectors):
        groups: list[list[ModelDetector]] = []
        for detector in (each for each in detectors if each.spec.name == method):
            inputs = detector.model.card.inputs
            group = next(
                (g for g in groups if len(inputs) == 1 and all(_is_of_another(one, inputs) for one in g)), None
            )
            if group is None:
                groups.append(group := [])
            group.append(detector)
        for group in groups:
            line = ByContrast(group) if len(group) > 1 else group[0]
            if len(groups) > 1:
                names = [one.model.card.name for one in group]
                line.name = re.sub(r"[^\w+-]+", "_", f"{line.name}_{names[0]}")
                line.title = f"{line.title}, {' + '.join(names)}"
                if line.name in (other.name for other in lines):
                    raise UserError(f"Two models are called {names[0]}; give each its own name, or one of them once.")
            lines.append(line)
    return lines


def _is_of_another(detector: ModelDetector, inputs: Sequence[str]) -> bool:
    """Whether a model takes one contrast, and another one than these inputs."""
    own = detector.model.card.inputs
    return len(own) == 1 and own != tuple(inputs)


class OnePass(Detector):
    """The first pass of a model alone: what the further passes of its method have to improve on.

    Args:
        scored: whether its error is scored as the model scores; else it is the plain squared error.
    """

    def __init__(self, detector: ModelDetector, scored: bool = False) -> None:
        self.detector, self.scored = detector, scored
        self.name = "one_pass_scored" if scored else "one_pass"
        self.title = f"One pass, {'error scored alike' if scored else 'squared error'}"

    def identity(self) -> Mapping[str, Any]:
        return {**self.detector.identity(), "scored": self.scored}

    def accepts(self, channels: Sequence[str]) -> bool:
        return self.detector.accepts(channels)

    def detect(self, case: LoadedCase) -> Detection:
        squared, scored, reconstruction = first_pass(self.detector.of(tuple(case.images)), case)
        return Detection(score=scored if self.scored else squared, reconstruction=reconstruction)


@lru_cache(maxsize=1)
def first_pass(detector: ModelDetector, case: LoadedCase) -> tuple[FloatVolume, FloatVolume, FloatVolume]:
    """The first pass of a model on the grid of the case: squared error, error as the model scores it, reconstruction.

    That of the last case is kept, because several detectors ask for it one after another.
    """
    run = CaseRun.of(detector.case_for(case), detector.model, detector.request)
    events = run.infer()
    step = next(event for event in events if isinstance(event, Step))
    reconstruction = step.layers[RECONSTRUCTION].read()
    squared = Layer.score(np.square(reconstruction - run.prepared.channels[0]) * run.prepared.brain)
    layers = squared, step.layers.get(ERROR_MAP, squared), Layer.intensity(reconstruction)
    first, second, third = (run.prepared.restore(layer).read() for layer in layers)
    events.close()
    return first, second, third


def one_passes(detector: ModelDetector) -> list[OnePass]:
    """One pass of a method of several: scored as the model does where that goes beyond the paper, and squared."""
    if not detector.spec.capabilities >= {Capability.STEPS, Capability.RECONSTRUCTION}:
        return []
    plain = detector.settings == as_published(detector.settings)
    return [OnePass(detector)] if plain else [OnePass(detector, scored=True), OnePass(detector)]


class Thresholded(Detector):
    """A detector whose own mask is where its score is above a threshold, less the smallest components.

    Args:
        thresholds: for each contrast; of a case of another one there is no mask.
    """

    def __init__(self, detector: Detector, thresholds: Mapping[str, float]) -> None:
        self.detector, self.threshold = detector, dict(thresholds)
        self.name, self.title, self.thresholds = detector.name, detector.title, detector.thresholds
        self.smallest_voxels = detector.smallest_voxels

    def identity(self) -> Mapping[str, Any]:
        return {**self.detector.identity(), "threshold": self.threshold, "smallest_voxels": self.smallest_voxels}

    def accepts(self, channels: Sequence[str]) -> bool:
        return self.detector.accepts(channels)

    def detect(self, case: LoadedCase) -> Detection:
        found = self.detector.detect(case)
        threshold = self.threshold.get(contrast_of(tuple(case.images)))
        if found.score is None or threshold is None:
            return found
        mask = (found.score > threshold) & case.brain
        if self.smallest_voxels > 1:
            labels, _ = ndimage.label(mask, structure=np.ones((3, 3, 3), dtype=bool))
            mask &= np.bincount(labels.ravel())[labels] >= self.smallest_voxels
        return replace(found, mask=mask)
