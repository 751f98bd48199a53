"""`itermask3d calibrate`: a trained model measures how well it knows healthy brains, and gets numbers that fit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from IterMask3DLib.core.card import Card, Scoring
from IterMask3DLib.runtime.device import DeviceName, Runner, choose_place
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.methods.itermask3d.inference_network import InferenceUNet
from IterMask3DLib.methods.itermask3d.normative_error import expected_error, measured_table
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.models.store import Model, find_model, load_model, save_model
from IterMask3DLib.runtime.noise import seeded_noise
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.methods.itermask3d.threshold import CurveSettings
from IterMask3DLib.methods.itermask3d.masked_reconstruction import Eye
from IterMask3DLib.methods.itermask3d.loop import Case, Settings, fast_points
from IterMask3DLib.training.cache import Cached, prepared
from IterMask3DLib.training.cohort import find_cohort
from IterMask3DLib.training.healthy import GAMMA_LIMIT, shares_by_gamma, shares_by_median, smallest_within, told

Tell = Callable[[str], None]


@dataclass(frozen=True)
class CalibrationOrder:
    """What a user asks for: the model, the folder of healthy volumes, the new model folder, and how errors are to be scored.

    `smoothing_mm`, `regrow`: see `Scoring`; `limit`: mean share of the healthy validation brains that may be taken for anomalous;
    `command`: what was typed, for the card.
    """

    model: str
    data: Path
    out: Path
    smoothing_mm: float
    regrow: float | None
    limit: float
    command: str
    masks: Path | None = None
    cache: Path | None = None
    device: DeviceName = "auto"


def calibrate(order: CalibrationOrder, say: Tell) -> Card:
    """Writes a copy of a model with a table of healthy errors, and the threshold and gamma that go with it. Raises `UserError`.

    The table comes from the cohort's training volumes, threshold and gamma from its validation volumes; both with the whole brain hidden
    first, as an inference begins.
    """
    if order.out.exists():
        raise UserError(f"{order.out} exists; give a folder that does not, so that no model is overwritten.")
    model = load_model(find_model(order.model))
    with ExitStack() as stack:
        cache = order.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        training, validation, names = _volumes(order, model, cache, say)
        runner = Runner(InferenceUNet(model.network), choose_place(order.device))
        scoring = Scoring(order.smoothing_mm, healthy_error=True, regrow=order.regrow)
        say(f"measuring the errors of {len(training)} healthy training volumes")
        table = measured_table(_first_errors(training, model, runner, order.smoothing_mm))

        def case_of(number: int) -> Case:
            volume, brain = validation[number]
            return replace(_case(volume, brain, model), expected=expected_error(table, brain))

        settings = _settings_with(model.card, scoring)
        say(f"choosing the threshold on {len(validation)} healthy validation volumes")
        by_median = shares_by_median(runner, len(validation), case_of, settings, order.limit)
        say("choosing gamma on them")
        by_gamma = shares_by_gamma(runner, len(validation), case_of, settings)
    times_median, gamma = smallest_within(by_median, order.limit), smallest_within(by_gamma, GAMMA_LIMIT)
    figures = {
        "command": order.command,
        "training volumes": len(training),
        "validation volumes": len(validation),
        "cohort": names,
        "share of healthy validation brains taken for anomalous": told(by_median, "times median") | told(by_gamma, "gamma"),
        "limit for the threshold": order.limit,
        "limit for gamma": GAMMA_LIMIT,
    }
    card = replace(
        model.card,
        gamma=gamma,
        scoring=replace(scoring, times_median=times_median),
        figures={**model.card.figures, "calibration": figures},
    )
    return save_model(order.out, model.network, card, table)


def _settings_with(card: Card, scoring: Scoring) -> Settings:
    """The settings of a run that is scored so, without a threshold of its own."""
    limits = card.thresholds
    return Settings(
        curve=CurveSettings(card.gamma, limits.y_limit, limits.r_squared_limit),
        passes=limits.passes,
        visited=fast_points(limits.passes),
        smoothing=scoring.smoothing_mm,
        stop_ratio=limits.shrink_ratio,
        max_shrink=limits.max_shrink,
        regrow=scoring.regrow,
    )


def _volumes(order: CalibrationOrder, model: Model, cache: Path, say: Tell) -> tuple[Cached, Cached, str]:
    card = model.card
    split = find_cohort(order.data, card.modality, 0.1, 0, order.masks)
    if not split.validation:
        raise UserError(f"{order.data} leaves no volume for validation; a threshold cannot be chosen.")
    files = prepared((*split.training, *split.validation), cache, card.grid.spacing, say)
    count = len(split.training)
    return Cached(files[:count], card.grid.shape), Cached(files[count:], card.grid.shape), order.data.resolve().name


def _case(volume: FloatVolume, brain: BoolVolume, model: Model) -> Case:
    spacing = (model.card.grid.spacing,) * 3
    return Case(volume, high_frequency(volume, spacing, model.card.high_frequency_cutoff), brain, spacing)


def _first_errors(volumes: Cached, model: Model, runner: Runner, smoothing: float) -> Iterator[tuple[FloatVolume, BoolVolume]]:
    """The error map of each volume with the whole brain hidden, and its brain."""
    for number in range(len(volumes)):
        volume, brain = volumes[number]
        eye = Eye(_case(volume, brain, model), runner, seeded_noise(0), smoothing)
        yield eye.error_map(eye.look(eye.whole_brain(), draw=1)), brain
