"""The files of a result, read back by other programs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.records import SAVEABLE
from IterMask3DLib.scene.run import bundle, controller
from Testing.scene.engine import Gate, pump, settled
from Testing.scene.samples import anomaly_of, phantom_node, volume_node, voxels

FILES = {
    "segmentation": ["brain_anomaly.seg.nrrd"],
    "anomaly": ["brain_anomaly.nii.gz"],
    "heatmap": ["brain_heatmap.nii.gz"],
    "reconstruction": ["brain_reconstruction.nii.gz"],
    "lesions": ["brain_lesions.csv"],
    "iterations": ["brain_curve.csv", "brain_iterations.csv"],
    "report": ["brain_report.html"],
    "scene": ["brain_scene.mrb"],
}


@pytest.fixture
def nodes(logic: Any, choices: Request) -> ResultNodes:
    return logic.process(phantom_node(), choices).nodes


def save(logic: Any, nodes: ResultNodes, folder: Path, *what: str) -> list[Path]:
    return logic.wait_for(logic.save, nodes, folder, *([what] if what else []))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_only_what_was_chosen_is_written(logic: Any, nodes: ResultNodes, tmp_path: Path) -> None:
    assert set(FILES) == set(SAVEABLE)
    for what, names in FILES.items():
        folder = tmp_path / what / "folder"
        written = save(logic, nodes, folder, what)
        assert [path.name for path in written] == names == sorted(path.name for path in folder.iterdir())
        assert all(path.stat().st_size > 0 for path in written)


def test_the_files_hold_what_the_scene_holds(logic: Any, nodes: ResultNodes, tmp_path: Path) -> None:
    written = save(logic, nodes, tmp_path)
    assert len(written) == 8 and not any(path.suffix == ".mrb" for path in written)
    mask = np.asarray(nib.load(tmp_path / "brain_anomaly.nii.gz").dataobj)
    np.testing.assert_array_equal(mask > 0, anomaly_of(nodes))
    np.testing.assert_array_equal(
        np.asarray(nib.load(tmp_path / "brain_heatmap.nii.gz").dataobj), voxels(nodes.heatmap)
    )
    image = sitk.ReadImage(str(tmp_path / "brain_anomaly.seg.nrrd"))
    assert int((sitk.GetArrayFromImage(image) > 0).sum()) == int(mask.sum())
    keys = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert keys["Segment0_Name"] == "Anomaly" and "DICOM.SegmentAlgorithmType:AUTOMATIC" in keys["Segment0_Tags"]
    steps = rows(tmp_path / "brain_iterations.csv")
    assert [row["phase"] for row in steps] == [step.phase for step in nodes.steps]
    shares = [step.scalars["masked_fraction"] for step in nodes.steps]
    assert [float(row["masked_ml"]) for row in steps] == pytest.approx([s * nodes.brain_ml for s in shares], abs=1e-4)
    curve = rows(tmp_path / "brain_curve.csv")
    assert nodes.curve is not None
    assert [row["chosen"] for row in curve].index("1") == nodes.curve.chosen
    lesions = rows(tmp_path / "brain_lesions.csv")
    assert sum(float(row["volume_ml"]) for row in lesions) == pytest.approx(mask.sum() * 0.064, abs=1e-2)
    report = (tmp_path / "brain_report.html").read_text(encoding="utf-8")
    assert "brain" in report and "Research" in report


def test_an_edited_anomaly_is_what_is_saved(logic: Any, nodes: ResultNodes, tmp_path: Path) -> None:
    logic.use_iteration(nodes, 3)
    save(logic, nodes, tmp_path)
    mask = np.asarray(nib.load(tmp_path / "brain_anomaly.nii.gz").dataobj) > 0
    np.testing.assert_array_equal(mask, anomaly_of(nodes))
    image = sitk.ReadImage(str(tmp_path / "brain_anomaly.seg.nrrd"))
    assert "DICOM.SegmentAlgorithmType:SEMIAUTOMATIC" in image.GetMetaData("Segment0_Tags")
    lesions = rows(tmp_path / "brain_lesions.csv")
    assert sum(int(row["voxels"]) for row in lesions) == mask.sum()


def test_saving_again_replaces_and_leaves_the_scene_as_it_is(logic: Any, nodes: ResultNodes, tmp_path: Path) -> None:
    first = save(logic, nodes, tmp_path)
    count = slicer.mrmlScene.GetNumberOfNodes()
    assert save(logic, nodes, tmp_path) == first
    assert sorted(tmp_path.iterdir()) == first
    assert slicer.mrmlScene.GetNumberOfNodes() == count
    assert nodes.segmentation.GetStorageNode() is None or not nodes.segmentation.GetStorageNode().GetFileName()


def test_names_that_no_file_can_have_are_made_safe(logic: Any, choices: Request, tmp_path: Path) -> None:
    nodes = logic.process(phantom_node("../patient 7: T1/axial"), choices).nodes
    (written,) = save(logic, nodes, tmp_path, "anomaly")
    assert written == tmp_path / "patient_7_T1_axial_anomaly.nii.gz"


def test_a_place_that_cannot_be_written_is_told_in_a_sentence(logic: Any, nodes: ResultNodes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"file cannot be written \(.*\); choose another place"):
        save(logic, nodes, tmp_path / "file")
    slicer.mrmlScene.RemoveNode(nodes.brain)
    with pytest.raises(UserError, match="A volume of the result of brain is no longer in the scene; run Segment again"):
        save(logic, nodes, tmp_path)


def test_saving_nothing_is_told_in_a_sentence(logic: Any, gate: Gate, choices: Request, tmp_path: Path) -> None:
    node = phantom_node()
    gate.allow(2)
    logic.start(node, choices)
    pump(logic, lambda: (found := ResultNodes.find(node)) is not None and len(found.steps) == 2)
    logic.cancel()
    gate.allow(None)
    settled(logic)
    nodes = ResultNodes.find(node)
    assert nodes is not None
    with pytest.raises(UserError, match="Nothing was chosen; choose what is to be saved"):
        logic.save(nodes, tmp_path, ())
    with pytest.raises(UserError, match="There is nothing yet of what was chosen; run Segment first"):
        logic.save(nodes, tmp_path, ("heatmap", "report"))
    with pytest.raises(UserError, match="poem is nothing that can be saved; choose of segmentation"):
        logic.save(nodes, tmp_path, ("poem",))
    # What was reached can be saved.
    (written,) = save(logic, nodes, tmp_path, "iterations")
    assert len(rows(written)) == len(nodes.steps)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each poll does one portion or a few."""
    monkeypatch.setattr(controller, "BUDGET_SECONDS", 1e-4)


def test_what_is_changed_while_the_scene_is_saved_is_saved_as_it_is_in_the_end(
    logic: Any, nodes: ResultNodes, slow: None, tmp_path: Path
) -> None:
    volume_node(np.zeros((4, 4, 4), dtype=np.uint8), np.eye(4), "gone")
    volume_node(np.ones((3, 3, 3), dtype=np.uint8), np.eye(4), "hidden").SetHideFromEditors(True)
    logic.save(nodes, tmp_path, ("scene",))
    for _ in range(12):
        logic.poll()
    assert logic.busy
    first = voxels(nodes.input)
    slicer.util.arrayFromVolume(nodes.input)[...] += 1
    slicer.util.arrayFromVolumeModified(nodes.input)
    volume_node(np.ones((4, 4, 4), dtype=np.uint8), np.eye(4), "late")
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("gone"))
    settled(logic)
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "brain_scene.mrb"), {})
    np.testing.assert_array_equal(voxels(ResultNodes.all()[0].input), first + 1)
    assert voxels(slicer.util.getNode("late")).all() and voxels(slicer.util.getNode("hidden")).all()
    assert not slicer.util.getNodes("gone")


def test_a_scene_that_is_closed_while_it_is_saved_leaves_no_file(
    logic: Any, nodes: ResultNodes, slow: None, tmp_path: Path
) -> None:
    errors: list[str] = []
    logic.save(nodes, tmp_path, ("scene",), on_error=lambda sentence, trace: errors.append(sentence))
    for _ in range(5):
        logic.poll()
    assert logic.busy
    slicer.mrmlScene.Clear(False)
    assert not logic.busy and errors and not list(tmp_path.iterdir())


def test_a_scene_with_a_node_that_cannot_be_written_in_portions_is_written_by_slicer(
    logic: Any, nodes: ResultNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(node: Any, kind: str, path: Path) -> None:
        raise UserError("of an unknown kind")

    first = voxels(nodes.input)
    monkeypatch.setattr(bundle, "_store", refuses)
    logic.save(nodes, tmp_path, ("scene",))
    settled(logic)
    assert [path.name for path in tmp_path.iterdir()] == ["brain_scene.mrb"]
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "brain_scene.mrb"), {})
    np.testing.assert_array_equal(voxels(ResultNodes.all()[0].input), first)
