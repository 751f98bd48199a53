"""IterMask3D behind the interface of all methods.

What needs PyTorch is imported where it is used: the whole-brain inference on OpenVINO runs without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.card import ModelCard
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import PackedMask
from IterMask3DLib.core.request import BySettings, Edit, FromMask
from IterMask3DLib.core.result import Steps
from IterMask3DLib.core.settings import changed
from IterMask3DLib.methods.base import Calibration, Healthy, Method, Networks, Report, TrainingTask
from IterMask3DLib.methods.itermask3d.executable_unet import ExecutableUNet
from IterMask3DLib.methods.itermask3d.folded_unet import NETWORK, choices_in, tensor_kinds
from IterMask3DLib.methods.itermask3d.high_frequency import high_frequency
from IterMask3DLib.methods.itermask3d.normative_error import NORMATIVE_ERROR, SIDE, normative_error_at
from IterMask3DLib.methods.itermask3d.normative_score import CELLS, NORMATIVE_MEAN, NORMATIVE_SD, NormativeScore
from IterMask3DLib.methods.itermask3d.settings import WHOLE_BRAIN, Settings
from IterMask3DLib.methods.itermask3d.whole_brain import (
    MEAN_BRAIN,
    MEAN_BRAIN_MM,
    MEAN_BRAIN_SPREAD,
    Brain,
    Scored,
    WholeBrainPasses,
    WholeBrainScore,
    again,
    look,
    normative_count,
)
from IterMask3DLib.models.store import Model
from IterMask3DLib.models.weights import TensorKind
from IterMask3DLib.preprocessing.mean_brain import MeanBrain, mean_brain_shape
from IterMask3DLib.preprocessing.prepare import Prepared
from IterMask3DLib.runtime.noise import seeded_noise
from IterMask3DLib.runtime.runner import Runtime

if TYPE_CHECKING:
    from IterMask3DLib.methods.itermask3d.loop import Sweep
    from IterMask3DLib.methods.itermask3d.masked_reconstruction import MaskedReconstruction


class IterMask3D(Method):
    """Sweep, choice of a threshold, shrink; or, beyond the paper, a score of a few whole-brain passes."""

    signed_assets = frozenset({NORMATIVE_MEAN, MEAN_BRAIN})

    def build(self, card: ModelCard) -> Networks:
        from IterMask3DLib.methods.itermask3d.network import networks_of

        return networks_of(card)

    def tensors(self, card: ModelCard) -> Mapping[str, Mapping[str, TensorKind]]:
        return {NETWORK: tensor_kinds(choices_in(card).widths)}

    def assets(self, card: ModelCard) -> Mapping[str, tuple[int, ...]]:
        settings = changed(Settings(), card.settings, f"model {card.name}")
        assets: dict[str, tuple[int, ...]] = {NORMATIVE_ERROR: (SIDE,) * 3} if settings.normative_error else {}
        if settings.normative_score:
            assets |= dict.fromkeys((NORMATIVE_MEAN, NORMATIVE_SD), (normative_count(settings), *CELLS))
        if settings.mean_brain_weight:
            assets |= dict.fromkeys((MEAN_BRAIN, MEAN_BRAIN_SPREAD), mean_brain_shape(MEAN_BRAIN_MM))
        return assets

    def infer(self, case: Prepared, model: Model, settings: Any, runtime: Runtime) -> Steps:
        """The whole method; its result's state is the `Sweep`, or `Scored` of a whole-brain inference."""
        if settings.inference == WHOLE_BRAIN:
            return (yield from whole_brain(case, model, settings, runtime))
        from IterMask3DLib.methods.itermask3d.loop import choose, first_shrink_draw, shrink, sweep

        passes = masked_reconstruction(case, model, settings, runtime)
        swept = yield from sweep(passes, settings)
        curve, warnings = choose(swept, settings)
        start = case.brain if settings.start == "brain" else swept.mask_at(curve.chosen)
        return (yield from shrink(passes, curve, settings, start, first_shrink_draw(settings), warnings, swept))

    def resume(
        self, case: Prepared, model: Model, settings: Any, runtime: Runtime, state: Sweep | Scored, edit: Edit
    ) -> Steps:
        """The shrink phase again: with another threshold, or from a mask that a person drew.

        Of a whole-brain inference, the outline again with another sensitivity; no pass is made.
        """
        if isinstance(state, Scored):
            if not isinstance(edit, BySettings) or settings.inference != WHOLE_BRAIN:
                raise UserError(f"Model {model.card.name} has no threshold curve; choose another sensitivity instead.")
            return (yield from again(state, brain_of(case), settings))
        from IterMask3DLib.methods.itermask3d.loop import choose, first_shrink_draw, shrink

        by = edit.choice if isinstance(edit, FromMask) else None if isinstance(edit, BySettings) else edit
        curve, warnings = choose(state, settings, by)
        before = edit.passes_before if isinstance(edit, FromMask) else 0
        passes = masked_reconstruction(case, model, settings, runtime, number=len(state.masks) + before)
        if isinstance(edit, FromMask):
            # Outside the brain there is nothing to hide.
            start = edit.mask.unpack() & case.brain
        else:
            start = case.brain if settings.start == "brain" else state.mask_at(curve.chosen)
        draw = first_shrink_draw(settings, before)
        return (yield from shrink(passes, curve, settings, start, draw, warnings, state))

    def recall(self, curve: ThresholdCurve, masks: Sequence[PackedMask]) -> Sweep:
        from IterMask3DLib.methods.itermask3d.loop import Sweep

        return Sweep(curve.thresholds, tuple(masks[: max(curve.steps)]), curve.steps, curve.median)

    def training_task(self, card: ModelCard, settings: Any) -> TrainingTask:
        from IterMask3DLib.methods.itermask3d.training import ReconstructionTask

        return ReconstructionTask(card, settings)

    def convert(self, checkpoints: Sequence[Path], out: Path, options: Mapping[str, Any]) -> ModelCard:
        from IterMask3DLib.methods.itermask3d.convert import convert

        return convert(checkpoints, out, options)

    def calibrate(
        self,
        model: Model,
        training: Sequence[Healthy],
        validation: Sequence[Healthy],
        settings: Any,
        runtime: Runtime,
        report: Report,
    ) -> Calibration:
        from IterMask3DLib.methods.itermask3d.calibration import calibrate

        return calibrate(model, training, validation, settings, runtime, report)


def brain_of(case: Prepared) -> Brain:
    return Brain(case.channels[0], case.brain, case.spacing)


def whole_brain(case: Prepared, model: Model, settings: Settings, runtime: Runtime) -> Steps:
    """The whole-brain inference of a case."""
    given, mean_brain = brain_of(case), mean_brain_of(model, settings)
    normative = None
    if settings.normative_score:
        tables = [model.assets.get(name, ()) for name in (NORMATIVE_MEAN, NORMATIVE_SD)]
        normative = [NormativeScore(mean, sd) for mean, sd in zip(*tables, strict=True)]
        if MEAN_BRAIN in model.assets and mean_brain is None:
            normative = normative[: len(normative) // 2]
        if len(normative) != normative_count(settings):
            raise UserError(
                f"Model {model.card.name} has the normative scores of {len(normative)} scales, not of "
                f"{normative_count(settings)}; leave scales_mm as the model has them, or leave out normative_score."
            )
    network = runtime.runner(model.stored[NETWORK], ExecutableUNet.of)
    passes = WholeBrainPasses(given, settings, network, seeded_noise(runtime.seed))
    score = WholeBrainScore(given, settings, normative, mean_brain)
    return (yield from look(given, settings, passes, score))


def mean_brain_of(model: Model, settings: Settings) -> MeanBrain | None:
    """What a model knows of the mean of healthy brains, where it counts. Raises `UserError` where it has none."""
    if not settings.mean_brain_weight:
        return None
    if MEAN_BRAIN not in model.assets:
        raise UserError(f"Model {model.card.name} has no mean brain; leave mean_brain_weight at 0.")
    return MeanBrain(model.assets[MEAN_BRAIN], model.assets[MEAN_BRAIN_SPREAD])


def masked_reconstruction(
    case: Prepared, model: Model, settings: Settings, runtime: Runtime, number: int = 0
) -> MaskedReconstruction:
    """What makes the forward passes of a run; `number`: of the pass that was made last."""
    from IterMask3DLib.methods.itermask3d.masked_reconstruction import MaskedReconstruction, NetworkInput

    limit = np.float32(settings.input_clip)
    volume = np.clip(case.channels[0], -limit, limit)
    table = model.assets[NORMATIVE_ERROR] if settings.normative_error else None
    given = NetworkInput(
        volume,
        high_frequency(volume, case.spacing, settings.high_frequency_cutoff),
        case.brain,
        case.spacing,
        None if table is None else normative_error_at(table, case.brain),
    )
    network = runtime.runner(model.stored[NETWORK], ExecutableUNet.of)
    return MaskedReconstruction(given, network, seeded_noise(runtime.seed), settings.smoothing_mm, number)
