"""The pictures of a report, drawn off screen."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from IterMask3DLib.core.artifacts import SensitivityTable, ThresholdCurve
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.core.result import ANOMALY, HEATMAP, CaseResult
from IterMask3DLib.results.artifacts.chart import ACCENT, MARK, SIZE, svg_of
from IterMask3DLib.results.slices import AXIS, LABELS, PLANES, Frame, Plane, box, cut

OUTLINE = MARK
_HEAT = colormaps["inferno"]
_LIGHTBOX_SLICES, _LIGHTBOX_COLUMNS = 24, 6


@dataclass(frozen=True)
class Picture:
    """A case turned to R, A, S and cut to the brain's box, ready to be drawn; contiguous, so that slices are quick.

    Attributes:
        volume, heatmap: float32; brain, anomaly: bool; heatmap and anomaly are None where the method has none.
        frame: of the turned grid; window: darkest and brightest intensity; heat_limit: of the brightest colour.
        unit: of the heatmap.
        middle: voxel that three views go through where no lesion is asked for.
    """

    volume: FloatVolume
    heatmap: FloatVolume | None
    brain: BoolVolume
    anomaly: BoolVolume | None
    frame: Frame
    window: tuple[float, float]
    heat_limit: float
    unit: str

    @classmethod
    def of(cls, result: CaseResult) -> Picture:
        reference = result.case.reference
        frame = Frame.of(reference.affine, reference.array.shape)
        brain = frame.turn(result.brain)
        part = box(brain, frame.spacing)

        def turned(array: NDArray[np.generic] | None, kind: type[np.generic]) -> NDArray[np.generic] | None:
            return None if array is None else np.ascontiguousarray(frame.turn(array)[part], dtype=kind)

        volume, inside = turned(reference.array, np.float32), turned(result.brain, np.bool_)
        heatmap = turned(result.array(HEATMAP), np.float32)
        assert volume is not None and inside is not None
        low, high = np.percentile(volume[inside], (0.5, 99.7), overwrite_input=True)
        limit, chosen = 1e-6, result.artifact(ThresholdCurve) or result.artifact(SensitivityTable)
        if heatmap is not None:
            limit = max(float(np.percentile(heatmap[inside], 99.7, overwrite_input=True)), limit)
        if chosen is not None:
            limit = max(limit, 2 * chosen.threshold)
        unit = result.layers[HEATMAP].unit if HEATMAP in result.layers else ""
        anomaly = turned(result.array(ANOMALY), np.bool_)
        window = (float(low), float(high))
        return cls(volume, heatmap, inside, anomaly, frame, window, limit, unit)  # type: ignore[arg-type]

    def focus(self, lesion: BoolVolume | None) -> tuple[int, int, int]:
        """The voxel the three views go through: that of `lesion` nearest its centroid, or the middle of the brain."""
        mask = self.brain if lesion is None else lesion
        # From its shadows on the axes: the places of all voxels of a brain would take more memory than all the rest.
        shadows = (mask.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3))
        i, j, k = (round(float(np.average(np.arange(len(shadow)), weights=shadow))) for shadow in shadows)
        if mask[i, j, k]:
            return i, j, k
        voxels = np.argwhere(mask)
        distance = np.square((voxels - voxels.mean(axis=0)) * self.frame.spacing).sum(axis=1)
        x, y, z = voxels[int(distance.argmin())]
        return int(x), int(y), int(z)

    def part_of(self, array: NDArray[np.generic], brain: BoolVolume) -> NDArray[np.generic]:
        """Another array of the case [i, j, k], turned and cut alike."""
        return self.frame.turn(array)[box(self.frame.turn(brain), self.frame.spacing)]


def draw_views(picture: Picture, at: tuple[int, int, int]) -> str:
    """Three planes through `at`: above the outline of the anomaly, below the heatmap; PNG as a data address."""
    widths = [_extent(picture, plane)[0] for plane in PLANES]
    rows = 2 if picture.heatmap is not None else 1
    figure = Figure(figsize=(11.4, 3.8 * rows), facecolor="black")
    edges = {"left": 0.01, "right": 0.945, "top": 0.99, "bottom": 0.01, "wspace": 0.03, "hspace": 0.03}
    grid = figure.add_gridspec(rows, 4, width_ratios=[*widths, 5], **edges)
    for column, plane in enumerate(PLANES):
        index = at[AXIS[plane]]
        for row in range(rows):
            axes = figure.add_subplot(grid[row, column])
            _show(axes, picture, plane, index, heat=row == 1)
            _label(axes, plane)
            _cross(axes, picture, plane, at)
    if picture.heatmap is not None:
        legend = figure.add_subplot(grid[1, 3])
        bar = figure.colorbar(ScalarMappable(Normalize(0, picture.heat_limit), _HEAT), cax=legend)
        bar.set_label(
            f"error ({picture.unit})" if picture.unit else "error of the last pass", color="white", fontsize=9
        )
        bar.ax.tick_params(colors="white", labelsize=8)
        bar.outline.set_edgecolor("#555")
    return _png(figure)


def draw_lightbox(picture: Picture) -> str:
    """Axial slices over the whole brain, from below to above, with the anomaly's outline; PNG as a data address."""
    inside = np.flatnonzero(picture.brain.any(axis=(0, 1)))
    rim = 0.03 * (inside[-1] - inside[0])
    indices = np.unique(np.linspace(inside[0] + rim, inside[-1] - rim, _LIGHTBOX_SLICES).round().astype(int))
    rows = -(-len(indices) // _LIGHTBOX_COLUMNS)
    width, height = _extent(picture, "axial")
    side = 1.9
    figure = Figure(figsize=(_LIGHTBOX_COLUMNS * side, rows * side * height / width), facecolor="black")
    # All slices are one image: axes of its own for each would take longer than everything else in the report.
    axes = figure.add_axes((0, 0, 1, 1))
    _show_image(axes, picture, _mosaic(picture.volume, indices, picture.window[0]))
    if picture.anomaly is not None:
        _outline(axes, _mosaic(picture.anomaly, indices, False, rim=1), 0.9)
    style: dict[str, Any] = {"color": "white", "fontsize": 7, "ha": "center", "va": "center", "alpha": 0.6}
    for place in range(len(indices)):
        row, column = divmod(place, _LIGHTBOX_COLUMNS)
        for text, x in zip(LABELS["axial"][:2], (0.07, 0.93), strict=True):
            at = ((column + x) / _LIGHTBOX_COLUMNS, 1 - (row + 0.07) / rows)
            axes.text(*at, text, transform=axes.transAxes, **style)
    return _png(figure)


def _mosaic(array: NDArray[Any], indices: NDArray[np.integer], background: Any, rim: int = 0) -> NDArray[Any]:
    """Axial slices side by side, row by row. `rim`: pixels at the border of each that are background."""
    height, width = array.shape[1], array.shape[0]
    rows = -(-len(indices) // _LIGHTBOX_COLUMNS)
    whole = np.full((rows * height, _LIGHTBOX_COLUMNS * width), background, dtype=array.dtype)
    inner = (slice(rim, height - rim), slice(rim, width - rim))
    for place, index in enumerate(indices):
        row, column = divmod(place, _LIGHTBOX_COLUMNS)
        tile = whole[row * height : (row + 1) * height, column * width : (column + 1) * width]
        tile[inner] = cut(array, "axial", int(index))[inner]
    return whole


def draw_slice_scores(scores: tuple[float, ...]) -> str:
    """How anomalous each slice is, from below to above; SVG text."""
    figure = Figure(figsize=SIZE)
    axes = figure.add_axes((0.14, 0.15, 0.82, 0.79))
    slices = np.arange(1, len(scores) + 1)
    axes.bar(slices, scores, color=ACCENT, width=1.0)
    highest = int(np.argmax(scores))
    axes.bar(slices[highest], scores[highest], color=MARK, width=1.0)
    axes.set_xlabel("slice of the model grid, from below to above")
    axes.set_ylabel("score")
    return svg_of(figure, axes)


def _extent(picture: Picture, plane: Plane) -> tuple[float, float]:
    """Width and height of a plane in mm."""
    sizes = np.array(picture.volume.shape) * picture.frame.spacing
    across = [axis for axis in range(3) if axis != AXIS[plane]]
    return float(sizes[across[0]]), float(sizes[across[1]])


def _show(axes: Axes, picture: Picture, plane: Plane, index: int, heat: bool) -> None:
    _show_image(axes, picture, cut(picture.volume, plane, index), plane)
    if heat:
        assert picture.heatmap is not None
        errors = np.clip(cut(picture.heatmap, plane, index) / picture.heat_limit, 0, 1)
        colours = _HEAT(errors)
        colours[..., 3] = np.clip(errors * 2.5, 0, 0.9)
        axes.imshow(colours, aspect=picture.frame.aspect(plane), interpolation="bilinear")
    elif picture.anomaly is not None:
        _outline(axes, cut(picture.anomaly, plane, index), 1.2)


def _show_image(axes: Axes, picture: Picture, image: NDArray[Any], plane: Plane = "axial") -> None:
    low, high = picture.window
    grey: dict[str, Any] = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "bilinear"}
    axes.imshow(image, aspect=picture.frame.aspect(plane), **grey)
    axes.set_axis_off()


def _outline(axes: Axes, anomaly: NDArray[Any], width: float) -> None:
    if anomaly.any():
        axes.contour(anomaly, levels=[0.5], colors=OUTLINE, linewidths=width)


def _label(axes: Axes, plane: Plane) -> None:
    places = ((0.06, 0.5), (0.94, 0.5), (0.5, 0.94), (0.5, 0.06))
    style: dict[str, Any] = {"color": "white", "fontsize": 10, "ha": "center", "va": "center", "alpha": 0.85}
    for text, (x, y) in zip(LABELS[plane], places, strict=True):
        axes.text(x, y, text, transform=axes.transAxes, **style)


def _cross(axes: Axes, picture: Picture, plane: Plane, at: tuple[int, int, int]) -> None:
    """Short ticks at the border of the picture where the other two planes cut this one."""
    across = [axis for axis in range(3) if axis != AXIS[plane]]
    column = picture.volume.shape[across[0]] - 1 - at[across[0]]
    row = picture.volume.shape[across[1]] - 1 - at[across[1]]
    for low, high in ((0, 0.03), (0.97, 1)):
        axes.axvline(column, low, high, color="#6fc3ff", linewidth=1)
        axes.axhline(row, low, high, color="#6fc3ff", linewidth=1)


def _png(figure: Figure) -> str:
    FigureCanvasAgg(figure)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100, facecolor=figure.get_facecolor(), pil_kwargs={"compress_level": 3})
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
