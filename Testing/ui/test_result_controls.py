"""Every control of the panel does what it says: iterations, heatmap, lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer

from Testing.slicer_host.layouts import Layouts
from Testing.slicer_host.plot_view import click_point, drawn_series
from Testing.slicer_host.scene import add_slice_view
from Testing.ui.story import anomaly, click_cell, draw, phantom_node, voxel_ml
from Testing.ui.user import User


def foreground() -> Any:
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    return composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()


def sweep_of(user: User) -> list[Any]:
    return [step for step in user.nodes.steps if step.phase == "sweep"]


# Iterations


def test_the_play_buttons_step_through_the_iterations(done: User) -> None:
    browser = done.nodes.browser
    for slot, item in (
        ("onVcrFirst", 0),
        ("onVcrNext", 1),
        ("onVcrNext", 2),
        ("onVcrPrevious", 1),
        ("onVcrLast", len(done.nodes.steps) - 1),
    ):
        getattr(done.ui.playWidget, slot)()
        assert browser.GetSelectedItemNumber() == item
        assert done.ui.passLabel.text == str(done.nodes.steps[item].number)
    done.ui.playWidget.onVcrPlayPause()
    done.until(lambda: browser.GetSelectedItemNumber() == 2, "the third iteration")
    done.ui.playWidget.onVcrPlayPause()


def test_the_slider_shows_the_numbers_of_the_iteration(done: User) -> None:
    done.ui.seekWidget.slider().value = 3
    step = done.nodes.steps[3]
    assert done.ui.phaseLabel.text == "Sweep" and done.ui.passLabel.text == "4"
    assert done.ui.thresholdLabel.text == f"{step.scalars['threshold']:.4g}"
    brain_ml = done.nodes.outcome["brain_ml"]
    fraction = step.scalars["masked_fraction"]
    assert done.ui.maskedLabel.text == f"{fraction * brain_ml:.1f} ml"
    assert done.ui.shareLabel.text == f"{100 * fraction:.1f} %"
    assert done.ui.secondsLabel.text == f"{step.seconds:.2f} s"


def test_following_the_run_can_be_switched_off(slow: User) -> None:
    slow.click("applyButton")
    slow.reach(1)
    slow.click("followRunCheckBox")
    shown = slow.nodes.browser.GetSelectedItemNumber()
    slow.logic.unpause()
    slow.reach(shown + 20)
    assert slow.nodes.browser.GetSelectedItemNumber() == shown
    slow.click("followRunCheckBox")
    slow.wait()
    assert slow.nodes.browser.GetSelectedItemNumber() == len(slow.nodes.steps) - 1


def test_the_mask_of_the_iteration_can_be_hidden(user: User) -> None:
    view = add_slice_view("Red")
    phantom_node()
    user.segment()
    composite = view.GetSliceCompositeNode()
    assert composite.GetLabelVolumeID() == user.nodes.proxy("mask").GetID()
    user.click("showMaskCheckBox")
    assert composite.GetLabelVolumeID() is None


def test_a_click_on_the_curve_chooses_a_point_and_shrinks_from_it_only(done: User) -> None:
    sweep = sweep_of(done)
    plot = done.ui.plotFrame.findChild(slicer.qMRMLPlotView)
    series = drawn_series(plot)
    assert {1, len(sweep)} <= {len(x) for _, x, _ in series}
    curve = done.nodes.threshold_series
    click_point(plot, done.nodes.chosen_series, 0)
    assert done.ui.pointSlider.value == done.nodes.curve.chosen + 1
    click_point(plot, curve, 4)
    assert done.ui.pointSlider.value == 5
    assert f"{done.nodes.curve.thresholds[4]:.4g}" in done.ui.shrinkAgainLabel.text
    done.click("shrinkAgainButton")
    done.wait()
    assert done.nodes.curve.chosen == 4 and "by hand" in done.ui.curveLabel.text
    assert sweep_of(done) == sweep


def test_another_gamma_or_start_shrinks_again_from_the_same_sweep(done: User) -> None:
    sweep = sweep_of(done)
    done.choose("gamma", 0.3)
    done.choose("start", "best")
    assert "gamma 0.300" in done.ui.shrinkAgainLabel.text
    done.click("shrinkAgainButton")
    done.wait()
    assert done.nodes.request.settings["gamma"] == pytest.approx(0.3)
    assert done.nodes.request.settings["start"] == "best"
    assert done.nodes.curve.gamma == pytest.approx(0.3) and "gamma 0.3" in done.ui.curveLabel.text
    assert sweep_of(done) == sweep


def test_another_start_alone_keeps_the_choice_of_the_threshold(done: User) -> None:
    chosen = done.nodes.curve.chosen
    done.choose("start", "best")
    done.click("shrinkAgainButton")
    done.wait()
    assert done.nodes.request.settings["start"] == "best"
    assert done.nodes.curve.chosen == chosen and not done.nodes.curve.by_hand


def test_the_mask_of_an_iteration_can_become_the_anomaly_and_be_undone(done: User) -> None:
    before = anomaly(done.nodes)
    done.ui.seekWidget.setSelectedItemNumber(3)
    done.click("useIterationButton")
    taken = anomaly(done.nodes).sum() * voxel_ml(done.nodes.input)
    masked = done.nodes.steps[3].scalars["masked_fraction"] * done.nodes.outcome["brain_ml"]
    assert taken == pytest.approx(masked, rel=0.2)
    assert "iteration 4" in done.status
    done.panel.anomaly.editor._widget.undo()
    np.testing.assert_array_equal(anomaly(done.nodes), before)


# Heatmap


def test_the_heatmap_is_shown_faded_and_hidden(user: User) -> None:
    view = add_slice_view("Red")
    phantom_node()
    user.segment()
    composite = view.GetSliceCompositeNode()
    assert composite.GetForegroundVolumeID() == user.nodes.heatmap.GetID()
    user.set("heatmapOpacitySlider", 0.25)
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
    user.click("liveHeatmapCheckBox")
    assert composite.GetForegroundVolumeID() == user.nodes.proxy("error_map").GetID()
    user.click("liveHeatmapCheckBox")
    user.click("showHeatmapCheckBox")
    assert composite.GetForegroundVolumeID() is None


def test_the_legend_comes_and_goes(done: User) -> None:
    def legend_shown() -> bool:
        legends = slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode")
        return any(node.GetVisibility() for node in legends)

    assert not legend_shown()
    done.click("showLegendCheckBox")
    assert legend_shown()
    done.click("showLegendCheckBox")
    assert not legend_shown()


def test_range_and_threshold_change_the_display_of_the_heatmap(done: User) -> None:
    display = done.nodes.heatmap.GetDisplayNode()
    high = float(slicer.util.arrayFromVolume(done.nodes.heatmap).max())
    assert done.ui.heatmapRangeWidget.maximum == pytest.approx(high)
    done.ui.heatmapRangeWidget.setValues(0.1 * high, 0.5 * high)
    assert display.GetWindowLevelMin() == pytest.approx(0.1 * high, rel=0.01)
    assert display.GetWindowLevelMax() == pytest.approx(0.5 * high, rel=0.01)
    done.set("heatmapThresholdSlider", 0.3 * high)
    assert display.GetApplyThreshold() and display.GetLowerThreshold() == pytest.approx(0.3 * high, rel=0.01)


def test_a_threshold_becomes_the_anomaly_without_the_network(done: User) -> None:
    heat = slicer.util.arrayFromVolume(done.nodes.heatmap)
    done.set("heatmapThresholdSlider", 0.4 * float(heat.max()))
    threshold = done.ui.heatmapThresholdSlider.value
    done.click("thresholdButton")
    np.testing.assert_array_equal(anomaly(done.nodes) > 0, heat > threshold)
    assert "ml" in done.status


def test_compare_says_when_there_is_nothing_to_compare_in(done: User) -> None:
    done.click("compareButton")
    assert "no slice views" in done.status and not done.ui.compareButton.checked


def test_compare_lays_three_views_beside_each_other_and_gives_the_users_layout_back(user: User) -> None:
    layouts = Layouts()
    users = layouts.visible()
    phantom_node()
    user.segment()
    user.click("compareButton")
    assert layouts.visible() != users and len(layouts.visible()) == 3
    assert user.ui.compareButton.checked
    user.click("compareButton")
    assert layouts.visible() == users
    user.click("compareButton")
    user.module.exit()
    assert layouts.visible() == users and not user.ui.compareButton.checked
    user.module.enter()
    layouts.close()


# Anomaly


def test_the_output_can_be_a_segmentation_of_the_user(user: User) -> None:
    phantom_node()
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "own")
    user.session.parameters.outputSegmentation = own
    user.segment()
    assert user.nodes.segmentation is own
    assert user.ui.outputSegmentationSelector.currentNode() is own


def test_another_volume_gets_a_segmentation_of_its_own(done: User) -> None:
    first, volume = done.nodes.segmentation, done.nodes.input
    other = phantom_node("second")
    done.ui.inputVolumeSelector.setCurrentNode(other)
    assert done.ui.outputSegmentationSelector.currentNode() is None
    done.segment()
    assert done.nodes.segmentation is not first and done.nodes.input is other
    done.ui.inputVolumeSelector.setCurrentNode(volume)
    assert done.ui.outputSegmentationSelector.currentNode() is first is done.nodes.segmentation


def test_show_3d_makes_and_removes_the_surface(done: User) -> None:
    surface = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    done.click("show3DButton")
    assert done.nodes.segmentation.GetSegmentation().ContainsRepresentation(surface)
    done.click("show3DButton")
    assert not done.nodes.segmentation.GetSegmentation().ContainsRepresentation(surface)


def test_the_editor_can_work_on_the_heatmap(done: User) -> None:
    editor = done.ui.editorFrame.findChild(slicer.qMRMLSegmentEditorWidget)
    assert editor.segmentationNode() is done.nodes.segmentation and editor.sourceVolumeNode() is done.nodes.input
    done.set("sourceComboBox", 1)
    assert editor.sourceVolumeNode() is done.nodes.heatmap


def test_each_lesion_is_accepted_or_rejected_and_the_next_one_is_shown(done: User) -> None:
    make_three_lesions(done)
    done.click("measureButton")
    table, rows = done.ui.lesionsTable, done.logic.lesions(done.nodes)
    assert table.rowCount == 3 == len(rows) and not done.can("rejectButton")
    assert table.item(0, 1).text() == f"{rows[0].volume_ml:.2f}"
    click_cell(table, 0)
    done.click("acceptButton")
    assert table.item(0, 5).text() == "accepted" and "1 accepted" in done.ui.lesionsLabel.text
    assert selected_rows(table) == [1]
    done.click("rejectButton")
    assert [row.volume_ml for row in done.logic.lesions(done.nodes)] == [rows[0].volume_ml, rows[2].volume_ml]
    assert selected_rows(table) == [1] and table.item(0, 5).text() == "accepted"
    done.click("rejectButton")
    assert "1 lesion," in done.ui.lesionsLabel.text and selected_rows(table) == [0]


def test_a_lesion_is_edited_with_the_pen_of_the_editor(done: User) -> None:
    make_three_lesions(done)
    done.click("measureButton")
    click_cell(done.ui.lesionsTable, 0)
    done.click("acceptButton")
    click_cell(done.ui.lesionsTable, 0)
    done.click("editButton")
    editor = done.ui.editorFrame.findChild(slicer.qMRMLSegmentEditorWidget)
    assert not done.ui.editorCollapsibleButton.collapsed and editor.activeEffect() is not None
    assert editor.currentSegmentID() == done.nodes.segment_id
    mask = anomaly(done.nodes)
    mask[mask.nonzero()[0].min()] = 0
    draw(done.nodes, mask)
    done.click("measureButton")
    assert done.ui.lesionsTable.item(0, 5).text() == "–", "an edited lesion is to be looked at again"


def selected_rows(table: Any) -> list[int]:
    return sorted({index.row() for index in table.selectionModel().selectedRows()})


def make_three_lesions(user: User) -> None:
    mask = np.zeros_like(anomaly(user.nodes))
    for at, size in ((6, 6), (18, 4), (30, 2)):
        mask[at : at + size, 20 : 20 + size, 20 : 20 + size] = 1
    draw(user.nodes, mask)


def test_the_table_is_written_to_the_folder_of_save(done: User, tmp_path: Path) -> None:
    done.ui.saveDirectoryButton.directory = str(tmp_path)
    done.click("csvButton")
    (written,) = tmp_path.glob("*.csv")
    assert len(written.read_text(encoding="utf-8").splitlines()) >= 1 + len(done.logic.lesions(done.nodes))


# Continue from here


def test_continue_waits_for_an_edited_mask(done: User) -> None:
    assert not done.can("continueButton")
    done.ui.seekWidget.setSelectedItemNumber(2)
    done.click("editMaskButton")
    editor = done.ui.editorFrame.findChild(slicer.qMRMLSegmentEditorWidget)
    assert editor.segmentationNode() is done.session.edited_mask[0] is not done.nodes.segmentation
    count = len(done.nodes.steps)
    done.click("continueButton")
    done.wait()
    assert done.nodes.steps[count].phase == "edited" and not done.can("continueButton")


def test_an_edited_mask_that_was_removed_cannot_be_continued_from(done: User) -> None:
    done.click("editMaskButton")
    slicer.mrmlScene.RemoveNode(done.session.edited_mask[0])
    done.session.refresh()
    assert not done.can("continueButton") and done.session.edited_mask is None
