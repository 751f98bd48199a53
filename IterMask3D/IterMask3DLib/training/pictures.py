"""A picture of how a stage does: what its method shows of some examples, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from IterMask3DLib.core.files import whole_file
from IterMask3DLib.core.result import Layer, LayerKind
from IterMask3DLib.methods.base import Networks, TrainingTask
from IterMask3DLib.training.examples import StageExamples
from IterMask3DLib.training.validation import fixed_batch

Row = tuple[str, Mapping[str, Layer]]
"""A label, and the layers of one example by name."""

_SHOWN = 2
_COLOURS = {
    LayerKind.INTENSITY: ("gray", -3.0, 3.0),
    LayerKind.SCORE: ("inferno", 0.0, 4.0),
    LayerKind.MASK: ("gray", 0.0, 1.0),
}


@torch.no_grad()
def picture_rows(
    task: TrainingTask,
    examples: StageExamples,
    networks: Networks,
    device: torch.device,
) -> list[Row]:
    """A row for each kind of example on the first brains; none where the method shows nothing."""
    stage, rows = task.stages[examples.number], []
    for number in range(min(_SHOWN, len(examples.brains))):
        for kind in stage.validation:
            layers = task.pictures(stage.name, networks, fixed_batch(examples, number, kind, device))
            if layers:
                rows.append((f"{number + 1}, {kind.replace('_', ' ')}", layers))
    return rows


def draw_rows(rows: Sequence[Row], title: str, path: Path) -> NDArray[np.uint8]:
    """Writes the middle slices of the rows as one PNG file, whole, and returns its pixels [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = list(rows[0][1])
    figure = Figure(figsize=(1.8 * len(columns), 1.9 * len(rows) + 0.6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (label, layers) in zip(axes, rows, strict=True):
        line[0].set_ylabel(label, fontsize=9)
        for axis, name in zip(line, columns, strict=True):
            colours, low, high = _COLOURS[layers[name].kind]
            values = np.asarray(layers[name].read(), dtype=np.float32)
            image = values if values.ndim == 2 else values[:, :, values.shape[2] // 2]
            axis.imshow(image.T, origin="lower", cmap=colours, vmin=low, vmax=high)
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=10)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as staged:
        figure.savefig(staged, format="png")
    return np.asarray(canvas.buffer_rgba())[..., :3]
