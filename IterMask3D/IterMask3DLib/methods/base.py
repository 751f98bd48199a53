"""What a method is to everything else."""

from __future__ import annotations

import enum
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from IterMask3DLib.core.card import Figure, ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Edit, Request
from IterMask3DLib.core.result import Layer, Steps
from IterMask3DLib.core.settings import as_published, changed, check_counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from IterMask3DLib.core.artifacts import ThresholdCurve
    from IterMask3DLib.core.image import BoolVolume, FloatVolume, PackedMask
    from IterMask3DLib.models.store import Model
    from IterMask3DLib.models.weights import TensorKind
    from IterMask3DLib.preprocessing.prepare import Prepared
    from IterMask3DLib.runtime.runner import Runtime


Networks = Mapping[str, "nn.Module"]
"""Networks by their names."""

Batch = Mapping[str, "Tensor"]
"""Examples, stacked: [b, …] by name."""


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
        implementation: "module:Class" of the `Method`, imported when a run needs it.
        TrainingSettings: likewise, the choices of a training beside the general ones; None: it cannot be trained here.
            It may have `check(where)`, which raises `UserError` for choices that do not go together.
        CalibrationSettings: likewise, the choices of a calibration; None: it has nothing to calibrate.
        ConversionSettings: likewise, what is said of a converted checkpoint beside its inputs and grid; None: nothing.
        presets: general choices of a training by preset (default, published), where they are other than usual.
        dimensions: of what a network of it sees: 3 (volumes) or 2 (slices).
        side_multiple: every side of a grid is a multiple of it.
        intensity: the scale that a training brings intensities to, by its name.
    """

    name: str
    title: str
    citation: str
    capabilities: frozenset[Capability]
    Settings: type[Any]
    implementation: str
    TrainingSettings: type[Any] | None = None
    CalibrationSettings: type[Any] | None = None
    ConversionSettings: type[Any] | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dimensions: int = 3
    side_multiple: int = 16
    intensity: str = "zscore_clip3"

    def load(self) -> Method:
        """The method itself. Raises `UserError` where something that it needs is missing."""
        module, _, name = self.implementation.partition(":")
        try:
            method: Method = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError) as error:
            raise UserError(f"The method {self.name} cannot be loaded ({error}); install what it needs.") from error
        return method

    def settings(self, card: ModelCard, request: Request | None = None) -> Any:
        """The settings of a run: the method's own, then the card's, then the user's. Raises `UserError`."""
        settings = changed(self.Settings(), card.settings, f"model {card.name}")
        if request is None:
            return settings
        if request.quality == "published":
            settings = as_published(settings)
        settings = changed(settings, request.settings, "settings")
        check_counted(settings, request.settings, f"model {card.name}")
        return settings.resolved(request) if hasattr(settings, "resolved") else settings


class Method(ABC):
    """Finds what a network of healthy brains cannot explain.

    Attributes:
        signed_assets: names of the assets that may be 0 or less.
    """

    signed_assets: frozenset[str] = frozenset()

    @abstractmethod
    def build(self, card: ModelCard) -> Networks:
        """The networks of a card, untrained, by name. Raises `UserError` for a configuration that makes no network."""

    def tensors(self, card: ModelCard) -> Mapping[str, Mapping[str, TensorKind]]:
        """Type and shape of each tensor of each network of a card. Raises `UserError` as `build` does.

        A method whose runs can do without PyTorch tells them without it.
        """
        import torch

        from IterMask3DLib.models.weights import kinds_of

        with torch.device("meta"):
            return {name: kinds_of(network.state_dict()) for name, network in self.build(card).items()}

    def assets(self, card: ModelCard) -> Mapping[str, tuple[int, ...]]:
        """The shape of each float32 array that a card's model has beside its networks."""
        return {}

    @abstractmethod
    def infer(self, case: Prepared, model: Model, settings: Any, runtime: Runtime) -> Steps:
        """One `Step` a forward pass, then the `Result`. Closing the generator cancels; what was yielded stays valid."""


@runtime_checkable
class Resumable(Protocol):
    """A method that goes on from a run that was made: another threshold, or a mask that a person drew."""

    def resume(self, case: Prepared, model: Model, settings: Any, runtime: Runtime, state: Any, edit: Edit) -> Steps:
        """The passes from the edit on. `state`: of an earlier result, or what `recall` gives."""
        ...

    def recall(self, curve: ThresholdCurve, masks: Sequence[PackedMask]) -> Any:
        """The state of a run from its threshold curve and the mask that each of its first steps left."""
        ...


@runtime_checkable
class Convertible(Protocol):
    """A method whose published code leaves checkpoints."""

    def convert(self, checkpoints: Sequence[Path], out: Path, options: Mapping[str, Any]) -> ModelCard:
        """Writes a model folder from checkpoints that hold tensors alone, and returns its card. Raises `UserError`.

        Args:
            options: `inputs` (names), and where they were given `spacing` (mm), `shape` (voxels) and what the method's
                `ConversionSettings` have.
        """
        ...


@dataclass(frozen=True)
class Healthy:
    """A healthy brain on the grid of a model: a volume, or one slice of it where the grid is 2D.

    Attributes:
        channels: float32 [c, x, y, z] or [c, x, y], scaled, in the order of the inputs.
        brain: bool [x, y, z] or [x, y].
        spacing: mm along each axis.
        given: like `channels`, the same brain with noise and synthetic anomalies: what a network may be given where
            `channels` is what it is to return; None: no other than `channels`.
        anomalous: float32 like `brain`, how much of each voxel is an anomaly, 0 to 1; None: nothing is.
        cohort: whose it is, where there are several.
    """

    channels: FloatVolume
    brain: BoolVolume
    spacing: tuple[float, ...]
    given: FloatVolume | None = None
    anomalous: FloatVolume | None = None
    cohort: str = ""

    @property
    def tissue(self) -> BoolVolume:
        """What of the brain is healthy, like `brain`."""
        return self.brain if self.anomalous is None else self.brain & (self.anomalous == 0)


Example = Mapping[str, "NDArray[np.generic]"]
"""What a network learns from at a time, by name; a batch holds the same names, stacked to tensors [b, …]."""

Report = Callable[[str], None]
"""Hears one sentence on what is being done."""


@dataclass(frozen=True)
class Stage:
    """A part of a training, with networks, examples and a loss of its own.

    Attributes:
        name: for its files, its progress and the `TrainingTask`.
        validation: kinds of example that its validation has.
        selected_by: the mean error over these kinds decides which weights are best; empty: over all.
        options: general choices of a training that are other in this stage, by name (e.g. steps, learning_rate).
    """

    name: str
    validation: tuple[str, ...] = ("validation",)
    selected_by: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """What healthy brains say about a model: new settings, the figures behind them, and assets that go with them.

    Attributes:
        replaces: whether the settings stand in the place of all that the card had, and not beside them.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    assets: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    replaces: bool = False


def pictured(intensities: Batch, scores: Batch | None = None) -> dict[str, Layer]:
    """Layers of the first volume or slice of batches [b, 1, …], by name."""
    kinds = ((Layer.intensity, intensities), (Layer.score, scores or {}))
    return {name: layer(batch[0, 0].cpu().numpy()) for layer, batches in kinds for name, batch in batches.items()}


class TrainingTask(ABC):
    """How a method learns: one or more stages, trained one after the other.

    It is sent to the processes that make the examples, so it holds plain values and no network.

    Attributes:
        stages: in the order in which they are trained.
        smallest_slice: slices with less brain than this share of the largest one of their volume are left out, in
            2D alone.
    """

    stages: Sequence[Stage]
    smallest_slice = 0.1

    def inputs(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        """The channels that a run of the model needs, of those it is trained with."""
        return channels

    @abstractmethod
    def networks(self, stage: str, earlier: Networks) -> Networks:
        """The networks that a stage trains, by name, with the weights they begin with.

        Args:
            earlier: what the stages before have learned, in evaluation mode.
        """

    @abstractmethod
    def example(self, stage: str, healthy: Healthy, rng: np.random.Generator, kind: str | None = None) -> Example:
        """One example of a stage, from an augmented brain. `kind`: one of the validation's; None: for training."""

    @abstractmethod
    def loss(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        """What a stage makes small: a scalar.

        Random numbers of PyTorch are seeded for each step.

        Args:
            networks: those of the stage and of the stages before; to be called as functions, which decides their
                precision.
            batch: stacked examples, on the device of the networks.
        """

    def validation_error(self, stage: str, networks: Networks, batch: Batch) -> Tensor:
        """How far a stage is off for one example (a batch of one): a scalar. The loss, where a method says no other."""
        return self.loss(stage, networks, batch)

    def pictures(self, stage: str, networks: Networks, batch: Batch) -> Mapping[str, Layer]:
        """Volumes or slices that show a person how a stage does on one example, by name; drawn by their kind."""
        return {}

    def optimiser(self, stage: str, networks: Networks, learning_rate: float) -> Optimizer:
        """What changes the weights of a stage. The rates of its groups follow the schedule, each times its `scale`."""
        from torch.optim import Adam

        parameters = (each for network in networks.values() for each in network.parameters() if each.requires_grad)
        return Adam(parameters, lr=learning_rate)

    @abstractmethod
    def configs(self) -> Mapping[str, Mapping[str, Any]]:
        """What each network of the finished model is built with, by name; those that are not named stay out of it."""

    def finish(self, model: Model, validation: Sequence[Healthy], runtime: Runtime, report: Report) -> Calibration:
        """What the method sets on a model when its training is done.

        Args:
            validation: whole volumes that it did not learn from; may be empty. Each process has all of them.
        """
        return Calibration()


@runtime_checkable
class Trainable(Protocol):
    """A method that learns here."""

    def training_task(self, card: ModelCard, settings: Any) -> TrainingTask:
        """The task for a model with the inputs and the grid of a card, with the method's `TrainingSettings`.

        Raises `UserError` for inputs or settings it cannot learn from.
        """
        ...


@runtime_checkable
class Calibratable(Protocol):
    """A method that measures on healthy brains the numbers it is used with."""

    def calibrate(
        self,
        model: Model,
        training: Sequence[Healthy],
        validation: Sequence[Healthy],
        settings: Any,
        runtime: Runtime,
        report: Report,
    ) -> Calibration:
        """New settings for a model.

        Args:
            training, validation: whole volumes, read when they are asked for; each process has all of them.
            settings: the method's `CalibrationSettings`.
        """
        ...
