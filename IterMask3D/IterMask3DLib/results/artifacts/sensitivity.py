"""What each step of the sensitivity outlines, as a table and as a figure."""

from __future__ import annotations

from typing import Any

from IterMask3DLib.core.artifacts import SensitivityTable
from IterMask3DLib.results.artifacts.chart import ACCENT, GRID, INK, MARK, Table, millilitres
from IterMask3DLib.results.svg import document, text

TITLE = "Sensitivity"
COLUMNS = ("sensitivity", "threshold", "healthy_percent", "anomaly_ml", "chosen")


def table(found: SensitivityTable) -> Table:
    """One row a step; the rate in healthy brains is empty where it is not known."""
    shares = [f"{100 * share:.4g}" for share in found.healthy_shares] or [""] * len(found.sensitivities)
    rows = zip(found.sensitivities, found.thresholds, shares, found.volumes_ml, strict=True)
    return COLUMNS, [(*row, int(row[0] == found.chosen)) for row in rows]


def figure(found: SensitivityTable) -> str:
    """The volume that each step outlines, with its rate in healthy brains below; SVG text."""
    wide, highest, floor = 500 / len(found.sensitivities), max(found.volumes_ml) or 1.0, 280
    rates = [f"{100 * share:.2g} %" for share in found.healthy_shares] or [""] * len(found.sensitivities)
    body = f'<path d="M50,{floor}h500" stroke="{GRID}"/>'
    for place, (step, volume, rate) in enumerate(zip(found.sensitivities, found.volumes_ml, rates, strict=True)):
        middle, height = 50 + (place + 0.5) * wide, 240 * volume / highest
        bar = f'x="{middle - 0.35 * wide:g}" y="{floor - height:g}" width="{0.7 * wide:g}" height="{height:g}"'
        body += f'<rect {bar} fill="{MARK if step == found.chosen else ACCENT}"/>'
        body += text(millilitres(volume), middle, floor - height - 12, 13)
        body += text(f"{step:+d}", middle, floor + 15, 13) + text(rate, middle, floor + 33, 12)
    title = "sensitivity" + (" (share of a healthy brain that it outlines)" if found.healthy_shares else "")
    body += text(title, 300, floor + 57, 13)
    body += text("outlined here (ml)", 0, 0, 13, 'transform="translate(20 160) rotate(-90)"')
    return document(560, 350, body, INK)


def caption(found: SensitivityTable) -> str:
    threshold = f"Regions that reach {found.threshold:.3g} on the heatmap are outlined down to {found.extent:.3g}."
    return f"{threshold} A step to the right finds fainter lesions and outlines more of what is healthy."


def facts(found: SensitivityTable) -> dict[str, Any]:
    record = found.to_record()
    return {"threshold": found.threshold, "sensitivity": record.pop("chosen"), **record}
