"""What the slice views show: heatmap, mask, legend, comparison and curve, and the user's layout afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer

from IterMask3DLib.core.artifacts import ThresholdCurve
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.nodes.curve import write_curve
from Testing.scene.engine import SWEEP, Gate
from Testing.scene.samples import anomaly_of, phantom_node, voxels
from Testing.slicer_host.layouts import FOUR_UP, Layouts


@pytest.fixture
def layouts(scene: Any) -> Iterator[Any]:
    layouts = Layouts()
    yield layouts
    layouts.close()


@pytest.fixture
def nodes(logic: Any, choices: Request) -> Any:
    return logic.process(phantom_node(), choices).nodes


def test_the_heatmap_lies_over_the_volume_with_an_opacity_and_goes_again(layouts: Any, logic: Any, nodes: Any) -> None:
    red = layouts.composite("Red")
    logic.show_heatmap(nodes, True, 0.4)
    assert red.GetForegroundVolumeID() == nodes.heatmap.GetID() and red.GetForegroundOpacity() == pytest.approx(0.4)
    logic.show_iteration(nodes, 3)
    logic.show_heatmap(nodes, True, 0.7, live=True)
    assert red.GetForegroundVolumeID() == nodes.proxy("error_map").GetID()
    logic.show_heatmap(nodes, False)
    assert not red.GetForegroundVolumeID()


def test_what_another_tool_shows_is_left_alone(layouts: Any, logic: Any, nodes: Any) -> None:
    other = phantom_node("other")
    red = layouts.composite("Red")
    red.SetForegroundVolumeID(other.GetID())
    red.SetLabelVolumeID(other.GetID())
    logic.show_heatmap(nodes, False)
    logic.show_mask(nodes, False)
    assert red.GetForegroundVolumeID() == red.GetLabelVolumeID() == other.GetID()


def test_the_mask_of_the_iteration_is_the_label_layer(layouts: Any, logic: Any, nodes: Any) -> None:
    logic.show_mask(nodes, True, 0.3)
    red = layouts.composite("Red")
    assert red.GetLabelVolumeID() == nodes.proxy("mask").GetID() and red.GetLabelOpacity() == pytest.approx(0.3)
    logic.show_mask(nodes, False)
    assert not red.GetLabelVolumeID()


def test_range_and_threshold_of_the_heatmap_are_those_of_the_display(logic: Any, nodes: Any) -> None:
    low, high = logic.heatmap_range(nodes)
    assert low == 0 and high == pytest.approx(voxels(nodes.heatmap).max())
    display = nodes.heatmap.GetDisplayNode()
    assert display.GetLowerThreshold() == pytest.approx(nodes.curve.threshold)
    logic.set_heatmap_range(nodes, 0.5, 4.0)
    logic.set_heatmap_threshold(nodes, 2.0)
    for node in (nodes.heatmap, nodes.proxy("error_map")):
        display = node.GetDisplayNode()
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.5, 4.0)
        assert display.GetApplyThreshold() and display.GetLowerThreshold() == 2.0
    logic.set_heatmap_threshold(nodes, None)
    # Zeros stay transparent: they are no error, and the volume below is to be seen.
    assert 0 < nodes.heatmap.GetDisplayNode().GetLowerThreshold() < 1e-3


def test_the_colours_get_lighter_with_the_error(nodes: Any) -> None:
    colors = nodes.heatmap.GetDisplayNode().GetColorNode()
    rgba = np.array([colors.GetLookupTable().GetTableValue(i) for i in range(256)])
    lightness = rgba[:, :3] @ (0.299, 0.587, 0.114)
    assert (np.diff(lightness) > 0).all() and (rgba[:, 3] == 1).all()


def test_the_heatmap_becomes_the_anomaly_at_a_threshold_without_the_network(logic: Any, gate: Gate, nodes: Any) -> None:
    heatmap = voxels(nodes.heatmap)
    threshold = float(np.quantile(heatmap[heatmap > 0], 0.9))
    asked = gate.asked.total()
    ml = logic.threshold_heatmap(nodes, threshold)
    np.testing.assert_array_equal(anomaly_of(nodes), heatmap > threshold)
    assert ml == pytest.approx((heatmap > threshold).sum() * 4**3 / 1000)
    assert gate.asked.total() == asked
    assert sum(lesion.volume_ml for lesion in logic.lesions(nodes)) == pytest.approx(ml)
    slicer.mrmlScene.RemoveNode(nodes.heatmap)
    with pytest.raises(UserError, match="There is no heatmap yet; run Segment first"):
        logic.threshold_heatmap(nodes, 1.0)


def test_the_legend_belongs_to_the_heatmap(logic: Any, nodes: Any) -> None:
    logic.show_legend(nodes, True)
    legend = slicer.modules.colors.logic().GetColorLegendDisplayNode(nodes.heatmap)
    assert legend.GetVisibility() and legend.GetTitleText() == "Error"
    logic.show_legend(nodes, False)
    assert not legend.GetVisibility()


def test_comparing_shows_three_volumes_side_by_side_and_the_layout_comes_back(
    layouts: Any, logic: Any, nodes: Any
) -> None:
    layouts.node.SetViewArrangement(FOUR_UP)
    assert logic.compare(nodes)
    assert {"IterMask3DOriginal", "IterMask3DReconstruction", "IterMask3DError"} <= set(layouts.visible())
    shown = {name: layouts.composite(f"IterMask3D{name}") for name in ("Original", "Reconstruction", "Error")}
    assert shown["Original"].GetBackgroundVolumeID() == nodes.input.GetID()
    assert shown["Reconstruction"].GetBackgroundVolumeID() == nodes.reconstruction.GetID()
    assert shown["Error"].GetForegroundVolumeID() == nodes.heatmap.GetID()
    assert logic.compare(nodes)
    logic.leave_compare()
    assert layouts.node.GetViewArrangement() == FOUR_UP


def test_the_heatmap_and_the_mask_stay_out_of_the_comparison(layouts: Any, logic: Any, nodes: Any) -> None:
    logic.show_iteration(nodes, 2)
    logic.show_mask(nodes, True)
    logic.compare(nodes)
    assert logic.comparing
    logic.show_heatmap(nodes, True, 0.4)
    logic.show_mask(nodes, True)
    original, error = layouts.composite("IterMask3DOriginal"), layouts.composite("IterMask3DError")
    assert not original.GetForegroundVolumeID() and not original.GetLabelVolumeID()
    assert error.GetForegroundOpacity() == pytest.approx(0.7)
    logic.show_heatmap(nodes, False)
    assert error.GetForegroundVolumeID() == nodes.heatmap.GetID()
    logic.leave_compare()
    assert not logic.comparing
    logic.show_heatmap(nodes, True, 0.4)
    assert layouts.composite("Red").GetForegroundVolumeID() == nodes.heatmap.GetID()


def test_the_curve_is_a_plot_of_thresholds_fit_and_chosen_point(logic: Any, nodes: Any) -> None:
    curve, table = nodes.curve, nodes.curve_table.GetTable()
    count = table.GetNumberOfColumns()
    columns = {table.GetColumnName(i): [table.GetColumn(i).GetValue(r) for r in range(SWEEP)] for i in range(count)}
    np.testing.assert_array_equal(columns["Point"], np.arange(1, SWEEP + 1))
    np.testing.assert_array_equal(columns["Threshold"], curve.thresholds)
    np.testing.assert_array_equal(columns["Fit"], curve.drawn_fit)
    series = [nodes.curve_chart.GetNthPlotSeriesNode(i) for i in range(3)]
    assert [node.GetName() for node in series] == ["Threshold", "Fit", "Chosen"]
    chosen = nodes.chosen_table.GetTable()
    assert (chosen.GetColumn(0).GetValue(0), chosen.GetColumn(1).GetValue(0)) == (curve.chosen + 1, curve.threshold)


def test_the_curve_fits_into_a_panel(logic: Any, nodes: Any) -> None:
    chart = nodes.curve_chart
    assert len(chart.GetTitle()) < 40 and chart.GetTitle().startswith("Threshold ")
    assert max(chart.GetTitleFontSize(), chart.GetAxisTitleFontSize(), chart.GetAxisLabelFontSize()) <= 12
    assert chart.GetYAxisLogScale()


def test_a_hopeless_fit_is_no_fit_in_words(logic: Any, nodes: Any) -> None:
    record = {**nodes.curve.to_record(), "used_fit": False, "r_squared": -183.16}
    nodes.set_artifact("curve", record)
    assert logic.curve_text(nodes).endswith("; no fit)") and "183" not in logic.curve_text(nodes)


def test_a_threshold_of_zero_is_drawn_on_a_linear_axis(logic: Any, nodes: Any) -> None:
    record = nodes.curve.to_record()
    write_curve(nodes, ThresholdCurve.from_record({**record, "thresholds": [0.0, *record["thresholds"][1:]]}))
    assert not nodes.curve_chart.GetYAxisLogScale()


def test_a_layout_the_user_chose_meanwhile_stays(layouts: Any, logic: Any, nodes: Any) -> None:
    logic.compare(nodes)
    layouts.node.SetViewArrangement(6)
    logic.leave_compare()
    assert layouts.node.GetViewArrangement() == 6


def test_the_layout_comes_back_when_the_scene_is_closed_during_a_comparison(
    layouts: Any, logic: Any, nodes: Any
) -> None:
    logic.compare(nodes)
    slicer.mrmlScene.Clear(False)
    assert layouts.node.GetViewArrangement() == FOUR_UP


def test_without_a_layout_nothing_can_be_compared_and_nothing_fails(logic: Any, nodes: Any) -> None:
    assert slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode") is None
    assert not logic.compare(nodes) and not logic.comparing
    logic.leave_compare()
