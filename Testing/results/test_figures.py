"""The pictures of a report as a browser gets them: pixels, places in mm, letters, colours."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.image import imread

from IterMask3DLib.core.artifacts import SensitivityTable
from IterMask3DLib.core.result import HEATMAP, CaseResult, Layer
from IterMask3DLib.results.artifacts import sensitivity
from IterMask3DLib.results.artifacts.chart import ACCENT, MARK
from IterMask3DLib.results.figures import OUTLINE, Picture, draw_lightbox, draw_views, heat_colours, round_numbers
from IterMask3DLib.results.slices import LABELS, PLANES, cut
from IterMask3DLib.results.svg import outline, png
from Testing.results.case_results import SHAPE, a_result, healthy, score_alone

SVG = "{http://www.w3.org/2000/svg}"
ADDRESS = "{http://www.w3.org/1999/xlink}href"
AT = (16, 11, 8)
"""In the larger lesion. The first axis of the file runs to the left: its 6 to 9 are 17 to 14 of the picture."""


def drawn(address: str) -> ET.Element:
    kind, data = address.split(",")
    assert kind == "data:image/svg+xml;base64"
    return ET.fromstring(base64.b64decode(data, validate=True))


def views(made: CaseResult) -> ET.Element:
    return drawn(draw_views(Picture.of(made), AT))


def panels(made: CaseResult) -> list[ET.Element]:
    """Axial, coronal and sagittal view, of each the upper and then the lower."""
    return [group for group in views(made).iter(f"{SVG}g") if group.find(f"{SVG}image") is not None]


def pixels(image: ET.Element) -> np.ndarray:
    """As matplotlib reads them: 0 to 1."""
    return imread(BytesIO(base64.b64decode(image.get(ADDRESS, "").removeprefix("data:image/png;base64,"))))


def size(image: ET.Element) -> tuple[float, float]:
    return float(image.get("width", "")), float(image.get("height", ""))


def outlined(parent: ET.Element) -> list[np.ndarray]:
    """The corners (x, y) in mm of each closed line that surrounds anomaly."""
    paths = [path.get("d", "") for path in parent.iter(f"{SVG}path") if path.get("stroke") == OUTLINE]
    lines = [line for path in paths for line in path.split("Z") if line]
    return [np.array(re.findall(r"[\d.]+", line), float).reshape(-1, 2) for line in lines]


def area(corners: np.ndarray) -> float:
    x, y = corners.T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def texts(parent: ET.Element) -> list[str]:
    return [text.text or "" for text in parent.iter(f"{SVG}text")]


def test_a_png_holds_the_pixels_it_was_given() -> None:
    rng = np.random.default_rng(0)
    for shape in ((5, 7), (6, 3, 4)):
        given = rng.integers(0, 256, shape, dtype=np.uint8)
        np.testing.assert_array_equal((imread(BytesIO(png(given))) * 255).round(), given)


def test_slices_are_their_own_voxels_within_the_grey_window_at_their_size_in_mm() -> None:
    made = a_result()
    picture, low_high = Picture.of(made), np.percentile(made.case.reference.array[made.brain], (0.5, 99.7))
    # 24 x 30 x 20 voxels of 1 x 1.5 x 3 mm.
    for plane, panel, wanted in zip(PLANES, panels(made)[::2], ((24, 45), (24, 60), (45, 60)), strict=True):
        (image,) = panel.iter(f"{SVG}image")
        assert size(image) == wanted and image.get("preserveAspectRatio") == "none"
        index = dict(zip(("sagittal", "coronal", "axial"), AT, strict=True))[plane]
        shares = (cut(picture.volume, plane, index) - low_high[0]) / np.diff(low_high)
        np.testing.assert_allclose(pixels(image), np.clip(shares, 0, 1), atol=0.51 / 255)


def test_the_outline_surrounds_the_anomaly_where_it_is() -> None:
    # 4 x 3 x 2 voxels, worked out by hand; at each corner an eighth of a pixel is cut off.
    wanted = [(12 * 1.5 - 0.75, 8, 27.75), (8 * 3 - 1.5, 8, 33), (6 * 4.5 - 2.25, 27.75, 33)]
    upper = panels(a_result())[::2]
    for panel, (square, x, y) in zip(upper, wanted, strict=True):
        (corners,) = outlined(panel)
        assert area(corners) == pytest.approx(square)
        assert (corners.min(axis=0) + corners.max(axis=0)) / 2 == pytest.approx((x, y))
    assert not any(outlined(lower) for lower in panels(a_result())[1::2])


def test_an_outline_is_closed_at_the_edge_and_leaves_holes_open() -> None:
    ring = np.ones((4, 6), dtype=bool)
    ring[1:3, 2:4] = False
    lines = outlined(ET.fromstring(f'<svg xmlns="{SVG[1:-1]}">{outline(ring, 12, 4, f"stroke={OUTLINE!r}")}</svg>'))
    assert sorted(map(area, lines)) == pytest.approx([8 - 1, 48 - 1])
    assert outline(np.zeros((3, 3), dtype=bool), 1, 1, "") == ""


def test_letters_stand_at_their_sides_and_ticks_where_the_other_planes_cut() -> None:
    made = a_result()
    # From the left or from the top to the middle of voxel 16 of 24: 7.5 mm, of 11 of 30: 27.75 mm, of 8 of 20: 34.5 mm.
    cuts = {"axial": (7.5, 27.75), "coronal": (7.5, 34.5), "sagittal": (27.75, 34.5)}
    for plane, panel in zip([plane for plane in PLANES for _ in range(2)], panels(made), strict=True):
        width, height = size(next(panel.iter(f"{SVG}image")))
        sides = {}
        for text in panel.iter(f"{SVG}text"):
            x, y = float(text.get("x", "")) / width - 0.5, float(text.get("y", "")) / height - 0.5
            side = (("left", "right")[x > 0]) if abs(x) > abs(y) else ("top", "bottom")[y > 0]
            sides[side] = text.text
        assert tuple(sides[side] for side in ("left", "right", "top", "bottom")) == LABELS[plane]
        ticks = next(path.get("d", "") for path in panel.iter(f"{SVG}path") if path.get("stroke") != OUTLINE)
        starts = [tuple(map(float, start)) for start in re.findall(r"M([\d.]+),([\d.]+)", ticks)]
        x, y = cuts[plane]
        assert starts == [(x, 0), (0, y), (x, height), (width, y)]


def test_colours_of_the_heatmap_are_inferno_and_fade_where_the_error_is_small() -> None:
    errors = np.linspace(-0.1, 1.1, 2000)[None]
    found, wanted = heat_colours(errors)[0] / 255, colormaps["inferno"](errors[0])
    # The largest difference is at the darkest violet; no eye sees it.
    assert np.abs(found[:, :3] - wanted[:, :3]).max() < 6.5 / 255
    np.testing.assert_allclose(found[:, 3], np.clip(errors[0] * 2.5, 0, 0.9), atol=0.51 / 255)
    assert found[errors[0] <= 0, 3].max() == 0


def test_the_heatmap_lies_over_the_volume_and_a_bar_tells_its_colours() -> None:
    made = a_result()
    picture = Picture.of(made)
    assert picture.heatmap is not None and picture.heat_limit == 0.5
    below, above = panels(made)[1].iter(f"{SVG}image")
    assert size(below) == size(above)
    errors = cut(picture.heatmap, "axial", AT[2]) / picture.heat_limit
    np.testing.assert_array_equal((pixels(above) * 255).round(), heat_colours(errors))
    root = views(made)
    stops = root.findall(f".//{SVG}stop")
    assert (stops[0].get("offset"), stops[-1].get("offset")) == ("0", "1")
    (bar,) = (group for group in root.iter(f"{SVG}g") if group.find(f"{SVG}linearGradient") is not None)
    assert texts(bar) == ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "error of the last pass"]
    colours = bar.find(f"{SVG}rect")
    assert colours is not None and colours.get("fill") == "url(#heat)"
    ticks = [float(path.get("d", "").split(",")[1].split("h")[0]) for path in bar.iter(f"{SVG}path")]
    assert ticks == pytest.approx(np.linspace(size(colours)[1], 0, 6))


@pytest.mark.parametrize(
    ("limit", "numbers"),
    [
        (10.4, [0, 2, 4, 6, 8, 10]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (0.31, [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]),
        (151, [0, 20, 40, 60, 80, 100, 120, 140]),
        (1e-6, [0, 2e-7, 4e-7, 6e-7, 8e-7, 1e-6]),
    ],
)
def test_the_numbers_of_the_bar_are_round(limit: float, numbers: list[float]) -> None:
    assert round_numbers(limit) == pytest.approx(numbers)


def test_a_case_without_anomaly_or_without_heatmap_has_no_outline_or_no_second_row() -> None:
    assert len(panels(healthy())) == 6 and not outlined(views(healthy()))
    bare = score_alone()
    assert len(panels(bare)) == 3 and not outlined(views(bare)) and views(bare).find(f".//{SVG}linearGradient") is None
    heights = [float(views(made).get("viewBox", "").split()[3]) for made in (bare, healthy())]
    assert 1.9 < heights[1] / heights[0] < 2


def test_the_lightbox_is_one_picture_with_the_outlines_in_their_tiles() -> None:
    root = drawn(draw_lightbox(Picture.of(a_result())))
    (image,) = root.iter(f"{SVG}image")
    # All 14 slices of the brain, six a row, each 24 x 45 mm; the lesions lie in the 6th, 7th and 12th.
    assert size(image) == (144, 135) and pixels(image).shape == (90, 144)
    corners = outlined(root)
    places = {(int(y // 45), int(x // 24)) for x, y in (line.mean(axis=0) for line in corners)}
    assert len(corners) == 3 and places == {(0, 5), (1, 0), (1, 5)}
    assert texts(root).count("R") == texts(root).count("L") >= 14


def test_a_unit_with_signs_of_markup_is_told_as_it_is() -> None:
    made = a_result()
    odd = 'a < b & "c"'
    layers = {**made.layers, HEATMAP: Layer.score(np.zeros(SHAPE, np.float32), odd)}
    assert f"error ({odd})" in texts(views(replace(made, layers=layers)))


def test_the_same_case_is_drawn_with_the_same_bytes() -> None:
    first, again = (Picture.of(a_result()) for _ in range(2))
    assert draw_views(first, AT) == draw_views(again, AT) and draw_lightbox(first) == draw_lightbox(again)


@pytest.mark.parametrize("volumes", [(0.0, 0.5, 20.0), (0.0, 0.0, 0.0)])
def test_the_steps_of_the_sensitivity_are_bars_with_their_volumes(volumes: tuple[float, float, float]) -> None:
    table = SensitivityTable((-1, 0, 1), (6.0, 5.0, 4.0), (0.0, 0.00123, 0.01), volumes, 0, 2.0)
    root = ET.fromstring(sensitivity.figure(table))
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.get("fill") in (MARK, ACCENT)]
    assert [bar.get("fill") for bar in bars] == [ACCENT, MARK, ACCENT]
    heights = np.array([float(bar.get("height", "")) for bar in bars])
    assert heights / max(heights.max(), 1) == pytest.approx(np.array(volumes) / max(*volumes, 1))
    told = texts(root)
    values = ["0", "0.50", "20.0"] if any(volumes) else ["0"] * 3
    assert [told[start : start + 3] for start in (0, 3, 6)] == [
        [value, step, rate]
        for value, step, rate in zip(values, ("-1", "+0", "+1"), ("0 %", "0.12 %", "1 %"), strict=True)
    ]
    assert told[9:] == ["sensitivity (share of a healthy brain that it outlines)", "outlined here (ml)"]
    unknown = texts(ET.fromstring(sensitivity.figure(replace(table, healthy_shares=()))))
    assert "sensitivity" in unknown and not any("%" in words for words in unknown)
