"""The shrink history as a figure; its numbers stand in the table of iterations and in the record of the run."""

from __future__ import annotations

from typing import Any

import numpy as np

from IterMask3DLib.core.artifacts import MaskHistory
from IterMask3DLib.results.artifacts.chart import ACCENT, MARK, SIZE, svg_of

TITLE = "Shrink history"


def table(_history: MaskHistory) -> None:
    """It has no table of its own."""


def figure(history: MaskHistory) -> str:
    """Masked voxels (model grid) after each shrink pass; SVG text."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    drawn = Figure(figsize=SIZE)
    axes = drawn.add_axes((0.14, 0.15, 0.82, 0.79))
    passes = np.arange(1, len(history.sizes) + 1)
    axes.bar(passes, history.sizes, color=ACCENT, width=0.7)
    axes.bar(passes[-1:], history.sizes[-1:], color=MARK, width=0.7)
    axes.set_xlabel("shrink pass")
    axes.set_ylabel("voxels still masked (model grid)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return svg_of(drawn, axes)


def caption(_history: MaskHistory) -> str:
    return (
        "With that threshold the mask shrinks from pass to pass until it stays. What is left, grown to the "
        "regions that stood out at first where the model asks for it, is the anomaly."
    )


def facts(history: MaskHistory) -> dict[str, Any]:
    rows = zip(history.sizes, history.ratios, strict=True)
    return {"shrink": [{"masked_voxels": size, "unmasked_share": ratio} for size, ratio in rows]}
