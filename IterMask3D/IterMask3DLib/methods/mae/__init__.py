"""Masked auto-encoder: slices that a classifier of residuals finds abnormal (Georgescu, KES 2023, arXiv 2307.07534)."""

from IterMask3DLib.methods.base import Capability, MethodSpec
from IterMask3DLib.methods.mae.settings import PUBLISHED_SPACING, MAESettings, MAETrainingSettings

SPEC = MethodSpec(
    name="mae",
    title="Masked auto-encoder",
    citation="Georgescu, Masked autoencoders for unsupervised anomaly detection in medical images, KES 2023, "
    "arXiv 2307.07534",
    capabilities=frozenset({Capability.RECONSTRUCTION, Capability.CASE_SCORE, Capability.SLICE_SCORES}),
    Settings=MAESettings,
    implementation="IterMask3DLib.methods.mae.method:MaskedAutoEncoderMethod",
    TrainingSettings=MAETrainingSettings,
    presets={
        "default": {
            "steps": 3000,
            "batch": 32,
            "learning_rate": 1e-3,
            "final_learning_rate": 0.0,
            "validate_every": 500,
        },
        "published": {
            "spacing": PUBLISHED_SPACING,
            "slice_spacing": 1.0,
            "shape": (224, 224),
            "steps": None,
            "epochs": 1600,
            "batch": 128,
            "learning_rate": 7.5e-5,
            "final_learning_rate": 0.0,
            "warm_up": 4862,
            "augmentation": "flip",
        },
    },
    dimensions=2,
    side_multiple=16,
)
