"""The numbers of the masked auto-encoder: of a run, and of a training."""

from __future__ import annotations

from dataclasses import dataclass

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.settings import setting
from IterMask3DLib.methods.shared_settings import smallest_slice

PUBLISHED_SPACING = 240.0 / 224.0
"""Voxel size in mm within the published slices."""


@dataclass(frozen=True)
class MAESettings:
    """The numbers of a run."""

    mask_ratio: float = setting(
        "number", 0.75, "Mask ratio", "share of the patches hidden in each pass", least=0.01, most=0.99, published=0.75
    )
    masked_passes: int = setting(
        "whole", 4, "Masked passes", "reconstructions that are averaged", least=1, most=1000, published=4
    )
    smallest_slice: float = smallest_slice()


@dataclass(frozen=True)
class MAETrainingSettings:
    """The choices of a training that are the masked auto-encoder's own."""

    patch: int = setting("whole", 8, "Patch", "pixels of the side of a patch", least=2, most=64, published=16)
    width: int = setting("whole", 96, "Width", "of a token of the encoder", least=4, most=4096, published=768)
    depth: int = setting("whole", 4, "Depth", "blocks of the encoder", least=1, most=100, published=12)
    heads: int = setting("whole", 3, "Heads", "of the encoder's attention", least=1, most=64, published=12)
    decoder_width: int = setting("whole", 64, "Width of the decoder", "of a token", least=4, most=4096, published=512)
    decoder_depth: int = setting("whole", 2, "Depth of the decoder", "blocks", least=1, most=100, published=8)
    decoder_heads: int = setting("whole", 4, "Heads of the decoder", "of its attention", least=1, most=64, published=16)
    training_mask_ratio: float = setting(
        "number", 0.75, "Mask ratio", "share of the patches hidden in training", least=0.01, most=0.99, published=0.75
    )
    averaged_passes: int = setting(
        "whole", 4, "Masked passes", "reconstructions averaged for the classifier", least=1, most=100, published=4
    )
    norm_pix_loss: bool = setting(
        "truth", False, "Normalised pixels", "the loss counts each patch with mean 0 and variance 1", published=False
    )
    loss_on_all: bool = setting(
        "truth", False, "Loss on all", "the loss counts the patches that were shown too", published=False
    )
    smallest_box_mm: float = setting(
        "number", 10.7, "Smallest box", "side of a pseudo-anomaly", unit="mm", least=1, most=200, published=10.7
    )
    largest_box_mm: float = setting(
        "number", 41.8, "Largest box", "side of a pseudo-anomaly", unit="mm", least=1, most=200, published=41.8
    )
    smallest_window: float = setting(
        "number",
        1.0,
        "Smallest window",
        "share of a slice that a window shows, which is enlarged to the slice; 1: the whole slice",
        least=0.01,
        most=1,
        published=0.7,
    )
    classifier_smallest_window: float = setting(
        "number", 1.0, "Smallest window of the classifier", "likewise, of residuals", least=0.01, most=1, published=0.08
    )
    erased_share: float = setting(
        "number",
        0.0,
        "Erased share",
        "of the residuals, in which a box of noise hides a part",
        least=0,
        most=1,
        published=0.25,
    )
    classifier_steps: int = setting(
        "whole", 1000, "Steps of the classifier", "optimiser steps", least=1, published=12_154
    )
    classifier_learning_rate: float = setting(
        "number", 5e-4, "Learning rate of the classifier", "at the beginning", least=1e-12, most=1e3, published=5e-4
    )
    layer_decay: float = setting(
        "number",
        0.75,
        "Layer decay",
        "each block of the classifier learns this much slower than the one behind it",
        least=0.01,
        most=1,
        published=0.75,
    )
    drop_path: float = setting(
        "number",
        0.1,
        "Drop path",
        "probability of going around a block of the classifier",
        least=0,
        most=0.99,
        published=0.1,
    )
    weight_decay: float = setting("number", 0.05, "Weight decay", "of AdamW", least=0, most=10, published=0.05)

    def check(self, where: str) -> None:
        """Raises `UserError` for choices that do not go together."""
        for width, heads, of in ((self.width, self.heads, ""), (self.decoder_width, self.decoder_heads, "decoder_")):
            if width % heads or width % 4:
                raise UserError(f"{where}: {of}width is {width}; it must be a multiple of 4 and of {of}heads, {heads}.")
        if self.smallest_box_mm > self.largest_box_mm:
            raise UserError(f"{where}: smallest_box_mm is above largest_box_mm.")
