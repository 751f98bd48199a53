"""IterMask2: iterative mask refinement on slices (Liang et al., MICCAI 2024, arXiv 2406.02422)."""

from IterMask3DLib.methods.base import Capability, MethodSpec
from IterMask3DLib.methods.itermask2.settings import (
    PUBLISHED_SHAPE,
    PUBLISHED_SLICE_SPACING,
    PUBLISHED_SPACING,
    IterMask2CalibrationSettings,
    IterMask2Settings,
    IterMask2TrainingSettings,
)

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
    presets={
        "default": {"steps": 2000, "batch": 16, "learning_rate": 1e-3},
        # As in the public code, with its faults mended.
        "published": {
            "spacing": PUBLISHED_SPACING,
            "slice_spacing": PUBLISHED_SLICE_SPACING,
            "shape": PUBLISHED_SHAPE,
            "steps": 150_000,
            "batch": 32,
            "learning_rate": 1e-4,
            "schedule": "constant",
            "augmentation": "none",
            "precision": "fp32",
            "weights": "last",
        },
    },
    dimensions=2,
    side_multiple=16,
    intensity="p90",
)
