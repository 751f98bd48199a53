"""What each step of the sensitivity outlines, as a table and as a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from IterMask3DLib.core.artifacts import SensitivityTable
from IterMask3DLib.results.artifacts.chart import ACCENT, MARK, SIZE, Table, svg_of

TITLE = "Sensitivity"
COLUMNS = ("sensitivity", "threshold", "healthy_percent", "anomaly_ml", "chosen")


def table(found: SensitivityTable) -> Table:
    """One row a step; the rate in healthy brains is empty where it is not known."""
    shares = [f"{100 * share:.4g}" for share in found.healthy_shares] or [""] * len(found.sensitivities)
    rows = zip(found.sensitivities, found.thresholds, shares, found.volumes_ml, strict=True)
    return COLUMNS, [(*row, int(row[0] == found.chosen)) for row in rows]


def figure(found: SensitivityTable) -> str:
    """The volume that each step outlines, with its rate in healthy brains below; SVG text."""
    drawn = Figure(figsize=SIZE)
    axes = drawn.add_axes((0.14, 0.2, 0.82, 0.74))
    steps = np.arange(len(found.sensitivities))
    colours = [MARK if step == found.chosen else ACCENT for step in found.sensitivities]
    axes.bar(steps, found.volumes_ml, color=colours, width=0.7)
    rates = [f"\n{100 * share:.2g} %" for share in found.healthy_shares] or [""] * len(steps)
    axes.set_xticks(steps, [f"{step:+d}{rate}" for step, rate in zip(found.sensitivities, rates, strict=True)])
    axes.set_xlabel("sensitivity" + (" (share of a healthy brain that it outlines)" if found.healthy_shares else ""))
    axes.set_ylabel("outlined here (ml)")
    return svg_of(drawn, axes)


def caption(found: SensitivityTable) -> str:
    threshold = f"Regions that reach {found.threshold:.3g} on the heatmap are outlined down to {found.extent:.3g}."
    return f"{threshold} A step to the right finds fainter lesions and outlines more of what is healthy."


def facts(found: SensitivityTable) -> dict[str, Any]:
    record = found.to_record()
    return {"threshold": found.threshold, "sensitivity": record.pop("chosen"), **record}
