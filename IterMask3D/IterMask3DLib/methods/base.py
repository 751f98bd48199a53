"""What a method is to everything else."""

from __future__ import annotations

import enum
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.request import Edit, Request
from IterMask3DLib.core.result import Result, Step
from IterMask3DLib.core.settings import as_published, changed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from IterMask3DLib.core.artifacts import ThresholdCurve
    from IterMask3DLib.core.image import BoolVolume, FloatVolume, PackedMask
    from IterMask3DLib.models.store import Model
    from IterMask3DLib.preprocessing.prepare import Prepared
    from IterMask3DLib.runtime.runner import Runtime


class Capability(enum.Enum):
    """What a method can give; a section of the panel is there when the model's method can."""

    STEPS = "steps"
    THRESHOLD_CURVE = "threshold_curve"
    RESUME_FROM_MASK = "resume_from_mask"
    RECONSTRUCTION = "reconstruction"
    SEGMENTATION = "segmentation"
    CASE_SCORE = "case_score"
    SLICE_SCORES = "slice_scores"


@dataclass(frozen=True)
class MethodSpec:
    """What a door knows of a method; made without torch.

    Attributes:
        name: for cards and options; title: for readers; citation: its paper.
        capabilities: what it can give.
        Settings: frozen dataclass of `core.settings.setting` fields. It may have `resolved(request)`, which gives the
            settings that follow from others.
        TrainingSettings: likewise, the choices of a training beside the general ones; None: it cannot be trained here.
        implementation: "module:Class" of the `Method`, imported when a run needs it.
    """

    name: str
    title: str
    citation: str
    capabilities: frozenset[Capability]
    Settings: type[Any]
    implementation: str
    TrainingSettings: type[Any] | None = None

    def load(self) -> Method:
        """The method itself."""
        module, _, name = self.implementation.partition(":")
        made: Method = getattr(importlib.import_module(module), name)()
        return made

    def settings(self, card: ModelCard, request: Request | None = None) -> Any:
        """The settings of a run: the method's own, then the card's, then the user's. Raises `UserError`."""
        settings = changed(self.Settings(), card.settings, f"model {card.name}")
        if request is None:
            return settings
        if request.quality == "published":
            settings = as_published(settings)
        settings = changed(settings, request.settings, "settings")
        return settings.resolved(request) if hasattr(settings, "resolved") else settings


class Method(ABC):
    """Finds what a network of healthy brains cannot explain."""

    @abstractmethod
    def build(self, card: ModelCard) -> Mapping[str, nn.Module]:
        """The networks of a card, untrained, by name. Raises `UserError` for a configuration that makes no network."""

    def assets(self, card: ModelCard) -> Mapping[str, tuple[int, ...]]:
        """The shape of each float32 array that a card's model has beside its networks."""
        return {}

    @abstractmethod
    def infer(self, case: Prepared, model: Model, settings: Any, runtime: Runtime) -> Generator[Step, None, Result]:
        """One `Step` a forward pass, then the `Result`. Closing the generator cancels; what was yielded stays valid."""


@runtime_checkable
class Resumable(Protocol):
    """A method that goes on from a run that was made: another threshold, or a mask that a person drew."""

    def resume(
        self, case: Prepared, model: Model, settings: Any, runtime: Runtime, state: Any, edit: Edit
    ) -> Generator[Step, None, Result]:
        """The passes from the edit on. `state`: of an earlier result, or what `recall` gives."""
        ...

    def recall(self, curve: ThresholdCurve, masks: Sequence[PackedMask]) -> Any:
        """The state of a run from its threshold curve and the mask that each of its first steps left."""
        ...


@runtime_checkable
class Convertible(Protocol):
    """A method whose published code leaves checkpoints."""

    def convert(self, checkpoints: Sequence[Path], out: Path, options: Mapping[str, Any]) -> ModelCard:
        """Writes a model folder from checkpoints that hold tensors alone, and returns its card. Raises `UserError`."""
        ...


@dataclass(frozen=True)
class Healthy:
    """A healthy brain on the grid of a model: channels float32 [c, x, y, z], brain bool [x, y, z], spacing in mm."""

    channels: FloatVolume
    brain: BoolVolume
    spacing: tuple[float, float, float]


Example = Mapping[str, "NDArray[np.generic]"]
"""What a network is shown in one training example, by name; batches stack them."""


class TrainingTask(Protocol):
    """How a method learns: one or more stages, each with networks, examples and a loss.

    Attributes:
        stages: names, in the order in which they are trained; each may use what the ones before have learned.
        validation: kinds of example that validation shows, in each stage; the mean over `judged_by` decides which weights
            are best.
    """

    stages: Sequence[str]
    validation: Mapping[str, Sequence[str]]
    judged_by: Mapping[str, Sequence[str]]

    def networks(self, stage: str) -> Mapping[str, nn.Module]:
        """The networks that a stage trains, by name."""
        ...

    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        """One example of a stage; `kind`: one of the validation's kinds, None for training."""
        ...

    def loss(self, stage: str, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor]) -> Tensor:
        """What a stage makes small: a scalar, over a batch of examples [b, …]."""
        ...

    def validation_error(self, stage: str, output: NDArray[Any], example: Example) -> float:
        """How far the output of the first network of a stage is off for one example."""
        ...

    def card(self, networks: Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, Any]:
        """The fields of the model card that follow from the training: networks and settings."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """A method that learns here."""

    def training_task(self, card_fields: Mapping[str, Any], settings: Any) -> TrainingTask:
        """The task for a model of these inputs, grid and spacing, with the method's `TrainingSettings`."""
        ...


@runtime_checkable
class Calibratable(Protocol):
    """A method that measures on healthy brains the numbers it is used with."""

    def calibrate(
        self,
        model: Model,
        training: Sequence[Prepared],
        validation: Sequence[Prepared],
        options: Mapping[str, Any],
        runtime: Runtime,
        say: Callable[[str], None],
    ) -> tuple[ModelCard, Mapping[str, NDArray[np.float32]]]:
        """The card with new settings and figures, and the assets that go with it."""
        ...
