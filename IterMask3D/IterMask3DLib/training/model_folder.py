"""From a finished training to a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from IterMask3DLib.core.card import Figure, ModelCard, NetworkEntry
from IterMask3DLib.core.files import staged_folder, take_place
from IterMask3DLib.methods.base import Calibration, Method, Networks, Report, TrainingTask
from IterMask3DLib.models.store import WEIGHTS, Model, built_with, others_in, save_model
from IterMask3DLib.runtime.distributed import current_rank
from IterMask3DLib.runtime.runner import Runtime
from IterMask3DLib.training.cache import CachedVolumes
from IterMask3DLib.training.options import TrainingOptions
from IterMask3DLib.training.synthetic import described
from IterMask3DLib.training.weights import ChosenWeights

MODEL = "model"
_RECORDED = (
    "learning_rate",
    "final_learning_rate",
    "schedule",
    "warm_up",
    "ema",
    "gradient_limit",
    "batch_norm_momentum",
    "batch_norm_steps",
)


@dataclass(frozen=True)
class Trained:
    """What a training found.

    Attributes:
        task: what was trained; options: how.
        weights: of each stage, in their order.
        networks: of all stages, in evaluation mode.
        errors: of validation, by stage and kind of example.
    """

    task: TrainingTask
    options: TrainingOptions
    weights: Sequence[ChosenWeights]
    networks: Networks
    errors: Mapping[str, Mapping[str, float]]


def card_of(trained: Trained, draft: ModelCard, facts: Mapping[str, Any], validation: int) -> ModelCard:
    """The card of a trained model.

    Args:
        draft: a card with the method, the channels and the grid of the training.
        facts: what is said of the training data, and the command.
        validation: how many volumes validated it.
    """
    options, stages = trained.options, trained.task.stages

    def told(values: Sequence[Any]) -> Any:
        """Of one stage its value, of several each by its name."""
        return dict(zip((stage.name for stage in stages), values, strict=True)) if len(stages) > 1 else values[0]

    recipe = {
        **asdict(options.settings),
        **{name: getattr(options, name) for name in _RECORDED},
        "augmentation": described(options),
        "precision": trained.weights[0].precision,
        "weights": told([weights.description for weights in trained.weights]),
    }
    step = told([weights.step for weights in trained.weights])
    numbers = {"steps": step, "batch": options.batch, "seed": options.seed, "validation volumes": validation}
    return replace(
        draft,
        title=options.title or f"Healthy brain, {draft.modality}, {options.spacing:g} mm",
        inputs=trained.task.inputs(draft.inputs),
        networks={name: NetworkEntry(WEIGHTS, config=config) for name, config in trained.task.configs().items()},
        training={**options.about, **facts, **numbers, "recipe": recipe},
        figures=tuple(_error_figures(trained, validation)),
        created=datetime.now(timezone.utc).date().isoformat(),
    )


def _error_figures(trained: Trained, validation: int) -> list[Figure]:
    on, several = f"{validation} validation volumes", len(trained.errors) > 1
    return [
        Figure(f"validation error, {f'{stage}, ' if several else ''}{kind.replace('_', ' ')}", round(error, 5), on)
        for stage, errors in trained.errors.items()
        for kind, error in errors.items()
    ]


def write_model(
    folder: Path,
    method: Method,
    card: ModelCard,
    trained: Trained,
    validation: CachedVolumes,
    runtime: Runtime,
    report: Report,
) -> ModelCard:
    """Lets the method set what it sets on a trained model, and writes the model folder; one that is there is replaced.

    Every process takes part; the first one writes.
    """
    states = {name: trained.networks[name].state_dict() for name in card.networks}
    model = Model(folder, card, built_with(method, card, states), {})
    found = trained.task.finish(model, validation, runtime, report)
    card = with_calibration(card, found)
    if not current_rank().is_first:
        return card
    with staged_folder(folder) as staged:
        signed = save_model(staged / MODEL, card, states, found.assets)
        take_place(staged / MODEL, folder, lambda: others_in(folder))
    return signed


def with_calibration(card: ModelCard, found: Calibration) -> ModelCard:
    """A card with the settings and figures of a calibration."""
    before = {} if found.replaces else card.settings
    return replace(card, settings={**before, **found.settings}, figures=(*card.figures, *found.figures))
