"""The numbers of MMCCD: of a run, and of a training."""

from __future__ import annotations

from dataclasses import dataclass

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import like, setting
from IterMask3DLib.methods.shared_settings import PUBLISHED_WIDTH, dropout, voxel_threshold

PUBLISHED_BAND_MM, PUBLISHED_BAND_STEP_MM, PUBLISHED_EROSION_MM = 30.0, 3.75, 7.5
"""16, 2 and 4 of the published pixels."""


@dataclass(frozen=True)
class MMCCDSettings:
    """The numbers of a run."""

    threshold: float | None = voxel_threshold()
    translation: str = setting(
        "choice",
        "diffusion",
        "Translation",
        "what gives the other channel: masked conditional diffusion, or the U-Net of the cyclic UNet in one pass",
        choices=("diffusion", "unet"),
        advanced=False,
    )
    denoising_steps: int = setting(
        "whole", 100, "Denoising steps", "of the diffusion, for each band", least=1, most=1000, published=100
    )
    band_step_mm: float = setting(
        "number",
        PUBLISHED_BAND_STEP_MM,
        "Band step",
        "distance between neighbouring bands; a larger one hides each pixel less often",
        unit="mm",
        least=0.1,
        most=100,
        published=PUBLISHED_BAND_STEP_MM,
    )
    band_mm: float = setting(
        "number", PUBLISHED_BAND_MM, "Band width", "of what is hidden at a time", unit="mm", least=1, most=200
    )
    sampler: str = setting(
        "choice", "ddim", "Sampler", "ddim: without new noise; ddpm: with", choices=("ddim", "ddpm"), published="ddim"
    )
    erosion_mm: float = setting(
        "number",
        PUBLISHED_EROSION_MM,
        "Erosion",
        "width of the rim of each slice's brain in which errors do not count",
        unit="mm",
        least=0,
        most=50,
    )
    batch: int = setting("whole", 16, "Batch", "bands and slices a pass; decides speed and memory alone", least=1)


@dataclass(frozen=True)
class MMCCDTrainingSettings:
    """The choices of a training that are MMCCD's own."""

    width: int = setting(
        "whole", PUBLISHED_WIDTH, "Width", "channels at the finest level", least=2, most=1024, published=PUBLISHED_WIDTH
    )
    dropout: float = dropout(0.1, published=0.1)
    band_mm: float = like(
        MMCCDSettings, "band_mm", help="of what is hidden of the condition", published=PUBLISHED_BAND_MM
    )
    both_channels: bool = setting(
        "truth",
        False,
        "Both channels",
        "a run is given both channels, and the error of the translated one counts too",
        published=False,
    )

    def check(self, where: str) -> None:
        """Raises `UserError` for choices that do not go together."""
        if self.width % 2:
            raise UserError(f"{where}: width is {self.width}; it must be even.")
