"""The whole story of a case, told once: the same with a model that takes a second and with the bundled one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk
from PySide6 import QtCore, QtTest

from Testing.brains import phantom
from Testing.ui.user import User

SAMPLE = Path(__file__).resolve().parents[2] / "IterMask3D" / "Resources" / "SampleData" / "open_ms_patient19_T1.nii.gz"

BUNDLED = len(list((SAMPLE.parents[1] / "Models").glob("*/card.json")))
"""How many models the module brings."""
SAMPLE_NAME = "MultipleSclerosis_T1"


def load_sample() -> Any:
    return slicer.util.loadVolume(str(SAMPLE), {"name": SAMPLE_NAME})


def phantom_node(name: str = "brain") -> Any:
    """A phantom whose runs take a second with the toy model."""
    array, affine = phantom()
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(array.T), ijkToRAS=affine, name=name)


def anomaly(nodes: Any) -> Any:
    """The segment Anomaly as an array [k, j, i]."""
    return np.array(slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, nodes.segment_id, nodes.input))


def algorithm(nodes: Any) -> str:
    """How the segment Anomaly came about, as DICOM will say it."""
    value = vtk.reference("")
    nodes.segmentation.GetSegmentation().GetSegment(nodes.segment_id).GetTag("DICOM.SegmentAlgorithmType", value)
    return str(value)


def voxel_ml(volume: Any) -> float:
    """The size of a voxel."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return abs(float(np.linalg.det(slicer.util.arrayFromVTKMatrix(matrix)[:3, :3]))) / 1000


def draw(nodes: Any, mask: Any) -> None:
    """A person's pen: the anomaly becomes this mask [k, j, i]."""
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, nodes.segmentation, nodes.segment_id, nodes.input)


def click_cell(table: Any, row: int) -> None:
    """A click with the mouse on the first cell of a row."""
    place = table.visualItemRect(table.item(row, 0)).center()
    none = QtCore.Qt.KeyboardModifier.NoModifier
    QtTest.QTest.mouseClick(table.viewport(), QtCore.Qt.MouseButton.LeftButton, none, place)


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
    for item, step in enumerate(steps):
        user.ui.seekWidget.setSelectedItemNumber(item)
        assert user.ui.passLabel.text == str(step.number)
        mask = user.nodes.proxy("mask")
        masked_ml = (slicer.util.arrayFromVolume(mask) > 0).sum() * voxel_ml(mask)
        wanted = step.scalars["masked_fraction"] * user.nodes.outcome["brain_ml"]
        assert masked_ml == pytest.approx(wanted, rel=0.01, abs=1.0)


def choose_another_point(user: User) -> None:
    sweep = [step for step in user.nodes.steps if step.phase == "sweep"]
    other = max(user.nodes.curve.chosen - 2, 0) if user.nodes.curve.chosen > 1 else user.nodes.curve.chosen + 2
    user.set("pointSlider", other + 1)
    user.click("shrinkAgainButton")
    user.wait()
    assert user.nodes.curve.chosen == other and user.nodes.curve.by_hand
    assert [step for step in user.nodes.steps if step.phase == "sweep"] == sweep


def continue_from_an_edited_mask(user: User) -> None:
    user.click("editMaskButton")
    segmentation, segment = user.session.edited_mask
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
    mask[tuple(slice(at - 3, at + 3) for at in middle)] = 1
    draw(user.nodes, mask)
    assert algorithm(user.nodes) == "SEMIAUTOMATIC"
    user.click("measureButton")


def jump_to_a_lesion(user: User) -> None:
    row = user.ui.lesionsTable.rowCount - 1
    lesion = user.logic.lesions(user.nodes)[row]
    click_cell(user.ui.lesionsTable, row)
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = view.GetSliceToRAS()
        normal, origin = ([matrix.GetElement(axis, column) for axis in range(3)] for column in (2, 3))
        assert abs(np.dot(np.subtract(lesion.centroid_ras, origin), normal)) < 1.0


def save(user: User, folder: Path) -> None:
    user.ui.saveDirectoryButton.directory = str(folder)
    for name in ("saveIterationsCheckBox", "saveSceneCheckBox"):
        user.click(name)
    user.click("saveButton")
    user.wait()
    endings = {path.name.split(".", 1)[1] for path in folder.rglob("*") if path.is_file()}
    assert {"seg.nrrd", "nii.gz", "csv", "html", "mrb"} <= endings, (endings, user.log)


def remembered(user: User) -> dict[str, Any]:
    nodes = user.nodes
    return {
        "steps": [asdict(step) for step in nodes.steps],
        "thresholds": nodes.curve.thresholds.tolist(),
        "chosen": (nodes.curve.chosen, nodes.curve.by_hand),
        "lesions": [asdict(lesion) for lesion in user.logic.lesions(nodes)],
        "anomaly": anomaly(nodes),
        "provenance": nodes.provenance,
        "request": nodes.request,
        "numbers": user.ui.curveLabel.text,
    }


def assert_all_is_there(user: User, kept: dict[str, Any]) -> None:
    now = remembered(user)
    np.testing.assert_array_equal(now.pop("anomaly"), kept.pop("anomaly"))
    for rows in ("steps", "lesions"):
        # Slicer writes tables with six digits.
        assert values(now.pop(rows)) == [
            pytest.approx(value, rel=1e-5) if isinstance(value, float) else value for value in values(kept[rows])
        ]
    assert now == {what: value for what, value in kept.items() if what not in ("steps", "lesions")}
    assert now["provenance"]
    nodes = user.nodes
    items = nodes.browser.GetNumberOfItems()
    assert nodes.sequence("mask").GetNumberOfDataNodes() == len(kept["steps"]) == items
    assert user.ui.lesionsTable.rowCount == len(kept["lesions"])
    user.ui.seekWidget.setSelectedItemNumber(1)
    assert user.ui.passLabel.text == str(kept["steps"][1]["number"])


def values(rows: list[dict[str, Any]]) -> list[Any]:
    """Every value of some records, one after the other."""
    return [value for row in rows for value in _flat(row)]


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [each for name in value for each in (name, *_flat(value[name]))]
    return [each for one in value for each in _flat(one)] if isinstance(value, (tuple, list)) else [value]
