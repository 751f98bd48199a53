"""MMCCD: modality cycles with masked conditional diffusion (Liang et al., MMMI at MICCAI 2023, arXiv 2308.16150)."""

from IterMask3DLib.methods.base import Capability, MethodSpec
from IterMask3DLib.methods.mmccd.settings import MMCCDSettings, MMCCDTrainingSettings
from IterMask3DLib.methods.shared_settings import published_slices

SPEC = MethodSpec(
    name="mmccd",
    title="MMCCD",
    citation="Liang et al., Modality Cycles with Masked Conditional Diffusion, MMMI at MICCAI 2023, arXiv 2308.16150",
    capabilities=frozenset(
        {Capability.RECONSTRUCTION, Capability.SEGMENTATION, Capability.CASE_SCORE, Capability.SLICE_SCORES}
    ),
    Settings=MMCCDSettings,
    implementation="IterMask3DLib.methods.mmccd.method:MMCCD",
    TrainingSettings=MMCCDTrainingSettings,
    presets={
        "default": {"modality": ("FLAIR", "T2w"), "steps": 10_000, "batch": 16},
        "published": published_slices(100_000),
    },
    dimensions=2,
    side_multiple=16,
    intensity="p90",
)
