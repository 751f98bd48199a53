"""A picture of what a network makes of hidden brains: masked, reconstructed, target, error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.image import FloatVolume
from IterMask3DLib.training.cache import write_whole
from IterMask3DLib.training.data import Volumes, fixed_example
from IterMask3DLib.training.recipe import Recipe
from IterMask3DLib.training.validate import KINDS, Reconstruct, reconstructed

COLUMNS = ("masked", "reconstructed", "target", "error")
_RANGE = (-3.0, 3.0)
_BRIGHTEST_ERROR = 4.0


def sheet_rows(volumes: Volumes, recipe: Recipe, reconstruct: Reconstruct, how_many: int = 2) -> list[tuple[str, list[FloatVolume]]]:
    """A label and four middle axial slices [x, y] for each kind of mask on the first volumes."""
    rows = []
    for number in range(min(how_many, len(volumes))):
        for kind, plan in KINDS.items():
            item = fixed_example(number, volumes, recipe, plan)
            made = reconstructed(item, reconstruct)
            error = np.where(item.brain, np.square(made - item.volume), 0).astype(np.float32)
            slices = [volume[:, :, volume.shape[2] // 2] for volume in (item.given[0], made, item.volume, error)]
            rows.append((f"{number + 1}, {kind.replace('_', ' ')}", slices))
    return rows


def draw_sheet(rows: Sequence[tuple[str, Sequence[FloatVolume]]], title: str, path: Path) -> NDArray[np.uint8]:
    """Writes the rows as one PNG file, whole, and returns its pixels [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.9 * len(rows) + 0.6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(COLUMNS), squeeze=False)
    for line, (label, slices) in zip(axes, rows, strict=True):
        line[0].set_ylabel(label, fontsize=9)
        for axis, name, image in zip(line, COLUMNS, slices, strict=True):
            error = name == "error"
            low, high = (0.0, _BRIGHTEST_ERROR) if error else _RANGE
            axis.imshow(image.T, origin="lower", cmap="inferno" if error else "gray", vmin=low, vmax=high)
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, name in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda beside: figure.savefig(beside, format="png"))
    return np.asarray(canvas.buffer_rgba())[..., :3]
