"""What the module says of an input before anything is computed: each oddity in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.scene.records import Severity
from Testing.brains import phantom
from Testing.scene.samples import brain_node, centred, head_node, phantom_node, volume_node, voxels

ARRAY, AFFINE = phantom()


def said(logic: Any, node: Any, mask: Any = None, model: str | None = None) -> list[tuple[Severity, str]]:
    if logic.description is None:
        logic.wait_for(logic.describe)
    return [(check.severity, check.text) for check in logic.check_input(node, mask, model)]


def resampled(spacing: tuple[float, float, float]) -> Any:
    shape = tuple(round(n / s) for n, s in zip((176, 208, 176), spacing, strict=True))
    return head_node(centred(np.diag(spacing), shape), shape)


def test_the_bundled_brain_is_as_it_should_be(logic: Any) -> None:
    assert said(logic, brain_node()) == [(Severity.INFO, "The volume is skull-stripped already.")]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: None, "No volume is chosen."),
        (
            lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"),
            "empty holds no 3D image; load the volume again.",
        ),
        (
            lambda: slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "seg"),
            "seg is not a scalar volume; choose one with a single number a voxel.",
        ),
        (lambda: volume_node(ARRAY[:, :, :1], AFFINE), "brain holds no 3D image; load the volume again."),
        (lambda: volume_node(np.full((40, 48, 40), 7, np.int16), AFFINE), "brain is constant: every voxel is 7."),
        (
            lambda: volume_node(np.where(ARRAY > 500, np.nan, ARRAY), AFFINE),
            "brain holds NaN or infinite voxels; replace them by numbers.",
        ),
    ],
    ids=["nothing", "no image", "segmentation", "one slice", "constant", "NaN"],
)
def test_what_cannot_be_used_is_an_error_and_is_refused_with_the_same_sentence(
    logic: Any, make: Any, sentence: str
) -> None:
    node = make()
    assert said(logic, node)[0] == (Severity.ERROR, sentence)
    with pytest.raises(UserError) as refused:
        logic.start(node)
    assert str(refused.value) == sentence and not logic.busy


def test_a_volume_of_colours_is_refused(logic: Any) -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "photo")
    image = vtk.vtkImageData()
    image.SetDimensions(40, 48, 40)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    (severity, text) = said(logic, node)[0]
    assert (
        severity is Severity.ERROR
        and text == "photo holds 3 numbers a voxel: it is in colour, or 4D; make a volume of one of them."
    )


def test_a_parent_transform_is_an_error_that_names_the_transform(logic: Any) -> None:
    node = phantom_node()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "to atlas")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 5.0)
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert said(logic, node) == [
        (Severity.ERROR, "brain hangs under the transform to atlas; harden the transform first.")
    ]


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (
            lambda: volume_node((ARRAY > 0).astype(np.uint8), AFFINE),
            "has only 2 different values: it looks like a label map, not an MR volume.",
        ),
        (lambda: volume_node(ARRAY - 1000, AFFINE), "goes down to -1000: it looks like a CT, not an MR volume."),
        (lambda: volume_node(ARRAY, np.diag([1.0, 1.0, 1.0, 1.0])), "covers 77 ml, less than a brain."),
        (
            lambda: resampled((1.0, 1.0, 5.5)),
            "Voxels are 1 x 1 x 5.5 mm; small lesions can be missed and edges can look anomalous.",
        ),
        (
            lambda: resampled((1.0, 1.0, 2.8)),
            "Voxels are 1 x 1 x 2.8 mm, far from cubes; details along the thick side are interpolated.",
        ),
        (lambda: volume_node(np.where(ARRAY > 450, ARRAY, 0), AFFINE), "are not background: there is no whole brain."),
        (
            lambda: phantom_node("sub-01_FLAIR"),
            "sub-01_FLAIR looks like FLAIR by its name; the model was trained on T1w.",
        ),
        (
            lambda: phantom_node("patient T2 TSE"),
            "patient T2 TSE looks like T2w by its name; the model was trained on T1w.",
        ),
    ],
    ids=["label map", "CT", "too small", "coarse", "uneven", "no brain", "FLAIR", "T2"],
)
def test_what_is_odd_is_a_warning_in_words(logic: Any, make: Any, part: str) -> None:
    node = make()
    warnings = [text for severity, text in said(logic, node) if severity is Severity.WARNING]
    assert any(text.endswith(part) or text == part for text in warnings), warnings


@pytest.mark.parametrize("name", ["sub-01_T1w", "brain", "T1_2", "MPRAGE", "ScanT1", "patient"])
def test_names_that_say_nothing_else_raise_no_doubt(logic: Any, name: str) -> None:
    assert not any("by its name" in text for _, text in said(logic, phantom_node(name)))


def test_the_modality_of_a_dicom_header_counts(logic: Any) -> None:
    node = phantom_node("T1w")
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "CT")
    assert (Severity.WARNING, "T1w is CT by its DICOM header, not MR.") in said(logic, node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    assert not any("DICOM" in text for _, text in said(logic, node))


def test_a_volume_with_skull_is_told_to_be_stripped_first(logic: Any) -> None:
    noise = np.random.default_rng(0).integers(1, 60, ARRAY.shape).astype(np.int16)
    assert any(
        "has a skull: it is stripped first" in text for _, text in said(logic, volume_node(ARRAY + noise, AFFINE))
    )


def test_brain_masks_that_do_not_fit_are_errors(logic: Any) -> None:
    node = phantom_node()
    elsewhere = volume_node((ARRAY > 0).astype(np.uint8)[:30], AFFINE, "half")
    assert said(logic, node, elsewhere)[0] == (
        Severity.ERROR,
        "The brain mask half is not on the grid of brain; resample it to that grid.",
    )
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawing")
    assert said(logic, node, empty)[0] == (
        Severity.ERROR,
        "The brain mask drawing has no segment; draw the brain or choose another mask.",
    )
    zeros = volume_node(np.zeros(ARRAY.shape, np.uint8), AFFINE, "zeros")
    with pytest.raises(UserError, match="The brain mask zeros is empty; draw the brain or choose another mask"):
        logic.start(node, Request(), zeros)
    assert said(logic, node, volume_node((ARRAY > 0).astype(np.uint8), AFFINE, "good"))[0][0] is Severity.WARNING


def test_a_model_that_is_not_there_is_an_error(logic: Any) -> None:
    assert said(logic, phantom_node(), model="t2w-1mm")[0] == (
        Severity.ERROR,
        "Model t2w-1mm is neither bundled, installed, nor a folder; choose another one.",
    )


def test_errors_come_first_and_the_check_leaves_the_volume_alone(logic: Any) -> None:
    node = phantom_node("T2w")
    before = voxels(node)
    findings = said(logic, node, slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "nothing"))
    order = [Severity.ERROR, Severity.WARNING, Severity.INFO]
    assert [order.index(severity) for severity, _ in findings] == sorted(
        order.index(severity) for severity, _ in findings
    )
    assert findings[0][0] is Severity.ERROR and any("T2w" in text for _, text in findings[1:])
    np.testing.assert_array_equal(voxels(node), before)


def test_a_sequence_is_refused_in_words_and_the_volume_that_shows_a_frame_is_not(logic: Any) -> None:
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "perfusion")
    for index in range(3):
        frame = phantom_node("frame")
        sequence.SetDataNodeAtValue(frame, str(index))
        slicer.mrmlScene.RemoveNode(frame)
    assert said(logic, sequence) == [
        (Severity.ERROR, "perfusion is a sequence; choose the volume that shows one of its frames.")
    ]
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "browser")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.SetSelectedItemNumber(1)
    checks = said(logic, browser.GetProxyNode(sequence))
    assert not any(severity is Severity.ERROR for severity, _ in checks)
    assert (Severity.INFO, "Frame 2 of 3 of a sequence is taken, as it is shown.") in checks


def test_every_input_of_a_model_is_checked_and_names_are_held_against_its_own(logic: Any) -> None:
    volumes = {"T1w": phantom_node("sub-01_T1w"), "FLAIR": phantom_node("sub-01_T2w")}
    texts = [text for _, text in said(logic, volumes)]
    assert "sub-01_T2w looks like T2w by its name; the model was trained on FLAIR." in texts
    assert not any(text.startswith("sub-01_T1w looks") for text in texts)
    assert said(logic, {"T1w": phantom_node("T1w"), "FLAIR": None}) == [(Severity.ERROR, "No volume is chosen.")]
