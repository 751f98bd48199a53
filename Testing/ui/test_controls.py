"""Every control of the panel does what it says; the last test holds that none was left out."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer
import vtk

from IterMask3DLib.scene.run.transport import pipes_to
from Testing.brains import phantom, toy_model
from Testing.slicer_host.layouts import Layouts
from Testing.slicer_host.plot_view import click_point, drawn_series
from Testing.slicer_host.scene import add_slice_view
from Testing.ui.conftest import command_with
from Testing.ui.story import BUNDLED, SAMPLE, anomaly, click_cell, draw, phantom_node, voxel_ml
from Testing.ui.user import User

FORM = SAMPLE.parents[1] / "UI" / "IterMask3D.ui"


@pytest.fixture
def done(user: User) -> User:
    """A user in front of a finished result."""
    phantom_node()
    user.segment()
    return user


@pytest.fixture
def slow(user: User) -> User:
    """A user whose runs take long enough to be interrupted."""
    phantom_node()
    user.choose("sweep_passes", 200)
    return user


@pytest.fixture
def installing(load: Callable[..., Any], own_data: Path) -> User:
    """A user with an engine, and a folder of installed models, of their own."""
    return load(pipes_to(command_with(own_data)))


def foreground() -> Any:
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    return composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()


def sweep_of(user: User) -> list[Any]:
    return [step for step in user.nodes.steps if step.phase == "sweep"]


# Input


def test_the_only_volume_is_selected_and_described(user: User) -> None:
    assert not user.can("applyButton") and "Sample Data" in user.ui.checksLabel.text
    volume = phantom_node()
    assert user.ui.inputVolumeSelector.currentNode() is volume
    assert user.can("applyButton") and user.ui.checksLabel.text


def test_another_volume_can_be_selected(done: User) -> None:
    first = done.nodes.input
    other = slicer.util.addVolumeFromArray(np.zeros((20, 20, 20), np.float32), name="empty")
    done.ui.inputVolumeSelector.setCurrentNode(other)
    assert done.nodes is None and not done.can("applyButton")
    assert "Problem:" in done.ui.checksLabel.text
    done.ui.inputVolumeSelector.setCurrentNode(first)
    assert done.nodes is not None and done.can("applyButton")


def test_a_brain_mask_can_be_given(user: User) -> None:
    volume = phantom_node()
    brain = (slicer.util.arrayFromVolume(volume) > 100).astype(np.uint8)
    mask = slicer.util.addVolumeFromArray(brain, name="brain", nodeClassName="vtkMRMLLabelMapVolumeNode")
    mask.CopyOrientation(volume)
    assert user.ui.brainMaskSelector.currentNode() is None
    user.ui.brainMaskSelector.setCurrentNode(mask)
    user.segment()
    assert user.nodes.brain_mask is mask


def test_a_segmentation_can_be_the_brain_mask(user: User) -> None:
    volume = phantom_node()
    brain = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
    brain.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = brain.GetSegmentation().AddEmptySegment("brain")
    drawn = (slicer.util.arrayFromVolume(volume) > 0).astype(np.uint8)
    drawn[:, : drawn.shape[1] // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(drawn, brain, segment, volume)
    user.ui.brainMaskSelector.setCurrentNode(brain)
    user.segment()
    used = slicer.util.arrayFromVolume(user.nodes.brain)
    assert used[drawn > 0].mean() > 0.9 and used[drawn == 0].mean() < 0.1


def test_the_model_says_what_it_was_trained_on_and_brings_its_settings(user: User) -> None:
    user.choose_model("t1w-2mm")
    assert "T1w" in user.ui.modelComboBox.currentText and "Trained on" in user.ui.modelLabel.text
    card = json.loads((SAMPLE.parents[1] / "Models" / "t1w-2mm" / "card.json").read_text(encoding="utf-8"))
    gamma = user.panel.advanced.method.control("gamma")
    assert gamma.value == pytest.approx(card.get("settings", card).get("gamma", card.get("gamma")))
    user.choose_model("toy")
    assert user.panel.advanced.method.control("sweep_passes").value == 12


def test_a_file_that_is_no_model_is_refused_in_words(user: User, tmp_path: Path) -> None:
    wrong = tmp_path / "model.zip"
    wrong.write_bytes(b"no zip")
    user.ui.modelPathLineEdit.currentPath = str(wrong)
    user.click("installModelButton")
    user.until(lambda: "model.zip" in user.status, "an answer")
    assert "Problem" in user.status


def test_the_model_follows_what_the_name_of_the_volume_says(user: User) -> None:
    first, second = phantom_node("sub-01_T1w"), phantom_node("sub-01_FLAIR")
    user.ui.inputVolumeSelector.setCurrentNode(first)
    assert user.session.parameters.model == "toy", "which is for T1w, as that volume is"
    user.ui.inputVolumeSelector.setCurrentNode(second)
    assert user.session.parameters.model == "flair"
    assert "sub-01_FLAIR is FLAIR by its name: the model flair was chosen for it." in user.log
    # The user may choose another.
    user.choose_model("t1w")
    assert user.session.parameters.model == "t1w"


def test_a_model_can_be_added_and_the_folder_cleared(
    installing: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = installing
    assert user.ui.modelComboBox.count == BUNDLED
    user.ui.modelPathLineEdit.currentPath = str(toy_model(tmp_path / "another"))
    user.click("installModelButton")
    user.until(lambda: user.ui.modelComboBox.count == 1 + BUNDLED, "the model in the list")
    assert "another was installed" in user.log and user.session.parameters.model == "another"
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: False)
    user.click("clearFolderButton")
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: True)
    user.click("clearFolderButton")
    user.until(lambda: user.ui.modelComboBox.count == BUNDLED, "the model gone from the list")
    assert "1 " in user.log and user.ui.modelComboBox.currentIndex == 0


def test_a_parent_transform_is_named_and_can_be_applied(user: User) -> None:
    volume = phantom_node()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 5.0)
    transform.SetMatrixTransformToParent(shift)
    before = volume.GetOrigin()[0]
    volume.SetAndObserveTransformNodeID(transform.GetID())
    user.click("hardenTransformButton")
    assert volume.GetParentTransformNode() is None and volume.GetOrigin()[0] == pytest.approx(before + 5)
    assert not user.can("hardenTransformButton")


# Segment


def test_segment_becomes_cancel_and_back(slow: User) -> None:
    slow.click("applyButton")
    assert slow.ui.applyButton.text == "Cancel"
    assert not slow.can("inputVolumeSelector") and not slow.can("useIterationButton")
    slow.reach(3)
    assert 0 < slow.ui.progressBar.value < slow.ui.progressBar.maximum
    slow.click("applyButton")
    slow.wait()
    assert slow.ui.applyButton.text == "Segment" and len(slow.nodes.steps) > 2
    assert slow.status in slow.log


def test_pause_holds_the_run_and_resume_lets_it_go_on(slow: User) -> None:
    slow.click("applyButton")
    slow.until(lambda: slow.nodes is not None and len(slow.nodes.steps) >= 3, "three passes")
    slow.click("pauseButton")
    assert slow.ui.pauseButton.text == "Resume" and "Paused" in slow.status
    slow.click("pauseButton")
    assert slow.ui.pauseButton.text == "Pause"
    slow.wait()
    assert slow.nodes.segmentation is not None


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


# Save and batch


SAVES = {
    "saveSegmentationCheckBox": "seg.nrrd",
    "saveNiftiCheckBox": "anomaly.nii.gz",
    "saveHeatmapCheckBox": "heatmap.nii.gz",
    "saveLesionsCheckBox": "lesions.csv",
    "saveReportCheckBox": "report.html",
    "saveIterationsCheckBox": "iterations.csv",
    "saveSceneCheckBox": ".mrb",
}


@pytest.mark.parametrize("wanted", SAVES)
def test_only_what_is_ticked_is_saved(done: User, tmp_path: Path, wanted: str) -> None:
    for name in SAVES:
        if getattr(done.ui, name).checked != (name == wanted):
            done.click(name)
    done.ui.saveDirectoryButton.directory = str(tmp_path)
    done.click("saveButton")
    done.wait()
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert any(name.endswith(SAVES[wanted]) for name in names), (names, done.log)
    for other in set(SAVES) - {wanted}:
        assert not any(name.endswith(SAVES[other]) for name in names), names


def test_saving_nothing_is_told(done: User, tmp_path: Path) -> None:
    for name in SAVES:
        if getattr(done.ui, name).checked:
            done.click(name)
    done.ui.saveDirectoryButton.directory = str(tmp_path)
    done.click("saveButton")
    done.wait()
    assert "Problem" in done.status and not any(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(done: User, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")
    done.ui.saveDirectoryButton.directory = str(place)
    done.click("saveButton")
    done.wait()
    assert "Problem" in done.status


def test_a_batch_goes_through_a_folder_and_leaves_out_what_is_done(user: User, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "first.nii.gz").write_bytes(SAMPLE.read_bytes())
    (source / "second.nii.gz").write_bytes(b"no volume")
    user.ui.batchInputButton.directory, user.ui.batchOutputButton.directory = str(source), str(target)
    user.click("batchButton")
    assert user.ui.batchButton.text == "Stop"
    user.wait()
    assert statuses(user) == {"first": "done", "second": "failed"}
    assert "1 done, 1 failed" in user.status and any(target.rglob("first*"))
    user.click("batchButton")
    user.wait()
    assert statuses(user)["first"] == "skipped"
    user.click("skipExistingCheckBox")
    user.click("batchButton")
    user.wait()
    assert statuses(user)["first"] == "done"


def test_of_several_dicom_series_in_a_folder_the_user_chooses_one(user: User, tmp_path: Path) -> None:
    from Testing.results.test_dicom_seg import write_series

    array, affine = phantom(shape=(20, 24, 20), spacing=8.0)
    for name, scan in (("first", array), ("second", array[:, :, 4:])):
        write_series(tmp_path / name, scan, affine)
    (tmp_path / "in" / "patient").mkdir(parents=True)
    for name in ("first", "second"):
        for file in (tmp_path / name).iterdir():
            file.rename(tmp_path / "in" / "patient" / f"{name}{file.stem}")
    user.ui.batchInputButton.directory = str(tmp_path / "in")
    user.ui.batchOutputButton.directory = str(tmp_path / "out")
    user.click("batchButton")
    user.wait()
    assert statuses(user) == {"patient": "choose"} and "press Run batch again" in user.status
    box = user.ui.batchTable.cellWidget(0, 2)
    assert [box.itemText(n) for n in range(box.count)] == ["series (20 files)", "series (16 files)"]
    box.currentIndex = 1
    user.click("batchButton")
    user.wait()
    assert statuses(user) == {"patient": "done"}
    assert nib.load(tmp_path / "out" / "patient" / "patient_anomaly.nii.gz").shape[2] == 16


def test_a_batch_can_be_stopped(user: User, tmp_path: Path) -> None:
    user.choose("sweep_passes", 200)
    for name in ("first", "second"):
        (tmp_path / f"{name}.nii.gz").write_bytes(SAMPLE.read_bytes())
    user.ui.batchInputButton.directory = str(tmp_path)
    user.ui.batchOutputButton.directory = str(tmp_path / "out")
    user.click("batchButton")
    user.until(lambda: user.ui.progressBar.value > 0, "some progress")
    user.click("batchButton")
    user.wait()
    assert "stopped" in statuses(user).values() and user.ui.batchButton.text == "Run batch"


def test_a_batch_of_a_folder_without_volumes_is_refused_in_words(user: User, tmp_path: Path) -> None:
    user.ui.batchInputButton.directory = str(tmp_path)
    user.ui.batchOutputButton.directory = str(tmp_path / "out")
    user.click("batchButton")
    user.wait()
    assert "Problem" in user.status and user.ui.batchButton.text == "Run batch" and user.can("batchButton")


def statuses(user: User) -> dict[str, str]:
    table = user.ui.batchTable
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}


# Advanced


def test_the_settings_reach_the_run(user: User) -> None:
    phantom_node()
    user.choose("seed", 7)
    user.choose("device", "cpu")
    user.choose("precision", "single")
    user.choose("quality", "full")
    user.choose("sweep_passes", 11)
    user.choose("start", "best")
    user.segment()
    request = user.nodes.request
    assert (request.seed, request.device, request.precision, request.quality) == (7, "cpu", "single", "full")
    assert dict(request.settings) == {"sweep_passes": 11, "start": "best"}
    assert len(sweep_of(user)) == 11


def test_the_settings_can_be_put_back_to_the_usual(user: User) -> None:
    user.choose("seed", 7)
    user.choose("sweep_passes", 11)
    user.click("resetSettingsButton")
    assert user.panel.advanced.method.control("sweep_passes").value == 12
    assert user.session.request.seed == 0 and not user.session.request.settings


def test_choices_are_shown_in_words(user: User) -> None:
    def texts(form: Any, name: str) -> list[str]:
        control = form.control(name)
        return [control.itemText(index) for index in range(control.count)]

    general, method = user.panel.advanced.general, user.panel.advanced.method
    assert texts(general, "device") == ["Auto", "Cuda", "Mps", "Cpu"]
    assert texts(general, "quality") == ["Auto", "Fast", "Full", "Published"]
    assert texts(method, "start") == ["Brain", "Best"]


def test_a_setting_that_may_be_none_is_none_until_it_is_chosen(user: User) -> None:
    control = user.panel.advanced.method.control("median_multiple")
    assert control.text == "none"
    control.value = 3.0
    assert user.session.request.settings["median_multiple"] == 3.0
    control.value = control.minimum
    assert user.session.request.settings["median_multiple"] is None


def test_the_model_folder_is_opened(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    opened: list[str] = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    user.click("openFolderButton")
    assert opened == [str(user.logic.description.model_folder)] == [user.ui.modelFolderLabel.text]


def test_another_engine_can_be_named_and_volumes_leave_only_by_that_choice(
    user: User, own_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no volume leaves" in user.ui.engineLabel.text and user.ui.modelComboBox.count == 1 + BUNDLED
    monkeypatch.setenv("XDG_DATA_HOME", str(own_data))
    monkeypatch.setenv("PYTHONPATH", command_with(own_data).environment["PYTHONPATH"])
    words = " ".join(command_with(own_data).arguments)
    user.ui.engineLineEdit.text = words
    user.click("engineButton")
    assert words in user.ui.engineLabel.text and "leave" in user.ui.engineLabel.text
    user.until(lambda: user.ui.modelComboBox.count == BUNDLED, "the models of the other engine")
    user.ui.engineLineEdit.text = "no-such-program-at-all --serve"
    user.click("engineButton")
    user.until(lambda: "Problem" in user.status, "a word about it")
    assert "no-such-program-at-all" in user.status
    user.ui.engineLineEdit.text = 'a "quotation mark too few'
    user.click("engineButton")
    assert "Problem" in user.status and "cannot be read" in user.status


def test_memory_is_freed_and_diagnostics_are_copied(done: User) -> None:
    done.click("freeMemoryButton")
    done.wait()
    assert done.status and "Problem" not in done.status
    done.click("diagnosticsButton")
    done.until(lambda: "clipboard" in done.status, "the diagnostics")
    text = slicer.app.clipboard().text()
    assert "torch" in text and "Slicer" in text


def test_no_control_was_left_out() -> None:
    touched = {"QPushButton", "QCheckBox", "QComboBox", "QSpinBox", "QTableWidget", "QLineEdit"}
    touched |= {"ctkSliderWidget", "ctkRangeWidget", "ctkPathLineEdit", "ctkDirectoryButton"}
    touched |= {"qMRMLNodeComboBox", "qMRMLSegmentationShow3DButton"}
    touched |= {"qMRMLSequenceBrowserSeekWidget", "qMRMLSequenceBrowserPlayWidget"}
    names = {item.get("name") for item in ET.parse(FORM).getroot().iter("widget") if item.get("class") in touched}
    files = ("test_controls.py", "test_lifecycle.py", "test_habits.py", "test_reading.py")
    told = "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in files)
    assert not {name for name in names if not re.search(rf"\b{name}\b", told)}
