"""The report of a case: one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from IterMask3DLib.core.image import Curve
from IterMask3DLib.results.figures import Scene, draw_curve, draw_lightbox, draw_shrink, draw_views, focus
from IterMask3DLib.results.lesions import Lesion
from IterMask3DLib.results.outcome import CaseOutcome

_LISTED = 20


def write_report(path: Path, outcome: CaseOutcome, lesions: Sequence[Lesion], labels: NDArray[np.int32]) -> None:
    """Writes the HTML page. `labels`: lesion numbers [i, j, k] as of `find_lesions`. The page refers to nothing outside itself."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scene = Scene.of(outcome)
    total = sum(lesion.volume_ml for lesion in lesions)
    page = environment.get_template("report.html.j2").render(
        case=outcome.case,
        outcome=outcome,
        total_ml=total,
        percent=100 * total / outcome.brain_ml if outcome.brain_ml else 0.0,
        ml=_millilitres,
        place=_place,
        lesions=lesions[:_LISTED],
        count=len(lesions),
        rest=lesions[_LISTED:],
        rest_ml=sum(lesion.volume_ml for lesion in lesions[_LISTED:]),
        views=draw_views(scene, focus(outcome, labels, lesions[0].number if lesions else None)),
        lightbox=draw_lightbox(scene),
        curve=Markup(draw_curve(outcome.curve)),
        shrink=Markup(draw_shrink([size for size, _ in outcome.shrink])),
        facts=_facts(outcome),
        attribution=outcome.provenance.get("attribution", ""),
    )
    path.write_text(page, encoding="utf-8", newline="\n")


def _millilitres(value: float) -> str:
    """A volume with as many digits as mean something: 0.031, 0.61, 46.9."""
    return "0" if value == 0 else f"{value:.{3 if value < 0.1 else 2 if value < 1 else 1}f}"


def _place(ras: tuple[float, float, float]) -> str:
    """A point in mm with the side it lies on instead of a sign: R 3.2, P 26.9, S 17.7."""
    sides = ("RL", "AP", "SI")
    return ", ".join(f"{side[value < 0]}\u00a0{abs(value):.1f}" for side, value in zip(sides, ras, strict=True))


def _choice(curve: Curve) -> str:
    where = f"{curve.threshold:.5g}, reached at pass {curve.chosen + 1}"
    return (
        f"{where}; chosen there with gamma {curve.gamma:g}"
        if curve.fixed is None
        else f"{where}; a multiple of the median error of the first pass, as the model says"
    )


def _facts(outcome: CaseOutcome) -> list[tuple[str, str]]:
    """Provenance as rows of a table, in a reading order."""
    made = outcome.provenance
    shape = " x ".join(str(n) for n in outcome.volume.array.shape)
    spacing = " x ".join(f"{s:.3g}" for s in outcome.volume.spacing)
    rows = [
        ("Input", outcome.volume.source or outcome.case),
        ("Grid of the input", f"{shape} voxels of {spacing} mm"),
        ("Brain mask", f"{outcome.brain_source}; {outcome.brain_ml:,.0f} ml"),
        ("Threshold", _choice(outcome.curve)),
        ("Detection scores", f"mask size {outcome.mask_size:,} voxels (model grid), mean error {outcome.mean_error:.5g}"),
    ]
    names = {"model": "Model", "model_sha256": "SHA-256 of the weights", "method": "Method", "seed": "Seed", "device": "Device"}
    rows += [(title, str(made[key])) for key, title in names.items() if key in made]
    for key, title in (("settings", "Settings"), ("versions", "Versions")):
        if key in made:
            rows.append((title, json.dumps(made[key], sort_keys=True).replace('"', "").strip("{}")))
    for key, title in (("started", "Started (UTC)"), ("seconds", "Seconds")):
        if key in made:
            rows.append((title, str(made[key])))
    return rows
