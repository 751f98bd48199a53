"""A method of slices with two channels and no mask: how far the second channel is from what the first lets expect."""

from __future__ import annotations

from dataclasses import dataclass

from IterMask3DLib.core.settings import setting
from IterMask3DLib.methods.base import Capability, MethodSpec


@dataclass(frozen=True)
class ScoreSettings:
    """The numbers of a run."""

    power: float = setting("number", 1.0, "Power", "of the errors that are averaged", least=0.5, most=4, advanced=False)


@dataclass(frozen=True)
class ScoreTrainingSettings:
    """The choices of a training."""

    scale_steps: int = setting("whole", 2, "Scale steps", "steps of the second stage", least=1)


SPEC = MethodSpec(
    name="toy_case_score",
    title="Toy case score",
    citation="nowhere",
    capabilities=frozenset({Capability.CASE_SCORE, Capability.SLICE_SCORES}),
    Settings=ScoreSettings,
    implementation="toy_case_score.method:ToyCaseScore",
    TrainingSettings=ScoreTrainingSettings,
    presets={"default": {"modality": ("T1w", "T2w"), "steps": 4, "batch": 4, "learning_rate": 0.01}},
    dimensions=2,
    side_multiple=8,
)
