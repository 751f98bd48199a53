"""Every control of the panel does what it says: input, run and settings. The last test holds that none was left out."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.slicer_host import NEEDS_QT

pytest.importorskip("PySide6.QtWidgets", reason=NEEDS_QT, exc_type=ImportError)
pytest.importorskip("slicer", reason="needs the wheel slicer-core (pip install 'itermask3d[test]')")

import slicer
import vtk

from Testing.brains import toy_model
from Testing.ui.conftest import command_with
from Testing.ui.story import BUNDLED, SAMPLE, phantom_node
from Testing.ui.user import User

FORM = SAMPLE.parents[1] / "UI" / "IterMask3D.ui"


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
    assert len([step for step in user.nodes.steps if step.phase == "sweep"]) == 11


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
    told = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    assert not {name for name in names if not re.search(rf"\b{name}\b", told)}
