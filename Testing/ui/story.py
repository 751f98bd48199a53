"""The whole story of a case, told once: the same with an engine that computes nothing and with the real one."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from PySide6 import QtCore, QtTest

from Testing.ui.user import User

SAMPLE = Path(__file__).resolve().parents[2] / "IterMask3D" / "Resources" / "SampleData" / "open_ms_patient19_T1.nii.gz"
SAMPLE_NAME = "BrainT1MultipleSclerosis"


def load_sample() -> Any:
    return slicer.util.loadVolume(str(SAMPLE), {"name": SAMPLE_NAME})


def anomaly(nodes: Any) -> Any:
    """The segment Anomaly as an array [k, j, i]."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, nodes.segmentId, nodes.input)


def algorithm(nodes: Any) -> str:
    """How the segment Anomaly came about, as DICOM will say it."""
    value = vtk.reference("")
    nodes.segmentation.GetSegmentation().GetSegment(nodes.segmentId).GetTag("DICOM.SegmentAlgorithmType", value)
    return str(value)


def click_cell(table: Any, row: int) -> None:
    """A click with the mouse on the first cell of a row."""
    place = table.visualItemRect(table.item(row, 0)).center()
    QtTest.QTest.mouseClick(table.viewport(), QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, place)


def tell(user: User, folder: Path, steps_before_cancel: int) -> None:
    """Everything a reader does with a case, in the order of the panel."""
    volume = load_sample()
    assert user.ui.inputVolumeSelector.currentNode() is volume
    cancel_midway(user, steps_before_cancel)
    segment_to_the_end(user)
    step_through(user)
    choose_another_point(user)
    continue_from_an_edited_mask(user)
    edit_the_anomaly(user)
    jump_to_a_lesion(user)
    kept = remembered(user)
    save(user, folder)
    slicer.mrmlScene.Clear(0)
    assert user.nodes is None and not user.can("saveButton")
    (bundle,) = folder.rglob("*.mrb")
    slicer.util.loadScene(str(bundle), {})
    assert_all_is_there(user, kept)


def cancel_midway(user: User, steps: int) -> None:
    user.click("applyButton")
    user.reach(steps)
    assert 0 < user.ui.progressBar.value < user.ui.progressBar.maximum
    assert "Sweep" in user.status
    user.click("applyButton")
    user.wait()
    assert len(user.nodes.steps) >= steps and "cancel" in user.status.lower()
    assert user.ui.applyButton.text == "Segment"


def segment_to_the_end(user: User) -> None:
    user.segment()
    assert user.ui.progressBar.value == user.ui.progressBar.maximum
    assert anomaly(user.nodes).any() and user.ui.lesionsTable.rowCount > 0
    assert algorithm(user.nodes) == "AUTOMATIC"
    assert user.ui.outputSegmentationSelector.currentNode() is user.nodes.segmentation


def step_through(user: User) -> None:
    steps = user.nodes.steps
    assert user.nodes.browser.GetNumberOfItems() == len(steps)
    for step in steps:
        user.ui.seekWidget.setSelectedItemNumber(step.item)
        assert user.ui.passLabel.text == str(step.number)
        shown = slicer.util.arrayFromVolume(user.nodes.maskProxy)
        matrix = vtk.vtkMatrix4x4()
        user.nodes.maskProxy.GetIJKToRASMatrix(matrix)
        assert np.isclose((shown > 0).sum() * abs(matrix.Determinant()) / 1000, step.maskedMl, rtol=1e-3)


def choose_another_point(user: User) -> None:
    sweep = [step for step in user.nodes.steps if step.phase == "sweep"]
    other = max(user.nodes.curve.chosen - 2, 0) if user.nodes.curve.chosen > 1 else user.nodes.curve.chosen + 2
    user.set("pointSlider", other + 1)
    user.click("shrinkAgainButton")
    user.wait()
    assert user.nodes.curve.chosen == other and not user.nodes.curve.automatic
    assert [step for step in user.nodes.steps if step.phase == "sweep"] == sweep


def continue_from_an_edited_mask(user: User) -> None:
    user.click("editMaskButton")
    segmentation, segment = user.session.editedMask
    volume = user.nodes.input
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, segment, volume)
    assert mask.any()
    mask[: mask.shape[0] // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    user.click("continueButton")
    user.wait()
    assert "edited" in [step.phase for step in user.nodes.steps]


def edit_the_anomaly(user: User) -> None:
    mask = anomaly(user.nodes)
    middle = tuple(size // 2 for size in mask.shape)
    mask[middle[0] - 3 : middle[0] + 3, middle[1] - 3 : middle[1] + 3, middle[2] - 3 : middle[2] + 3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, user.nodes.segmentation, user.nodes.segmentId, user.nodes.input)
    assert algorithm(user.nodes) == "SEMIAUTOMATIC"
    user.click("measureButton")


def jump_to_a_lesion(user: User) -> None:
    row = user.ui.lesionsTable.rowCount - 1
    lesion = user.logic.lesions(user.nodes)[row]
    click_cell(user.ui.lesionsTable, row)
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = view.GetSliceToRAS()
        normal, origin = ([matrix.GetElement(axis, column) for axis in range(3)] for column in (2, 3))
        assert abs(np.dot(np.subtract(lesion.centroidRas, origin), normal)) < 1.0


def save(user: User, folder: Path) -> None:
    user.ui.saveDirectoryButton.directory = str(folder)
    for name in ("saveIterationsCheckBox", "saveSceneCheckBox"):
        user.click(name)
    user.click("saveButton")
    endings = {path.name.split(".", 1)[1] for path in folder.rglob("*") if path.is_file()}
    assert {"seg.nrrd", "nii.gz", "csv", "html", "mrb"} <= endings, endings


def remembered(user: User) -> dict[str, Any]:
    nodes = user.nodes
    return {
        "steps": nodes.steps,
        "thresholds": nodes.curve.thresholds.tolist(),
        "chosen": (nodes.curve.chosen, nodes.curve.automatic),
        "lesions": user.logic.lesions(nodes),
        "anomaly": anomaly(nodes),
        "provenance": nodes.provenance,
        "options": nodes.options,
        "gamma": user.ui.gammaSlider.value,
        "numbers": user.ui.curveLabel.text,
    }


def assert_all_is_there(user: User, kept: dict[str, Any]) -> None:
    now = remembered(user)
    np.testing.assert_array_equal(now.pop("anomaly"), kept.pop("anomaly"))
    for rows in ("steps", "lesions"):
        # Slicer writes tables with six digits.
        rounded = [pytest.approx(value, rel=1e-5) if isinstance(value, float) else value for value in values(kept[rows])]
        assert values(now.pop(rows)) == rounded
    assert now == {what: value for what, value in kept.items() if what not in ("steps", "lesions")}
    assert now["provenance"]
    nodes = user.nodes
    assert nodes.maskSequence.GetNumberOfDataNodes() == len(kept["steps"]) == nodes.browser.GetNumberOfItems()
    assert user.ui.lesionsTable.rowCount == len(kept["lesions"])
    user.ui.seekWidget.setSelectedItemNumber(1)
    assert user.ui.passLabel.text == str(kept["steps"][1].number)


def values(rows: list[Any]) -> list[Any]:
    """Every value of some records, one after the other."""
    return [value for row in rows for field in astuple(row) for value in (field if isinstance(field, tuple) else (field,))]
