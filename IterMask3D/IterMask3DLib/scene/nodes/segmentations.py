"""The segment of the anomaly: its place, its looks, and how it says who made it, a machine alone or a person too."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from IterMask3DLib import __version__
from IterMask3DLib.core.geometry import bounding_box
from IterMask3DLib.scene.nodes import names
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.nodes.volumes import labelmap_of, labels_in, segments_on

COLOR = (1.0, 0.3, 0.1)
_FILL = 0.15
_ALGORITHM_TYPE, _ALGORITHM_NAME = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
_AUTOMATIC, _SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"

TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^"
    "~Anatomic codes - DICOM master list~SCT^12738006^Brain~^^"
)
"""The nearest type that Slicer's list has: it knows no lesion of unknown kind. The segment's name says what it is."""


def ensure_segmentation(nodes: ResultNodes, given: Any = None) -> Any:
    """The segmentation of a result, made if it is not there.

    Args:
        given: one of the user's that is to be written to from now on. The anomaly that this result has in it already is
            used again; whatever else is in it, a segment of the same name too, is left alone.
    """
    if given is not None and given is not nodes.segmentation:
        nodes.refer("segmentation", given)
        nodes.root.SetParameter(names.SEGMENT, _segment_of(nodes, given))
    node = nodes.own("segmentation", "anomaly")
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        # The heatmap is to be seen through it.
        node.GetDisplayNode().SetOpacity2DFill(_FILL)
    node.SetReferenceImageGeometryParameterFromVolumeNode(nodes.input)
    return node


def new_segmentation(nodes: ResultNodes) -> Any:
    """Another segmentation for a result; the one it had is the user's from now on, as it is."""
    nodes.release("segmentation")
    nodes.root.UnsetParameter(names.SEGMENT)
    node = ensure_segmentation(nodes)
    node.SetName(slicer.mrmlScene.GenerateUniqueName(node.GetName()))
    return node


def ensure_segment(nodes: ResultNodes) -> str:
    """The id of the segment of the anomaly, made if it is not there."""
    segmentation, segment_id = nodes.segmentation.GetSegmentation(), nodes.segment_id
    if not segment_id:
        segment_id = segmentation.AddEmptySegment("", names.SEGMENT_NAME, COLOR)
        segment = segmentation.GetSegment(segment_id)
        segment.SetTerminology(TERMINOLOGY)
        # Set again: a terminology brings a colour and a name of its own in some versions.
        segment.SetName(names.SEGMENT_NAME)
        segment.SetColor(*COLOR)
        segment.SetTag(names.SEGMENT_OF, nodes.root.GetParameter(names.FOLDER))
        nodes.root.SetParameter(names.SEGMENT, segment_id)
    return str(segment_id)


def write_segment(node: Any, segment_id: str, array: NDArray[np.uint8], volume: Any) -> None:
    """Replaces a segment by a mask [k, j, i] on the grid of a volume.

    Only the box around the mask is handed over, which is what keeps this short on large volumes.
    """
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(_cropped(array, volume), node, segment_id, logic.MODE_REPLACE)


def _cropped(array: NDArray[np.uint8], volume: Any) -> Any:
    """The box around what is set, as an oriented image in the place of the volume; one empty voxel where nothing is."""
    box = bounding_box(array != 0) or (slice(0, 1),) * 3
    part = np.ascontiguousarray(array[box])
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*(end for side in box[::-1] for end in (side.start, side.stop - 1)))
    scalars = numpy_support.numpy_to_vtk(part.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("labels")
    image.GetPointData().SetScalars(scalars)
    image.SetGeometryFromImageToWorldMatrix(matrix)
    return image


def read_segment(nodes: ResultNodes) -> NDArray[np.bool_]:
    """The anomaly as it is now, on the grid of the input: bool [k, j, i]."""
    return segments_on(nodes.segmentation, nodes.segment_id, nodes.input)


def fingerprint(nodes: ResultNodes) -> tuple[int, ...]:
    """Differs whenever the voxels of the anomaly do, not those of a neighbour in its label map; () without one."""
    segment = _segment(nodes)
    if segment is None:
        return ()
    image = labelmap_of(segment)
    here = labels_in(image) == segment.GetLabelValue() if image is not None else np.zeros((0, 0, 0), dtype=bool)
    box = bounding_box(here)
    if box is None or image is None:
        return (0,)
    part = here[box]
    corner = (side.start + begin for side, begin in zip(box, image.GetExtent()[4::-2], strict=True))
    return (*corner, *part.shape, zlib.crc32(np.packbits(part).data))


def tag_automatic(nodes: ResultNodes) -> None:
    """Says that an algorithm made the segment; DICOM SEG asks for its name."""
    _tag(nodes, _AUTOMATIC, f"IterMask3D {__version__}", "no")


def tag_continued(nodes: ResultNodes) -> None:
    """Says that a run made it, from a mask that a person drew."""
    _tag(nodes, _SEMIAUTOMATIC, f"IterMask3D {__version__}, edited", "no")


def tag_edited(nodes: ResultNodes) -> None:
    """Says that a person has changed what a run wrote."""
    _tag(nodes, _SEMIAUTOMATIC, f"IterMask3D {__version__}, edited", "yes")


def is_edited(nodes: ResultNodes, given: Any = None) -> bool:
    """Whether a person has changed what a run wrote; `given`: in this segmentation instead of the result's."""
    if given is None or given is nodes.segmentation:
        segment = _segment(nodes)
    else:
        segment = given.GetSegmentation().GetSegment(_segment_of(nodes, given))
    if segment is None:
        return False
    # Earlier versions had no tag of their own for it.
    return (
        _tag_of(segment, names.EDITED) or ("yes" if _tag_of(segment, _ALGORITHM_TYPE) == _SEMIAUTOMATIC else "no")
    ) == "yes"


def _segment(nodes: ResultNodes) -> Any:
    return nodes.segmentation.GetSegmentation().GetSegment(nodes.segment_id) if nodes.segment_id else None


def _segment_of(nodes: ResultNodes, node: Any) -> str:
    """The id of the segment that this result wrote into a segmentation, "" where there is none."""
    segmentation, key = node.GetSegmentation(), nodes.root.GetParameter(names.FOLDER)
    every = (segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments()))
    return next((each for each in every if _tag_of(segmentation.GetSegment(each), names.SEGMENT_OF) == key), "")


def _tag(nodes: ResultNodes, kind: str, name: str, edited: str) -> None:
    segment = _segment(nodes)
    for tag, value in ((_ALGORITHM_TYPE, kind), (_ALGORITHM_NAME, name), (names.EDITED, edited)):
        segment.SetTag(tag, value)


def _tag_of(segment: Any, name: str) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""
