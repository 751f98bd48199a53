"""Settings that several methods have, and what IterMask2 and MMCCD publish alike; made without torch."""

from __future__ import annotations

from typing import Any

from IterMask3DLib.core.settings import setting

PUBLISHED_SHAPE = (128, 128)
"""Pixels of the published slices."""

PUBLISHED_SPACING, PUBLISHED_SLICE_SPACING = 1.875, 1.0
"""Voxel size in mm within the published slices, and between them: 240 pixels of 1 mm, brought to 128."""

PUBLISHED_WIDTH = 32
"""Channels of the published networks at the finest level."""


def published_slices(steps: int) -> dict[str, Any]:
    """General choices of a training as in the public code, with its faults mended."""
    return {
        "spacing": PUBLISHED_SPACING,
        "slice_spacing": PUBLISHED_SLICE_SPACING,
        "shape": PUBLISHED_SHAPE,
        "steps": steps,
        "batch": 32,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "augmentation": "none",
        "precision": "fp32",
        "weights": "last",
    }


def voxel_threshold() -> Any:
    return setting(
        "number",
        None,
        "Threshold",
        "error above which a voxel is anomalous; without one there is a heatmap and no mask",
        unit="squared scaled intensity",
        least=0,
        most=36,
        optional=True,
        advanced=False,
    )


def smallest_slice() -> Any:
    text = "slices with less brain than this share of the largest one are left alone"
    return setting("number", 0.1, "Smallest slice", text, least=0, most=1)


def dropout(usual: float, published: float) -> Any:
    return setting("number", usual, "Dropout", "share of activations dropped", least=0, most=0.99, published=published)
