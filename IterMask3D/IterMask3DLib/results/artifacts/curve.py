"""The threshold curve as a table and as a figure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.results.artifacts.chart import ACCENT, INK, MARK, QUIET, SIZE, Table, svg_of

TITLE = "Threshold curve"
COLUMNS = ("pass", "threshold", "fit", "derivative", "chosen")


def table(curve: ThresholdCurve) -> Table:
    """One row a sweep pass; the fit is empty where there was none."""
    rows: list[tuple[Any, ...]] = [
        (
            t + 1,
            f"{curve.thresholds[t]:.8g}",
            _number(curve.fit[t]),
            _number(curve.derivative[t]),
            int(t == curve.chosen),
        )
        for t in range(len(curve.thresholds))
    ]
    return COLUMNS, rows


def figure(curve: ThresholdCurve) -> str:
    """The thresholds of the sweep, the fit, its slope, and the chosen point; SVG text."""
    from matplotlib.figure import Figure

    passes = np.arange(1, len(curve.thresholds) + 1)
    drawn = Figure(figsize=SIZE)
    axes = drawn.add_axes((0.12, 0.15, 0.76, 0.79))
    ceiling = max(2.2 * curve.threshold, float(np.percentile(curve.thresholds, 95)), 1e-6)
    axes.plot(passes, curve.thresholds, ".", color=ACCENT, markersize=4, label="threshold")
    if curve.used_fit:
        label = f"a·tan(b·t), R² {curve.r_squared:.2f}"
        axes.plot(passes, curve.drawn_fit, color=INK, linewidth=1, label=label)
    chosen = float(passes[curve.chosen])
    label = f"chosen: {curve.threshold:.3g}"
    axes.plot(chosen, curve.threshold, "o", color=MARK, markersize=9, zorder=5, label=label)
    axes.axvline(chosen, color=MARK, linewidth=0.8, alpha=0.5)
    axes.set_ylim(0, ceiling)
    axes.set_xlabel("sweep pass (percent of the brain unmasked)")
    axes.set_ylabel("threshold (error)")
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    if curve.fixed is not None:
        return svg_of(drawn, axes)
    slope = axes.twinx()
    slope.plot(passes, curve.derivative, color=QUIET, linewidth=1, linestyle="--")
    slope.axhline(curve.gamma, color=QUIET, linewidth=0.8, linestyle=":")
    slope.set_ylim(0, 6 * curve.gamma)
    slope.set_ylabel(f"slope (dashed) and gamma {curve.gamma:g} (dotted)", color=QUIET)
    slope.tick_params(colors=QUIET)
    return svg_of(drawn, axes)


def caption(curve: ThresholdCurve) -> str:
    """How the threshold came about."""
    beginning = "Each sweep pass unmasks one more percent of the brain. The threshold is "
    if curve.by_hand:
        return f"{beginning}that of a point chosen by hand."
    if curve.fixed is not None:
        return f"{beginning}the model’s multiple of the median error of the first pass."
    smoothed = "" if curve.used_fit else " (smoothed differences: the tangent did not fit)"
    return f"{beginning}chosen where the slope first exceeds gamma{smoothed}."


def facts(curve: ThresholdCurve) -> dict[str, Any]:
    return {
        "threshold": curve.threshold,
        "first_median": curve.median,
        "chosen_pass": curve.chosen + 1,
        "chosen_by": "hand" if curve.by_hand else "gamma" if curve.fixed is None else "model",
        "gamma": curve.gamma,
        "r_squared": curve.r_squared,
        "tangent_used": curve.used_fit,
    }


def _number(value: float) -> str:
    return f"{value:.8g}" if math.isfinite(value) else ""
