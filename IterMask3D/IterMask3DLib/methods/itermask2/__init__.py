"""IterMask2: iterative mask refinement on slices (Liang et al., MICCAI 2024, arXiv 2406.02422)."""

from IterMask3DLib.methods.base import Capability, MethodSpec
from IterMask3DLib.methods.itermask2.settings import (
    IterMask2CalibrationSettings,
    IterMask2Settings,
    IterMask2TrainingSettings,
)
from IterMask3DLib.methods.shared_settings import published_slices

SPEC = MethodSpec(
    name="itermask2",
    title="IterMask2",
    citation="Liang et al., IterMask2, MICCAI 2024, arXiv 2406.02422",
    capabilities=frozenset(
        {Capability.STEPS, Capability.RECONSTRUCTION, Capability.SEGMENTATION, Capability.CASE_SCORE}
    ),
    Settings=IterMask2Settings,
    implementation="IterMask3DLib.methods.itermask2.method:IterMask2",
    TrainingSettings=IterMask2TrainingSettings,
    CalibrationSettings=IterMask2CalibrationSettings,
    presets={"default": {"steps": 2000, "batch": 16, "learning_rate": 1e-3}, "published": published_slices(150_000)},
    dimensions=2,
    side_multiple=16,
    intensity="p90",
)
