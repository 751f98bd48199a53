"""The segmentation with the segment "Anomaly": geometry, terminology, colour, and how it says that a machine, or a machine and a person, made it."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from IterMask3DLib import __version__
from IterMask3DLib.scene import names
from IterMask3DLib.scene.geometry import affineOf, segmentsOn
from IterMask3DLib.scene.nodes import ResultNodes

COLOR = (1.0, 0.3, 0.1)
FILL = 0.15
ALGORITHM_TYPE, ALGORITHM_NAME = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
AUTOMATIC, SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"

TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^"
    "~Anatomic codes - DICOM master list~SCT^12738006^Brain~^^"
)
"""The nearest type that Slicer's list has: it knows no lesion of unknown kind. The segment's name says what it is."""


def ensureSegmentation(nodes: ResultNodes, given: Any = None) -> Any:
    """The segmentation of a result, made if it is not there. `given`: one the user chose to be written to."""
    if given is not None and given is not nodes.segmentation:
        nodes.adopt("segmentation", given)
        # The same id may be another segment there.
        nodes.root.UnsetParameter(names.SEGMENT)
    node = nodes.own("segmentation", "anomaly")
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        # The heatmap is to be seen through it.
        node.GetDisplayNode().SetOpacity2DFill(FILL)
    node.SetReferenceImageGeometryParameterFromVolumeNode(nodes.input)
    return node


def ensureSegment(nodes: ResultNodes) -> str:
    """The id of the segment "Anomaly", made if it is not there."""
    node = nodes.segmentation
    segmentId = nodes.segmentId or node.GetSegmentation().GetSegmentIdBySegmentName(names.SEGMENT_NAME)
    if not segmentId:
        segmentId = node.GetSegmentation().AddEmptySegment("", names.SEGMENT_NAME, COLOR)
        segment = node.GetSegmentation().GetSegment(segmentId)
        segment.SetTerminology(TERMINOLOGY)
        # Set again: a terminology brings a colour and a name of its own in some versions.
        segment.SetName(names.SEGMENT_NAME)
        segment.SetColor(*COLOR)
    nodes.root.SetParameter(names.SEGMENT, segmentId)
    return str(segmentId)


def writeSegment(node: Any, segmentId: str, array: NDArray[np.uint8], volumeNode: Any) -> None:
    """Replaces a segment by a mask in VTK's order [k, j, i] on the grid of `volumeNode`.

    Only the box around the mask is handed over, which is what keeps this short on large volumes.
    """
    image = _cropped(array, volumeNode)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(image, node, segmentId, logic.MODE_REPLACE)


def _cropped(array: NDArray[np.uint8], volumeNode: Any) -> Any:
    """The box around what is set, as an oriented image in the place of the volume; one empty voxel where nothing is."""
    extent = []
    for axis in (2, 1, 0):
        hits = np.flatnonzero(array.any(axis=tuple(a for a in range(3) if a != axis)))
        extent += [int(hits[0]), int(hits[-1])] if len(hits) else [0, 0]
    i0, i1, j0, j1, k0, k1 = extent
    part = np.ascontiguousarray(array[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1])
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*extent)
    scalars = numpy_support.numpy_to_vtk(part.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("labels")
    image.GetPointData().SetScalars(scalars)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image


def readSegment(nodes: ResultNodes) -> NDArray[np.bool_]:
    """The anomaly as it is now, on the grid of the input: bool [i, j, k]."""
    return segmentsOn(nodes.segmentation, nodes.segmentId, nodes.input)


def fingerprint(nodes: ResultNodes) -> tuple[int, ...]:
    """Differs whenever the voxels of the anomaly do, and not when those of a segment in the same label map do; () where there is no segment."""
    if not nodes.segmentId:
        return ()
    segment = nodes.segmentation.GetSegmentation().GetSegment(nodes.segmentId)
    image = segment.GetRepresentation(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())
    if image is None or image.GetPointData().GetScalars() is None:
        return (0,)
    labels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    here = np.argwhere(labels == segment.GetLabelValue()) + image.GetExtent()[4::-2]
    return (len(here), zlib.crc32(here.astype(np.int32).tobytes()))


def segmentMl(nodes: ResultNodes) -> float:
    """Millilitres of the anomaly as it is now."""
    return float(readSegment(nodes).sum()) * abs(float(np.linalg.det(affineOf(nodes.input)[:3, :3]))) / 1000


def tagAutomatic(nodes: ResultNodes) -> None:
    """Says that an algorithm made the segment; DICOM SEG asks for its name."""
    _tag(nodes, AUTOMATIC, f"IterMask3D {__version__}")


def tagEdited(nodes: ResultNodes) -> None:
    """Says that a person had a hand in it."""
    _tag(nodes, SEMIAUTOMATIC, f"IterMask3D {__version__}, edited")


def _tag(nodes: ResultNodes, kind: str, name: str) -> None:
    segment = nodes.segmentation.GetSegmentation().GetSegment(nodes.segmentId)
    segment.SetTag(ALGORITHM_TYPE, kind)
    segment.SetTag(ALGORITHM_NAME, name)
