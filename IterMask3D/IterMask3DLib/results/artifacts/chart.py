"""The style that all charts of a report share."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARK, INK, GRID, ACCENT, QUIET = "#ff5c39", "#1d2733", "#d9dee5", "#2f6fde", "#8a97a6"
SIZE = (5.6, 3.5)

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
"""Columns and rows."""


def millilitres(value: float) -> str:
    """A volume with as many digits as mean something: 0.031, 0.61, 46.9."""
    return "0" if value == 0 else f"{value:.{3 if value < 0.1 else 2 if value < 1 else 1}f}"


def svg_of(figure: Figure, axes: Axes) -> str:
    """A chart as SVG text, without anything that differs between two runs."""
    for other in figure.axes:
        other.spines[["top"]].set_visible(False)
        other.spines[["left", "bottom", "right"]].set_color(GRID)
        other.tick_params(labelsize=8)
        other.xaxis.label.set_fontsize(9)
        other.yaxis.label.set_fontsize(9)
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    text = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
