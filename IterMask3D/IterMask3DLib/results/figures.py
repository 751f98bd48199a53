"""The pictures of a report, drawn off screen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from IterMask3DLib.core.artifacts import SensitivityTable, ThresholdCurve
from IterMask3DLib.core.image import BoolVolume, FloatVolume
from IterMask3DLib.core.result import ANOMALY, HEATMAP, CaseResult
from IterMask3DLib.results.artifacts.chart import ACCENT, MARK, SIZE, svg_of
from IterMask3DLib.results.slices import AXIS, LABELS, PLANES, Frame, Plane, box, cut
from IterMask3DLib.results.svg import address, document, image, outline, text

OUTLINE = MARK
_THIN = 'vector-effect="non-scaling-stroke"'
_OUTLINED = f'stroke="{OUTLINE}" stroke-width="1.5" stroke-linejoin="round" {_THIN}'
_TICK = "#6fc3ff"
HEAT = (
    "000004 0a0722 1e0c45 380962 510e6c 69166e 801f6c 982766 b0315b "
    "c63d4d d94d3d e9612b f47918 fa9407 fcb014 f8cd37 f2ea69 fcffa4"
)
"""Colours from the smallest to the largest error, evenly spaced: each fifteenth of matplotlib's 256 of `inferno`."""
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
    """Three planes through `at`: above the outline of the anomaly, below the heatmap; SVG in mm, as a data address."""
    sizes = [_extent(picture, plane) for plane in PLANES]
    across, tall = sum(width for width, _ in sizes), max(height for _, height in sizes)
    gap, size = across / 100, across / 75
    rows = 2 if picture.heatmap is not None else 1
    body, right = "", gap
    for plane, (width, height) in zip(PLANES, sizes, strict=True):
        for row in range(rows):
            top = gap + row * (tall + gap) + (tall - height) / 2
            body += _moved(right, top, _panel(picture, plane, at, size, heat=row == 1))
        right += width + gap
    if picture.heatmap is not None:
        body += _moved(right, 2 * gap + tall, _colour_bar(picture, tall, size))
        right += 5.2 * size
    return _on_black(right, gap + rows * (tall + gap), body)


def draw_lightbox(picture: Picture) -> str:
    """Axial slices over the whole brain, from below to above, the anomaly outlined; SVG in mm, as a data address."""
    inside = np.flatnonzero(picture.brain.any(axis=(0, 1)))
    rim = 0.03 * (inside[-1] - inside[0])
    indices = np.unique(np.linspace(inside[0] + rim, inside[-1] - rim, _LIGHTBOX_SLICES).round().astype(int))
    rows = -(-len(indices) // _LIGHTBOX_COLUMNS)
    width, height = _extent(picture, "axial")
    whole = (_LIGHTBOX_COLUMNS * width, rows * height)
    body = image(grey(_mosaic(picture.volume, indices, picture.window[0]), picture.window), *whole)
    if picture.anomaly is not None:
        body += outline(_mosaic(picture.anomaly, indices, False, rim=1), *whole, _OUTLINED)
    for place in range(len(indices)):
        row, column = divmod(place, _LIGHTBOX_COLUMNS)
        for letter, x in zip(LABELS["axial"][:2], (0.07, 0.93), strict=True):
            body += _letter(letter, (column + x) * width, (row + 0.07) * height, width / 19)
    return _on_black(*whole, body)


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
    from matplotlib.figure import Figure

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
    first, second = _across(plane)
    return float(sizes[first]), float(sizes[second])


def _across(plane: Plane) -> list[int]:
    """The axes (of R, A, S) that run along the width and the height of a plane."""
    return [axis for axis in range(3) if axis != AXIS[plane]]


def _panel(picture: Picture, plane: Plane, at: tuple[int, int, int], size: float, heat: bool) -> str:
    """A plane through `at` with its letters, and at its border short ticks where the other two planes cut it."""
    width, height = extent = _extent(picture, plane)
    index = at[AXIS[plane]]
    body = image(grey(cut(picture.volume, plane, index), picture.window), *extent)
    if heat:
        assert picture.heatmap is not None
        body += image(heat_colours(cut(picture.heatmap, plane, index) / picture.heat_limit), *extent)
    elif picture.anomaly is not None:
        body += outline(cut(picture.anomaly, plane, index), *extent, _OUTLINED)
    for letter, (x, y) in zip(LABELS[plane], ((0.06, 0.5), (0.94, 0.5), (0.5, 0.06), (0.5, 0.94)), strict=True):
        body += _letter(letter, x * width, y * height, size)
    x, y = (1 - (at[axis] + 0.5) / picture.volume.shape[axis] for axis in _across(plane))
    ticks = "".join(
        f"M{x * width:g},{end * height:g}v{step * height:g}M{end * width:g},{y * height:g}h{step * width:g}"
        for end, step in ((0, 0.03), (1, -0.03))
    )
    return f'{body}<path d="{ticks}" stroke="{_TICK}" stroke-width="1.5" {_THIN}/>'


def _colour_bar(picture: Picture, height: float, size: float) -> str:
    """The colours of the heatmap from 0 to its limit, `height` mm high with letters of `size` mm."""
    colours = HEAT.split()
    stops = (f'<stop offset="{n / (len(colours) - 1):g}" stop-color="#{each}"/>' for n, each in enumerate(colours))
    body = f'<linearGradient id="heat" x1="0" y1="1" x2="0" y2="0">{"".join(stops)}</linearGradient>'
    body += f'<rect width="{size:g}" height="{height:g}" fill="url(#heat)" stroke="#555" {_THIN}/>'
    for value in round_numbers(picture.heat_limit):
        y = height * (1 - value / picture.heat_limit)
        body += f'<path d="M{size:g},{y:g}h{0.3 * size:g}" stroke="white" {_THIN}/>'
        body += text(f"{value:g}", 1.5 * size, y, 0.8 * size, 'text-anchor="start"')
    unit = f"error ({picture.unit})" if picture.unit else "error of the last pass"
    return body + text(unit, 0, 0, 0.9 * size, f'transform="translate({4.5 * size:g} {height / 2:g}) rotate(-90)"')


def round_numbers(limit: float) -> list[float]:
    """Four to nine evenly spaced numbers from 0 to at most `limit`, of few digits."""
    power = 10.0 ** math.floor(math.log10(limit))
    step = power * next(each for each in (0.2, 0.5, 1, 2) if limit <= 8 * each * power)
    return [n * step for n in range(int(limit / step + 1e-9) + 1)]


def grey(values: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    """A slice [row, column] from black to white between the two intensities of a window."""
    low, high = window
    return np.clip((values - low) * (255 / max(high - low, 1e-12)), 0, 255).round().astype(np.uint8)


def heat_colours(errors: NDArray[Any]) -> NDArray[np.uint8]:
    """Red, green, blue and opacity [row, column, 4] of errors [row, column] in shares of the brightest.

    The fainter an error is, the more of what lies below shines through.
    """
    errors = np.clip(errors, 0, 1)
    colours = np.frombuffer(bytes.fromhex(HEAT), np.uint8).reshape(-1, 3)
    channels = [np.interp(errors, np.linspace(0, 1, len(colours)), channel) for channel in colours.T]
    return np.stack([*channels, 255 * np.clip(2.5 * errors, 0, 0.9)], axis=-1).round().astype(np.uint8)


def _letter(letter: str, x: float, y: float, size: float) -> str:
    """A letter with a dark rim, so that it can be read on bright tissue too."""
    rim = f'stroke="black" stroke-width="{size / 4:g}" stroke-linejoin="round" opacity="0.6"'
    return text(letter, x, y, size, rim) + text(letter, x, y, size, 'opacity="0.85"')


def _moved(x: float, y: float, body: str) -> str:
    return f'<g transform="translate({x:g} {y:g})">{body}</g>'


def _on_black(width: float, height: float, body: str) -> str:
    return address("image/svg+xml", document(width, height, body, ink="white", ground="black").encode())
