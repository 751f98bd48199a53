"""The report of a case: one self-contained page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from IterMask3DLib.core.artifacts import SensitivityTable, ThresholdCurve
from IterMask3DLib.core.card import SEED_AGREEMENT
from IterMask3DLib.core.files import write_text
from IterMask3DLib.core.image import BoolVolume
from IterMask3DLib.core.result import ANOMALY, HEATMAP, CaseResult
from IterMask3DLib.results.artifacts import files_of
from IterMask3DLib.results.artifacts.chart import millilitres
from IterMask3DLib.results.case_lesions import CaseLesions
from IterMask3DLib.results.figures import Picture, draw_lightbox, draw_slice_scores, draw_views

_LISTED = 20


def write_report(path: Path, result: CaseResult, found: CaseLesions) -> None:
    """Writes the HTML page of a case; it refers to nothing outside itself."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    picture, lesions = Picture.of(result), found.lesions
    at = picture.focus(_first_lesion(picture, result, found))
    page = environment.get_template("report.html.j2").render(
        case=result.case.name,
        result=result,
        has_anomaly=ANOMALY in result.layers,
        has_heatmap=HEATMAP in result.layers,
        total_ml=found.total_ml,
        percent=100 * found.total_ml / result.brain_ml if result.brain_ml else 0.0,
        ml=millilitres,
        place=_place,
        unit=picture.unit,
        lesions=lesions[:_LISTED],
        count=len(lesions),
        rest=lesions[_LISTED:],
        rest_ml=sum(lesion.volume_ml for lesion in lesions[_LISTED:]),
        views=draw_views(picture, at),
        lightbox=draw_lightbox(picture),
        charts=_charts(result),
        facts=_facts(result),
        citation=result.provenance.get("citation", ""),
        attribution=result.provenance.get("attribution", ""),
    )
    write_text(path, page)


def _first_lesion(picture: Picture, result: CaseResult, found: CaseLesions) -> BoolVolume | None:
    """The first lesion of the list on the grid of the picture."""
    if not found.lesions:
        return None
    return picture.part_of(found.labels == found.lesions[0].number, result.brain).astype(bool)


def _charts(result: CaseResult) -> list[tuple[str, Markup, str]]:
    """Title, SVG and caption of every chart the result has."""
    charts = []
    for artifact in result.artifacts:
        files = files_of(artifact)
        if files is not None:
            charts.append((files.TITLE, Markup(files.figure(artifact)), files.caption(artifact)))
    if result.slice_scores:
        caption = "How anomalous the method finds each slice; the highest is marked."
        charts.append(("Slice scores", Markup(draw_slice_scores(result.slice_scores)), caption))
    return charts


def _place(ras: tuple[float, float, float]) -> str:
    """A point in mm with the side it lies on instead of a sign: R 3.2, P 26.9, S 17.7."""
    sides = ("RL", "AP", "SI")
    return ", ".join(f"{side[value < 0]}\u00a0{abs(value):.1f}" for side, value in zip(sides, ras, strict=True))


def _choice(curve: ThresholdCurve) -> str:
    where = f"{curve.threshold:.5g}, reached at pass {curve.chosen + 1}"
    if curve.by_hand:
        return f"{where}; chosen by hand"
    if curve.fixed is None:
        return f"{where}; chosen there with gamma {curve.gamma:g}"
    return f"{where}; a multiple of the median error of the first pass, as the model says"


def _facts(result: CaseResult) -> list[tuple[str, str]]:
    """Provenance as rows of a table, in a reading order."""
    provenance, rows = result.provenance, []
    for name, image in result.case.images.items():
        shape = " x ".join(str(n) for n in image.array.shape)
        spacing = " x ".join(f"{s:.3g}" for s in image.spacing)
        rows.append((f"Input {name}".strip(), image.label))
        rows.append(("Grid", f"{shape} voxels of {spacing} mm"))
    rows.append(("Brain mask", f"{result.brain_source}; {result.brain_ml:,.0f} ml"))
    curve = result.artifact(ThresholdCurve)
    if curve is not None:
        rows.append(("Threshold", _choice(curve)))
    table = result.artifact(SensitivityTable)
    if table is not None:
        rows.append(("Threshold", f"{table.threshold:.3g} healthy standard deviations; sensitivity {table.chosen}"))
    scores = {"case score": result.case_score, **result.scalars}
    told = ", ".join(f"{name.replace('_', ' ')} {value:.5g}" for name, value in scores.items() if value is not None)
    rows.append(("Detection scores", told))
    titles = {"model": "Model", "method": "Method", "device": "Device", "backend": "Backend"}
    rows += [(title, str(provenance[key])) for key, title in titles.items() if key in provenance]
    if "seed" in provenance:
        agreement = provenance.get("seed_agreement")
        other = f"; {SEED_AGREEMENT}: {agreement}" if agreement else ""
        rows.append(("Seed", f"{provenance['seed']}{other}"))
    for key, title in (("model_sha256", "SHA-256 of the weights"), ("settings", "Settings"), ("versions", "Versions")):
        if key in provenance:
            rows.append((title, _short(provenance[key])))
    for key, title in (("started", "Started (UTC)"), ("seconds", "Seconds")):
        if key in provenance:
            rows.append((title, str(provenance[key])))
    return rows


def _short(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str).replace('"', "").strip("{}")
