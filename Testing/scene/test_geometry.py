"""Results lie where the anatomy is, however the volume lies in space; checked in RAS, also in the files others read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.preprocessing.intensity import SCALES
from Testing.scene.samples import (
    SPOT_MM,
    SPOT_RAS,
    affine_of,
    anomaly_of,
    centred,
    head_node,
    oblique,
    volume_node,
    voxels,
)

SHAPE = (44, 52, 44)
SPOT_ML = 4 / 3 * np.pi * SPOT_MM**3 / 1000

GRIDS: dict[str, tuple[NDArray[np.float64], tuple[int, int, int]]] = {
    "as the scanner's axes": (np.diag([4.0, 4.0, 4.0]), SHAPE),
    "oblique": (oblique(27)[:3, :3] * 4, (48, 56, 48)),
    "anisotropic": (np.diag([2.0, 3.0, 5.0]), (80, 66, 32)),
    "left-handed": (np.diag([-4.0, 4.0, 4.0]), SHAPE),
    "sagittal slices": (np.array([[0, 0, 4.0], [-4.0, 0, 0], [0, -4.0, 0]]), (52, 44, 44)),
    "oblique, anisotropic, left-handed": (oblique(-19)[:3, :3] @ np.diag([2.5, -3.0, 5.0]), (70, 72, 36)),
}
"""Axes of the grid as columns, mm per voxel, and its shape."""


@pytest.fixture(params=GRIDS, ids=[name.replace(" ", "-") for name in GRIDS])
def head(request: pytest.FixtureRequest) -> Any:
    directions, shape = GRIDS[request.param]
    return head_node(centred(directions, shape), shape)


@pytest.fixture
def choices(choices: Request) -> Request:
    """With a threshold between the brain and the spot."""
    return Request(choices.model, "cpu", backend="pytorch", settings={"median_multiple": 100.0})


def centre(mask: NDArray[Any], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.argwhere(mask).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]


def millilitres(mask: NDArray[Any], affine: NDArray[np.float64]) -> float:
    return float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)


def test_the_segmentation_and_the_heatmap_lie_on_the_grid_of_the_input_and_over_the_lesion(
    logic: Any, head: Any, choices: Request
) -> None:
    summary = logic.process(head, choices)
    nodes, affine = summary.nodes, affine_of(head)
    for node in (nodes.heatmap, nodes.reconstruction, nodes.brain):
        assert voxels(node).shape == voxels(head).shape
        np.testing.assert_allclose(affine_of(node), affine, atol=1e-6)
    for mask in (anomaly_of(nodes), voxels(nodes.heatmap) > 6):
        np.testing.assert_allclose(centre(mask, affine), SPOT_RAS, atol=1.0)
        assert 0.75 < millilitres(mask, affine) / SPOT_ML < 1.25
    (lesion,) = summary.lesions
    np.testing.assert_allclose(lesion.centroid_ras, SPOT_RAS, atol=1.0)
    assert summary.anomaly_ml == pytest.approx(millilitres(anomaly_of(nodes), affine))


def test_the_segment_itself_is_in_the_place_of_the_lesion(logic: Any, head: Any, choices: Request) -> None:
    nodes = logic.process(head, choices).nodes
    image = slicer.vtkOrientedImageData()
    nodes.segmentation.GetBinaryLabelmapRepresentation(nodes.segment_id, image)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    first = np.array(image.GetExtent()[::2])
    array = (
        vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).T
    )
    to_ras = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    np.testing.assert_allclose(
        (np.argwhere(array > 0).mean(axis=0) + first) @ to_ras[:3, :3].T + to_ras[:3, 3], SPOT_RAS, atol=1.0
    )


def test_on_the_spacing_of_the_model_every_voxel_of_the_heatmap_is_the_error_of_that_voxel(
    logic: Any, choices: Request
) -> None:
    for directions in (GRIDS["oblique"], GRIDS["left-handed"], GRIDS["sagittal slices"]):
        head = head_node(centred(*directions), directions[1])
        summary = logic.process(head, choices)
        array = voxels(head)
        scaled, _ = SCALES["zscore_clip3"](array.astype(np.float32), array != 0)
        expected = np.where(array != 0, scaled**2, 0)
        np.testing.assert_allclose(voxels(summary.nodes.heatmap), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(anomaly_of(summary.nodes), expected > summary.nodes.curve.threshold)
        np.testing.assert_array_equal(voxels(summary.nodes.brain) > 0, array != 0)


def test_the_iterations_lie_over_the_input_as_well(logic: Any, head: Any, choices: Request) -> None:
    nodes = logic.process(head, choices).nodes
    logic.show_iteration(nodes, len(nodes.steps) - 1)
    for proxy, level in ((nodes.proxy("mask"), 0), (nodes.proxy("error_map"), 6)):
        np.testing.assert_allclose(centre(voxels(proxy) > level, affine_of(proxy)), SPOT_RAS, atol=2.0)
    assert np.linalg.det(affine_of(nodes.proxy("mask"))) > 0


def test_saved_files_lie_over_the_lesion_for_other_programs(
    logic: Any, head: Any, choices: Request, tmp_path: Path
) -> None:
    nodes = logic.process(head, choices).nodes
    logic.wait_for(logic.save, nodes, tmp_path, ("segmentation", "anomaly", "heatmap"))
    for name, level in (("brain_anomaly.nii.gz", 0), ("brain_heatmap.nii.gz", 6)):
        file = nib.load(tmp_path / name)
        np.testing.assert_allclose(file.affine, affine_of(head), atol=1e-4)
        np.testing.assert_allclose(centre(np.asarray(file.dataobj) > level, file.affine), SPOT_RAS, atol=1.0)
    image = sitk.ReadImage(str(tmp_path / "brain_anomaly.seg.nrrd"))
    places = np.argwhere(sitk.GetArrayFromImage(image) > 0)[:, ::-1]
    lps = np.mean([image.TransformIndexToPhysicalPoint([int(i) for i in place]) for place in places], axis=0)
    np.testing.assert_allclose(lps * (-1, -1, 1), SPOT_RAS, atol=1.0)


def test_a_volume_under_a_transform_is_refused_until_the_transform_is_hardened(logic: Any, choices: Request) -> None:
    head = head_node(centred(*GRIDS["anisotropic"]), GRIDS["anisotropic"][1])
    moved = oblique(33)
    moved[:3, 3] = [15, -40, 8]
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    head.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(UserError, match="brain hangs under the transform registration; harden the transform first"):
        logic.start(head, choices)
    logic.harden_transform(head)
    assert head.GetParentTransformNode() is None
    nodes = logic.process(head, choices).nodes
    np.testing.assert_allclose(affine_of(nodes.heatmap), affine_of(head))
    expected = moved[:3, :3] @ SPOT_RAS + moved[:3, 3]
    np.testing.assert_allclose(centre(anomaly_of(nodes), affine_of(head)), expected, atol=1.0)
    np.testing.assert_allclose(logic.lesions(nodes)[0].centroid_ras, expected, atol=1.0)


def test_a_transform_that_does_nothing_is_no_obstacle_and_one_that_bends_cannot_be_hardened(
    logic: Any, choices: Request
) -> None:
    head = head_node(centred(*GRIDS["as the scanner's axes"]), SHAPE)
    head.SetAndObserveTransformNodeID(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode").GetID())
    assert logic.process(head, choices).anomaly_ml > 0
    bent = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    bent.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    head.SetAndObserveTransformNodeID(bent.GetID())
    with pytest.raises(UserError, match="warp bends space; resample brain with it instead"):
        logic.harden_transform(head)


def test_a_volume_that_was_turned_since_the_run_does_not_take_its_masks(logic: Any, choices: Request) -> None:
    head = head_node(centred(*GRIDS["as the scanner's axes"]), SHAPE)
    nodes = logic.process(head, choices).nodes
    head.ApplyTransformMatrix(slicer.util.vtkMatrixFromArray(oblique(10)))
    with pytest.raises(UserError, match="The volume has been moved since the run; run Segment again"):
        logic.use_iteration(nodes, 0)


def test_a_brain_mask_from_a_segmentation_or_a_label_map_is_the_brain_of_the_run(logic: Any, choices: Request) -> None:
    head = head_node(centred(*GRIDS["anisotropic"]), GRIDS["anisotropic"][1])
    half = (voxels(head) != 0) & (np.arange(80) < 45)[:, None, None]
    labels = volume_node(half.astype(np.uint8), affine_of(head), "half")
    segments = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "half segments")
    segments.SetReferenceImageGeometryParameterFromVolumeNode(head)
    for side in (0, 1):
        segment = segments.GetSegmentation().AddEmptySegment("", f"part {side}")
        part = half & ((np.arange(66) < 30)[:, None] == bool(side))
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            np.ascontiguousarray(part.T).astype(np.uint8), segments, segment, head
        )
    for mask in (labels, segments):
        nodes = logic.process(head, choices, mask).nodes
        np.testing.assert_array_equal(voxels(nodes.brain) > 0, half)
        assert nodes.brain_mask is mask
        assert not voxels(nodes.heatmap)[~half].any()
