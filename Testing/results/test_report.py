"""The report: one page that stands alone, says what it is, and trusts no string."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from IterMask3DLib.core.image import Case, Image
from IterMask3DLib.core.result import ANOMALY, HEATMAP, CaseResult, Layer
from IterMask3DLib.results.case_lesions import CaseLesions
from IterMask3DLib.results.figures import Picture
from IterMask3DLib.results.report import write_report
from Testing.results.case_results import SHAPE, a_case, a_result, curve, healthy, score_alone

HOSTILE = '<script>alert("x")</script>{{ 7 * 7 }}&'


def report(path: Path, made: CaseResult) -> str:
    write_report(path, made, CaseLesions.of(made))
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects the tags, the addresses they load and the text a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "srcset", "data", "action"}
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return report(tmp_path_factory.mktemp("report") / "r.html", a_result())


def test_the_page_loads_nothing_from_outside_itself(page: str) -> None:
    addresses = Reader(page).addresses
    assert addresses and all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    assert not {"script", "link", "iframe", "object", "embed"} & set(Reader(page).tags)
    assert "@import" not in page and not re.search(r"url\((?!#)", page)
    assert len(page) < 3e6


def test_the_page_says_what_it_is_for_and_what_it_found(page: str) -> None:
    text = Reader(page).text
    assert "Research use only." in text and "Not a medical device; not for diagnosis" in text
    assert "The mask did not settle." in text and "already stripped: background is zero" in text
    assert "0.11 ml" in text and "0.4 % of the brain" in text  # 25 voxels of 4.5 mm³ in 27.2 ml
    assert "c0ffee" in text and "toy" in text
    assert "24 x 30 x 20 voxels of 1 x 1.5 x 3 mm" in text


def test_the_page_lists_each_lesion_with_its_place(page: str) -> None:
    rows = re.findall(r"<tr><td>(\d+)</td><td>([\d.]+)</td><td>(.+?)</td>", page)
    # Voxels (7.5, 11, 8.5) and (18, 20, 14) of a grid tilted by 20 degrees, worked out by hand:
    # R 3.75, A -13.34, S -2.09; R -6.75, A -6.30, S 18.03.
    assert [(number, ml, place.replace("\u00a0", " ")) for number, ml, place in rows] == [
        ("1", "0.108", "R 3.8, P 13.3, I 2.1"),
        ("2", "0.004", "L 6.8, P 6.3, S 18.0"),
    ]


def test_the_pictures_are_whole(page: str) -> None:
    pictures = re.findall(r'<img alt="[^"]+" src="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(pictures) == 2 and page.count("<svg") == 2
    for picture in pictures:
        drawn = ET.fromstring(base64.b64decode(picture, validate=True))
        addresses = [value for part in drawn.iter() for name, value in part.items() if name.endswith("href")]
        assert addresses and all(address.startswith("data:image/png;base64,") for address in addresses)


def test_no_string_of_the_user_becomes_markup(tmp_path: Path) -> None:
    made = a_result(
        case=a_case(HOSTILE, HOSTILE),
        warnings=(HOSTILE,),
        brain_source=HOSTILE,
        provenance={
            "model": HOSTILE,
            "settings": {HOSTILE: HOSTILE},
            "versions": {"x": HOSTILE},
            "attribution": HOSTILE,
            "citation": HOSTILE,
        },
    )
    page = report(tmp_path / "r.html", made)
    assert "<script" not in page and "script" not in Reader(page).tags
    assert page.count("&lt;script&gt;") >= 8 and "{{ 7 * 7 }}" in page and "&amp;" in page


def test_a_case_without_lesion_and_without_provenance_has_a_report(tmp_path: Path) -> None:
    text = Reader(report(tmp_path / "r.html", healthy(provenance={}))).text
    assert "no anomaly was found" in text and "0 ml" in text and "Research use only." in text
    assert "Warning." not in text


def test_a_curve_without_fit_is_told(tmp_path: Path) -> None:
    unfitted = replace(curve(), fit=np.full(30, np.nan), used_fit=False, r_squared=float("nan"))
    assert "the tangent did not fit" in Reader(report(tmp_path / "r.html", a_result(artifacts=(unfitted,)))).text


def test_how_much_another_seed_changes_is_told_where_it_was_measured(tmp_path: Path) -> None:
    agreement = {"seed": 7, "seed_agreement": "0.97 (the bundled brain, 6 seeds)"}
    text = Reader(report(tmp_path / "r.html", a_result(provenance=agreement))).text
    assert "7; mean Dice between the outlines of two seeds: 0.97 (the bundled brain, 6 seeds)" in text
    assert "between the outlines" not in Reader(report(tmp_path / "other.html", a_result())).text


def test_more_than_twenty_lesions_are_summed(tmp_path: Path) -> None:
    anomaly = np.zeros(SHAPE, dtype=bool)
    anomaly[4:20:2, 4:14:2, 5] = True  # 8 x 5 = 40 single voxels, 4.5 mm³ each
    page = report(tmp_path / "r.html", a_result(anomaly))
    assert len(re.findall(r"<tr><td>\d+</td>", page)) == 20
    assert "<td>20 smaller, together</td><td>0.090</td>" in page


def test_a_unit_of_the_heatmap_is_told(tmp_path: Path) -> None:
    made = a_result()
    heatmap = made.array(HEATMAP)
    assert heatmap is not None
    layers = {**made.layers, HEATMAP: Layer.score(heatmap, "times the error of healthy brains")}
    text = Reader(report(tmp_path / "r.html", replace(made, layers=layers))).text
    assert "times the error of healthy brains" in text


def test_a_method_that_scores_alone_has_a_report_of_its_scores(tmp_path: Path) -> None:
    page = report(tmp_path / "r.html", score_alone())
    text = Reader(page).text
    assert "0.75" in text and "Slice scores" in text and page.count("<svg") == 1
    assert "no anomaly was found" not in text and "Threshold curve" not in text


def test_the_views_go_through_the_largest_lesion() -> None:
    made = a_result()
    labels, picture = CaseLesions.of(made).labels, Picture.of(made)
    assert picture.heatmap is not None and picture.anomaly is not None
    first, second = (picture.focus(picture.part_of(labels == n, made.brain).astype(bool)) for n in (1, 2))
    assert picture.anomaly[first]
    assert picture.heatmap[first] == 0.5
    assert picture.heatmap[second] == 2.0


def test_the_views_go_through_the_middle_of_a_brain_without_lesion() -> None:
    picture = Picture.of(healthy())
    inside = np.argwhere(picture.brain)
    assert np.abs(picture.focus(None) - inside.mean(axis=0)).max() <= 0.5


def test_a_stack_of_a_few_thick_slices_has_a_report(tmp_path: Path) -> None:
    made = a_result()
    part = (slice(None), slice(None), slice(8, 11))
    image = Image(made.case.reference.array[part].astype(np.float32), made.case.reference.affine, "anna")
    layers = {name: replace(layer, values=layer.read()[part]) for name, layer in made.layers.items()}
    assert layers[ANOMALY].read().any()
    thin = replace(made, case=Case("anna", {"": image}), brain=made.brain[part], layers=layers)
    assert "Slices from below to above" in report(tmp_path / "r.html", thin)
