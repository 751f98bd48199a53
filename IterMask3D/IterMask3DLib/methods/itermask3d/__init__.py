"""IterMask3D: iterative mask refinement in 3D (Liang et al., Medical Image Analysis 107, 103763, arXiv 2504.04911)."""

from IterMask3DLib.methods.base import Capability, MethodSpec
from IterMask3DLib.methods.itermask3d.settings import Settings, TrainingSettings

SPEC = MethodSpec(
    name="itermask3d",
    title="IterMask3D",
    citation="Liang et al., IterMask3D, Medical Image Analysis 107, 103763",
    capabilities=frozenset(Capability) - {Capability.SLICE_SCORES},
    Settings=Settings,
    TrainingSettings=TrainingSettings,
    implementation="IterMask3DLib.methods.itermask3d.method:IterMask3D",
)
