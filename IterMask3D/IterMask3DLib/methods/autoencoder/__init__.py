"""A convolutional auto-encoder of healthy brains, the baseline that every reconstruction method has to beat."""

from IterMask3DLib.methods.autoencoder.settings import AutoEncoderSettings, AutoEncoderTrainingSettings
from IterMask3DLib.methods.base import Capability, MethodSpec

SPEC = MethodSpec(
    name="autoencoder",
    title="Auto-encoder",
    citation="Baur et al., Autoencoders for unsupervised anomaly segmentation in brain MR images, "
    "Medical Image Analysis 69, 101952",
    capabilities=frozenset({Capability.RECONSTRUCTION, Capability.SEGMENTATION, Capability.CASE_SCORE}),
    Settings=AutoEncoderSettings,
    implementation="IterMask3DLib.methods.autoencoder.method:AutoEncoderMethod",
    TrainingSettings=AutoEncoderTrainingSettings,
    presets={
        "default": {
            "steps": 2400,
            "learning_rate": 2e-3,
            "final_learning_rate": 0.0,
            "warm_up": 0,
            "augmentation": "flip",
            "precision": "fp32",
            "weights": "last",
        }
    },
)
