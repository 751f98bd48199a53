"""IterMask3D: iterative mask refinement in 3D (Liang et al., Medical Image Analysis 107, 103763, arXiv 2504.04911)."""

from IterMask3DLib.methods.base import Capability, MethodSpec
from IterMask3DLib.methods.itermask3d.settings import (
    CalibrationSettings,
    ConversionSettings,
    Settings,
    TrainingSettings,
)

SPEC = MethodSpec(
    name="itermask3d",
    title="IterMask3D",
    citation="Liang et al., IterMask3D, Medical Image Analysis 107, 103763",
    capabilities=frozenset(Capability) - {Capability.SLICE_SCORES},
    Settings=Settings,
    implementation="IterMask3DLib.methods.itermask3d.method:IterMask3D",
    TrainingSettings=TrainingSettings,
    CalibrationSettings=CalibrationSettings,
    ConversionSettings=ConversionSettings,
    # As in the public code, with its faults mended.
    presets={
        "published": {
            "spacing": 1.0,
            "shape": (192, 192, 192),
            "steps": None,
            "epochs": 500,
            "final_learning_rate": 1e-4,
            "schedule": "published",
            "augmentation": "published",
            "precision": "fp32",
            "weights": "last",
        }
    },
)
