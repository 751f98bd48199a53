"""Every control of the panel does what it says; the last test holds that none was left out."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer
import vtk

from Testing.scene.fake_engine import FakeEngine
from Testing.scene.samples import phantomNode
from Testing.slicer_host.layouts import Layouts
from Testing.slicer_host.scene import add_slice_view
from Testing.ui.story import SAMPLE, anomaly, click_cell
from Testing.ui.user import GatedEngine, User

FORM = SAMPLE.parents[1] / "UI" / "IterMask3D.ui"


@pytest.fixture
def done(user: User) -> User:
    """A user in front of a finished result."""
    phantomNode()
    user.segment()
    return user


@pytest.fixture
def slow(load: Callable[..., Any]) -> User:
    """A user whose runs wait for the test."""
    user = load(GatedEngine())
    phantomNode()
    user.fewPasses()
    return user


def foreground() -> Any:
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    return composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()


# Input


def test_the_only_volume_is_selected_and_described(user: User) -> None:
    assert not user.can("applyButton") and "Sample Data" in user.ui.checksLabel.text
    volume = phantomNode()
    assert user.ui.inputVolumeSelector.currentNode() is volume
    assert user.can("applyButton") and user.ui.checksLabel.text


def test_another_volume_can_be_selected(done: User) -> None:
    other = slicer.util.addVolumeFromArray(np.zeros((20, 20, 20), np.float32), name="empty")
    done.ui.inputVolumeSelector.setCurrentNode(other)
    assert done.nodes is None and not done.can("applyButton")
    assert "Problem:" in done.ui.checksLabel.text
    done.ui.inputVolumeSelector.setCurrentNodeIndex(0)
    assert done.nodes is not None and done.can("applyButton")


def test_a_brain_mask_can_be_given(user: User) -> None:
    volume = phantomNode()
    mask = slicer.util.addVolumeFromArray(
        (slicer.util.arrayFromVolume(volume) > 100).astype(np.uint8), name="brain", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )
    mask.CopyOrientation(volume)
    assert user.ui.brainMaskSelector.currentNode() is None
    user.ui.brainMaskSelector.setCurrentNode(mask)
    user.segment()
    assert user.nodes.brainMask is mask


def test_a_segmentation_can_be_the_brain_mask(user: User) -> None:
    volume = phantomNode()
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


def test_the_model_says_what_it_was_trained_on_and_brings_its_gamma(load: Callable[..., Any]) -> None:
    user = load(FakeEngine())
    assert user.ui.modelComboBox.count >= 1 and "T1w" in user.ui.modelComboBox.currentText
    assert "Trained on" in user.ui.modelLabel.text
    card = user.logic.models()[0]
    assert user.ui.gammaSlider.value == card.gamma and user.ui.passesSpinBox.value == card.passes


def test_a_file_that_is_no_model_is_refused_in_words(user: User, tmp_path: Path) -> None:
    wrong = tmp_path / "model.zip"
    wrong.write_bytes(b"no zip")
    user.ui.modelPathLineEdit.currentPath = str(wrong)
    user.click("installModelButton")
    assert "model.zip" in user.status and "Problem" in user.status


def test_a_model_can_be_added_and_the_folder_cleared(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    phantomNode()
    bundled = user.logic.models()[0]
    user.ui.modelPathLineEdit.currentPath = str(bundled.folder)
    user.click("installModelButton")
    assert "installed" in user.status and user.ui.modelComboBox.count == 2
    user.set("modelComboBox", 0)
    user.set("modelComboBox", 1)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: True)
    user.click("clearFolderButton")
    assert "1 " in user.status and user.ui.modelComboBox.count == 1


def test_a_parent_transform_is_named_and_can_be_applied(user: User) -> None:
    volume = phantomNode()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    shift = vtk.vtkMatrix4x4()
    shift.SetElement(0, 3, 5.0)
    transform.SetMatrixTransformToParent(shift)
    before = volume.GetOrigin()[0]
    volume.SetAndObserveTransformNodeID(transform.GetID())
    user.ui.inputVolumeSelector.setCurrentNode(None)
    user.ui.inputVolumeSelector.setCurrentNode(volume)
    user.click("hardenTransformButton")
    assert volume.GetParentTransformNode() is None and volume.GetOrigin()[0] == pytest.approx(before + 5)
    assert not user.can("hardenTransformButton")


# Segment


def test_segment_becomes_cancel_and_back(slow: User) -> None:
    slow.click("applyButton")
    assert slow.ui.applyButton.text == "Cancel" and not slow.can("inputVolumeSelector") and not slow.can("useIterationButton")
    slow.reach(3)
    assert 0 < slow.ui.progressBar.value < slow.ui.progressBar.maximum and "left" in slow.status
    slow.click("applyButton")
    slow.wait()
    assert slow.ui.applyButton.text == "Segment" and len(slow.nodes.steps) > 2
    assert slow.status in slow.ui.logText.toPlainText()


def test_pause_holds_the_run_and_resume_lets_it_go_on(slow: User) -> None:
    slow.click("applyButton")
    slow.reach(3)
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
    assert done.ui.thresholdLabel.text == f"{step.threshold:.4g}"
    assert done.ui.maskedLabel.text == f"{step.maskedMl:.1f} ml" and done.ui.shareLabel.text == f"{100 * step.maskedFraction:.1f} %"
    assert done.ui.secondsLabel.text == f"{step.seconds:.2f} s"


def test_following_the_run_can_be_switched_off(slow: User) -> None:
    slow.click("followRunCheckBox")
    slow.click("applyButton")
    slow.reach(5)
    assert slow.nodes.browser.GetSelectedItemNumber() == 0
    slow.click("followRunCheckBox")
    slow.reach(2)
    slow.until(lambda: slow.nodes.browser.GetSelectedItemNumber() == 6, "the newest iteration")


def test_the_mask_of_the_iteration_can_be_hidden(user: User) -> None:
    view = add_slice_view("Red")
    phantomNode()
    user.segment()
    composite = view.GetSliceCompositeNode()
    assert composite.GetLabelVolumeID() == user.nodes.maskProxy.GetID()
    user.click("showMaskCheckBox")
    assert composite.GetLabelVolumeID() is None


def test_a_click_on_the_curve_chooses_a_point_and_shrinks_from_it_only(done: User) -> None:
    sweep = [step for step in done.nodes.steps if step.phase == "sweep"]
    plot = done.ui.plotFrame.findChild(slicer.qMRMLPlotView)
    series = plot.series()
    assert {len(x) for _, x, _ in series} == {1, len(sweep)}
    curve = next(node for node, x, _ in series if len(x) == len(sweep))
    plot.pick(next(node for node, x, _ in series if len(x) == 1), 0)
    assert done.ui.pointSlider.value == done.nodes.curve.chosen + 1
    plot.pick(curve, 4)
    assert done.ui.pointSlider.value == 5 and f"{done.nodes.curve.thresholds[4]:.4g}" in done.ui.shrinkAgainLabel.text
    done.click("shrinkAgainButton")
    done.wait()
    assert done.nodes.curve.chosen == 4 and "by hand" in done.ui.curveLabel.text
    assert [step for step in done.nodes.steps if step.phase == "sweep"] == sweep


def test_another_gamma_or_start_shrinks_again_from_the_same_sweep(done: User) -> None:
    sweep = [step for step in done.nodes.steps if step.phase == "sweep"]
    assert not done.can("gammaSlider")
    done.click("modelGammaCheckBox")
    done.set("gammaSlider", 0.3)
    done.set("startComboBox", 1)
    assert "gamma 0.300" in done.ui.shrinkAgainLabel.text
    done.click("shrinkAgainButton")
    done.wait()
    assert done.nodes.options.gamma == pytest.approx(0.3) and done.nodes.options.start == "best"
    assert done.nodes.curve.gamma == pytest.approx(0.3) and "by gamma" in done.ui.curveLabel.text
    assert [step for step in done.nodes.steps if step.phase == "sweep"] == sweep


def test_another_start_alone_keeps_the_choice_of_the_threshold(done: User) -> None:
    chosen = done.nodes.curve.chosen
    done.set("startComboBox", 1)
    done.click("shrinkAgainButton")
    done.wait()
    assert done.nodes.options.start == "best"
    assert done.nodes.curve.chosen == chosen and done.nodes.curve.automatic


def test_the_mask_of_an_iteration_can_become_the_anomaly_and_be_undone(done: User) -> None:
    before = anomaly(done.nodes)
    done.ui.seekWidget.setSelectedItemNumber(1)
    done.click("useIterationButton")
    taken = anomaly(done.nodes)
    voxel = abs(np.linalg.det(matrix_of(done.nodes.input)[:3, :3])) / 1000
    assert taken.sum() * voxel == pytest.approx(done.nodes.steps[1].maskedMl, rel=0.2)
    assert "iteration 2" in done.status
    done.widget.panel.anomaly.editor._widget.undo()
    np.testing.assert_array_equal(anomaly(done.nodes), before)


def matrix_of(volume: Any) -> Any:
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


# Heatmap


def test_the_heatmap_is_shown_faded_and_hidden(user: User) -> None:
    view = add_slice_view("Red")
    phantomNode()
    user.segment()
    composite = view.GetSliceCompositeNode()
    assert composite.GetForegroundVolumeID() == user.nodes.heatmap.GetID()
    user.set("heatmapOpacitySlider", 0.25)
    assert composite.GetForegroundOpacity() == pytest.approx(0.25)
    user.click("liveHeatmapCheckBox")
    assert composite.GetForegroundVolumeID() == user.nodes.errorProxy.GetID()
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
    threshold = 0.4 * float(heat.max())
    done.set("heatmapThresholdSlider", threshold)
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
    phantomNode()
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
    phantomNode()
    own = user.ui.outputSegmentationSelector.addNode()
    user.segment()
    assert user.nodes.segmentation is own


def test_another_volume_gets_a_segmentation_of_its_own(done: User) -> None:
    first = done.nodes.segmentation
    other = phantomNode("second")
    done.ui.inputVolumeSelector.setCurrentNode(other)
    assert done.ui.outputSegmentationSelector.currentNode() is None
    done.segment()
    assert done.nodes.segmentation is not first and done.nodes.input is other
    done.ui.inputVolumeSelector.setCurrentNodeIndex(0)
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


def test_a_click_on_a_lesion_selects_it_and_keep_and_delete_follow(done: User) -> None:
    make_three_lesions(done)
    done.click("measureButton")
    rows = done.logic.lesions(done.nodes)
    assert done.ui.lesionsTable.rowCount == 3 == len(rows) and not done.can("deleteButton")
    assert done.ui.lesionsTable.item(0, 1).text() == f"{rows[0].volumeMl:.2f}"
    click_cell(done.ui.lesionsTable, 1)
    done.click("deleteButton")
    assert [row.volumeMl for row in done.logic.lesions(done.nodes)] == [rows[0].volumeMl, rows[2].volumeMl]
    click_cell(done.ui.lesionsTable, 1)
    done.click("keepButton")
    assert [row.volumeMl for row in done.logic.lesions(done.nodes)] == [rows[2].volumeMl]
    assert "1 lesions" in done.ui.lesionsLabel.text


def make_three_lesions(user: User) -> None:
    mask = np.zeros_like(anomaly(user.nodes))
    for at, size in ((6, 6), (18, 4), (30, 2)):
        mask[at : at + size, 20 : 20 + size, 20 : 20 + size] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, user.nodes.segmentation, user.nodes.segmentId, user.nodes.input)


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
    assert editor.segmentationNode() is done.session.editedMask[0] is not done.nodes.segmentation
    count = len(done.nodes.steps)
    done.click("continueButton")
    done.wait()
    assert done.nodes.steps[count].phase == "edited" and not done.can("continueButton")


def test_an_edited_mask_that_was_removed_cannot_be_continued_from(done: User) -> None:
    done.click("editMaskButton")
    slicer.mrmlScene.RemoveNode(done.session.editedMask[0])
    done.session.refresh()
    assert not done.can("continueButton") and done.session.editedMask is None


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
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert any(name.endswith(SAVES[wanted]) for name in names), names
    for other in set(SAVES) - {wanted}:
        assert not any(name.endswith(SAVES[other]) for name in names), names


def test_a_folder_that_cannot_be_written_is_told(done: User, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")
    done.ui.saveDirectoryButton.directory = str(place)
    done.click("saveButton")
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
    assert "1 of 2" in user.status and any(target.rglob("first*"))
    user.click("batchButton")
    user.wait()
    assert statuses(user)["first"] == "skipped"
    user.click("skipExistingCheckBox")
    user.click("batchButton")
    user.wait()
    assert statuses(user)["first"] == "done"


def test_a_batch_can_be_stopped(load: Callable[..., Any], tmp_path: Path) -> None:
    user = load(GatedEngine())
    user.fewPasses()
    for name in ("first", "second"):
        (tmp_path / f"{name}.nii.gz").write_bytes(SAMPLE.read_bytes())
    user.ui.batchInputButton.directory, user.ui.batchOutputButton.directory = str(tmp_path), str(tmp_path / "out")
    user.click("batchButton")
    user.engine.allow(3)
    user.until(lambda: user.ui.progressBar.value > 0, "some progress")
    user.click("batchButton")
    user.wait()
    assert "stopped" in statuses(user).values() and user.ui.batchButton.text == "Run batch"


def statuses(user: User) -> dict[str, str]:
    table = user.ui.batchTable
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount)}


# Advanced


def test_the_settings_reach_the_run(user: User) -> None:
    phantomNode()
    user.set("seedSpinBox", 7)
    user.set("deviceComboBox", 3)
    user.set("precisionComboBox", 2)
    user.set("passesSpinBox", 11)
    user.set("startComboBox", 1)
    user.set("qualityComboBox", 2)
    user.segment()
    options = user.nodes.options
    assert (options.seed, options.device, options.half, options.passes, options.start) == (7, "cpu", False, 11, "best")
    assert options.quality == "full" and options.gamma is None


def test_choices_are_shown_in_words(user: User) -> None:
    texts = [user.ui.deviceComboBox.itemText(index) for index in range(user.ui.deviceComboBox.count)]
    assert texts == ["Automatic", "CUDA", "MPS", "CPU"]
    texts = [user.ui.qualityComboBox.itemText(index) for index in range(user.ui.qualityComboBox.count)]
    assert texts == ["Automatic", "Fast", "Full", "Published"]
    assert user.ui.startComboBox.itemText(0) == "Whole brain" and user.ui.precisionComboBox.itemText(1) == "Half"


def test_the_model_folder_is_opened(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    import qt

    opened: list[str] = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    user.click("openFolderButton")
    assert opened == [str(user.logic.modelFolder())] == [user.ui.modelFolderLabel.text]


def test_clearing_the_folder_asks_first(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    phantomNode()
    user.ui.modelPathLineEdit.currentPath = str(user.logic.models()[0].folder)
    user.click("installModelButton")
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text: False)
    user.click("clearFolderButton")
    assert user.ui.modelComboBox.count == 2


def test_memory_is_freed_and_diagnostics_are_copied(done: User) -> None:
    done.click("freeMemoryButton")
    assert done.status
    done.click("diagnosticsButton")
    text = slicer.app.clipboard().text()
    assert "torch" in text and "Slicer" in text and "clipboard" in done.status


def test_no_control_was_left_out() -> None:
    touched = {"QPushButton", "QCheckBox", "QComboBox", "QSpinBox", "QTableWidget", "ctkSliderWidget", "ctkRangeWidget", "ctkPathLineEdit"}
    touched |= {"ctkDirectoryButton", "qMRMLNodeComboBox", "qMRMLSegmentationShow3DButton"}
    touched |= {"qMRMLSequenceBrowserSeekWidget", "qMRMLSequenceBrowserPlayWidget"}
    names = {item.get("name") for item in ET.parse(FORM).getroot().iter("widget") if item.get("class") in touched}
    told = "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("test_controls.py", "test_lifecycle.py"))
    assert not {name for name in names if not re.search(rf"\b{name}\b", told)}
