"""The pictures of a report, drawn off screen."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from IterMask3DLib.core.image import BoolVolume, Curve, FloatVolume, up_to_pole
from IterMask3DLib.results.outcome import CaseOutcome
from IterMask3DLib.results.slices import LABELS, PLANES, Frame, Plane, axis_of, box, cut

OUTLINE = "#ff5c39"
INK, GRID, ACCENT, QUIET = "#1d2733", "#d9dee5", "#2f6fde", "#8a97a6"
_HEAT = colormaps["inferno"]
_LIGHTBOX_SLICES, _LIGHTBOX_COLUMNS = 24, 6


@dataclass(frozen=True)
class Scene:
    """A case turned to R, A, S and cut to the brain's box, ready to be drawn."""

    volume: FloatVolume
    heatmap: FloatVolume
    brain: BoolVolume
    anomaly: BoolVolume
    frame: Frame
    window: tuple[float, float]
    heat_limit: float

    @classmethod
    def of(cls, outcome: CaseOutcome) -> Scene:
        frame = Frame.of(outcome.volume.affine, outcome.volume.array.shape)
        brain = frame.turn(outcome.brain).astype(bool)
        part = box(brain, frame.spacing)
        values = outcome.volume.array[outcome.brain]
        low, high = np.percentile(values, (0.5, 99.7))
        errors = outcome.heatmap[outcome.brain]
        limit = max(float(np.percentile(errors, 99.7)), 2 * outcome.curve.threshold, 1e-6)
        return cls(
            frame.turn(outcome.volume.array)[part].astype(np.float32),
            frame.turn(outcome.heatmap)[part].astype(np.float32),
            brain[part],
            frame.turn(outcome.anomaly)[part].astype(bool),
            frame,
            (float(low), float(high)),
            limit,
        )


def focus(outcome: CaseOutcome, labels: NDArray[np.int32], lesion: int | None) -> tuple[int, int, int]:
    """The voxel [R, A, S] of the scene the three views go through: the lesion's own voxel nearest its centroid, or the middle of the brain."""
    frame = Frame.of(outcome.volume.affine, outcome.volume.array.shape)
    part = box(frame.turn(outcome.brain).astype(bool), frame.spacing)
    target = (frame.turn(labels) == lesion) if lesion is not None else frame.turn(outcome.brain).astype(bool)
    voxels = np.argwhere(target[part])
    distance = np.square((voxels - voxels.mean(axis=0)) * frame.spacing).sum(axis=1)
    x, y, z = voxels[int(distance.argmin())]
    return int(x), int(y), int(z)


def draw_views(scene: Scene, at: tuple[int, int, int]) -> str:
    """Three planes through `at`, above with the outline of the anomaly, below with the heatmap; PNG as a data address."""
    widths = [_extent(scene, plane) for plane in PLANES]
    figure = Figure(figsize=(11.4, 7.6), facecolor="black")
    grid = figure.add_gridspec(
        2, 4, width_ratios=[*(w for w, _ in widths), 5], left=0.01, right=0.945, top=0.99, bottom=0.01, wspace=0.03, hspace=0.03
    )
    for column, plane in enumerate(PLANES):
        index = at[axis_of(plane)]
        for row in (0, 1):
            axes = figure.add_subplot(grid[row, column])
            _show(axes, scene, plane, index, heat=row == 1)
            _label(axes, plane)
            _cross(axes, scene, plane, at)
    legend = figure.add_subplot(grid[1, 3])
    bar = figure.colorbar(ScalarMappable(Normalize(0, scene.heat_limit), _HEAT), cax=legend)
    bar.set_label("error of the last pass", color="white", fontsize=9)
    bar.ax.tick_params(colors="white", labelsize=8)
    bar.outline.set_edgecolor("#555")
    return _png(figure, 100)


def draw_lightbox(scene: Scene) -> str:
    """Axial slices over the whole brain, from below to above, with the outline of the anomaly; PNG as a data address."""
    inside = np.flatnonzero(scene.brain.any(axis=(0, 1)))
    rim = 0.03 * (inside[-1] - inside[0])
    indices = np.unique(np.linspace(inside[0] + rim, inside[-1] - rim, _LIGHTBOX_SLICES).round().astype(int))
    rows = -(-len(indices) // _LIGHTBOX_COLUMNS)
    width, height = _extent(scene, "axial")
    side = 1.9
    figure = Figure(figsize=(_LIGHTBOX_COLUMNS * side, rows * side * height / width), facecolor="black")
    for place, index in enumerate(indices):
        left, row = place % _LIGHTBOX_COLUMNS / _LIGHTBOX_COLUMNS, place // _LIGHTBOX_COLUMNS
        axes = figure.add_axes((left, 1 - (row + 1) / rows, 1 / _LIGHTBOX_COLUMNS, 1 / rows))
        _show(axes, scene, "axial", int(index), heat=False, line=0.9)
        for text, x in zip(LABELS["axial"][:2], (0.07, 0.93), strict=True):
            axes.text(x, 0.93, text, transform=axes.transAxes, color="white", fontsize=7, ha="center", va="center", alpha=0.6)
    return _png(figure, 100)


def draw_curve(curve: Curve) -> str:
    """The thresholds of the sweep, the fit, its slope, and the chosen point; SVG text."""
    passes = np.arange(1, len(curve.thresholds) + 1)
    figure = Figure(figsize=(5.6, 3.5))
    axes = figure.add_axes((0.12, 0.15, 0.76, 0.79))
    ceiling = max(2.2 * curve.threshold, float(np.percentile(curve.thresholds, 95)), 1e-6)
    axes.plot(passes, curve.thresholds, ".", color=ACCENT, markersize=4, label="threshold")
    if curve.used_fit:
        axes.plot(passes, up_to_pole(curve.fit), color=INK, linewidth=1, label=f"a·tan(b·t), R² {curve.r_squared:.2f}")
    axes.plot(passes[curve.chosen], curve.threshold, "o", color=OUTLINE, markersize=9, zorder=5, label=f"chosen: {curve.threshold:.3g}")
    axes.axvline(float(passes[curve.chosen]), color=OUTLINE, linewidth=0.8, alpha=0.5)
    axes.set_ylim(0, ceiling)
    axes.set_xlabel("sweep pass (percent of the brain lifted)")
    axes.set_ylabel("threshold (error)")
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    if curve.fixed is not None:
        return _chart(figure, axes)
    slope = axes.twinx()
    slope.plot(passes, curve.derivative, color=QUIET, linewidth=1, linestyle="--")
    slope.axhline(curve.gamma, color=QUIET, linewidth=0.8, linestyle=":")
    slope.set_ylim(0, 6 * curve.gamma)
    slope.set_ylabel(f"slope (dashed) and gamma {curve.gamma:g} (dotted)", color=QUIET)
    slope.tick_params(colors=QUIET)
    return _chart(figure, axes)


def draw_shrink(sizes: Sequence[int]) -> str:
    """Masked voxels (model grid) after each shrink pass; SVG text."""
    figure = Figure(figsize=(5.6, 3.5))
    axes = figure.add_axes((0.14, 0.15, 0.82, 0.79))
    passes = np.arange(1, len(sizes) + 1)
    axes.bar(passes, sizes, color=ACCENT, width=0.7)
    axes.bar(passes[-1:], sizes[-1:], color=OUTLINE, width=0.7)
    axes.set_xlabel("shrink pass")
    axes.set_ylabel("voxels still masked (model grid)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _chart(figure, axes)


def _extent(scene: Scene, plane: Plane) -> tuple[float, float]:
    """Width and height of a plane in mm."""
    sizes = np.array(scene.volume.shape) * scene.frame.spacing
    across = [axis for axis in range(3) if axis != axis_of(plane)]
    return float(sizes[across[0]]), float(sizes[across[1]])


def _show(axes: Axes, scene: Scene, plane: Plane, index: int, heat: bool, line: float = 1.2) -> None:
    aspect = scene.frame.aspect(plane)
    axes.imshow(
        cut(scene.volume, plane, index), cmap="gray", vmin=scene.window[0], vmax=scene.window[1], aspect=aspect, interpolation="bilinear"
    )
    outline = cut(scene.anomaly, plane, index)
    if heat:
        errors = np.clip(cut(scene.heatmap, plane, index) / scene.heat_limit, 0, 1)
        colours = _HEAT(errors)
        colours[..., 3] = np.clip(errors * 2.5, 0, 0.9)
        axes.imshow(colours, aspect=aspect, interpolation="bilinear")
    elif outline.any():
        axes.contour(outline, levels=[0.5], colors=OUTLINE, linewidths=line)
    axes.set_axis_off()


def _label(axes: Axes, plane: Plane) -> None:
    places = ((0.06, 0.5), (0.94, 0.5), (0.5, 0.94), (0.5, 0.06))
    for text, (x, y) in zip(LABELS[plane], places, strict=True):
        axes.text(x, y, text, transform=axes.transAxes, color="white", fontsize=10, ha="center", va="center", alpha=0.85)


def _cross(axes: Axes, scene: Scene, plane: Plane, at: tuple[int, int, int]) -> None:
    """Short ticks at the border of the picture where the other two planes cut this one."""
    across = [axis for axis in range(3) if axis != axis_of(plane)]
    column = scene.volume.shape[across[0]] - 1 - at[across[0]]
    row = scene.volume.shape[across[1]] - 1 - at[across[1]]
    for low, high in ((0, 0.03), (0.97, 1)):
        axes.axvline(column, low, high, color="#6fc3ff", linewidth=1)
        axes.axhline(row, low, high, color="#6fc3ff", linewidth=1)


def _chart(figure: Figure, axes: Axes) -> str:
    for other in figure.axes:
        other.spines[["top"]].set_visible(False)
        other.spines[["left", "bottom", "right"]].set_color(GRID)
        other.tick_params(labelsize=8)
        other.xaxis.label.set_fontsize(9)
        other.yaxis.label.set_fontsize(9)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _png(figure: Figure, dpi: int) -> str:
    FigureCanvasAgg(figure)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
