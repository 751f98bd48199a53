"""A method of volumes with a mask: what a small network fills in badly stays masked."""

from __future__ import annotations

from dataclasses import dataclass

from IterMask3DLib.core.settings import setting
from IterMask3DLib.methods.base import Capability, MethodSpec


@dataclass(frozen=True)
class ToySettings:
    """The numbers of a run."""

    cut: float = setting("number", 1.0, "Cut", "error above which a voxel stays masked", least=0, advanced=False)
    rounds: int = setting("whole", 3, "Rounds", "how often the brain is filled in", least=1, most=100)


@dataclass(frozen=True)
class ToyTrainingSettings:
    """The choices of a training."""

    hidden_share: float = setting("number", 0.5, "Hidden share", "share of the voxels to fill in", least=0, most=1)


SPEC = MethodSpec(
    name="toy_reconstruction",
    title="Toy reconstruction",
    citation="nowhere",
    capabilities=frozenset(
        {Capability.STEPS, Capability.SEGMENTATION, Capability.RECONSTRUCTION, Capability.CASE_SCORE}
    ),
    Settings=ToySettings,
    implementation="toy_reconstruction.method:ToyReconstruction",
    TrainingSettings=ToyTrainingSettings,
    presets={"default": {"steps": 4, "learning_rate": 0.01}},
    side_multiple=4,
)
