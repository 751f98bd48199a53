"""Volume nodes as arrays in their place in space, and back. Arrays are in VTK's order, [k, j, i]."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.geometry import Affine, GridTransform, Shape
from IterMask3DLib.scene.translation import tr as _


def affine_of(node: Any) -> Affine:
    """Voxel index (i, j, k) to RAS mm of a volume node, 4x4 float64, without its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array(slicer.util.arrayFromVTKMatrix(matrix))


def shape_of(node: Any) -> Shape:
    """Voxels along i, j, k; zeros where the node holds no image."""
    image = node.GetImageData()
    i, j, k = image.GetDimensions() if image is not None else (0, 0, 0)
    return i, j, k


def voxels_of(node: Any) -> NDArray[Any]:
    """The voxels of a volume node, [k, j, i]; a view."""
    return np.asarray(slicer.util.arrayFromVolume(node))


def set_voxels(node: Any, array: NDArray[Any], affine: Affine) -> None:
    """Puts voxels [k, j, i] into a volume node and places it."""
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))


def parent_transform(node: Any) -> Any:
    """The transform a node hangs under, or None; one that does nothing counts as none."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return None
    world = vtk.vtkMatrix4x4()
    if transform.IsTransformToWorldLinear() and transform.GetMatrixTransformToWorld(world) and world.IsIdentity():
        return None
    return transform


def harden_transform(node: Any) -> None:
    """Writes the transform a volume hangs under into its geometry. Raises `UserError` for one that bends."""
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        raise UserError(
            _(
                "{transform} bends space; resample {volume} with it instead.",
                transform=transform.GetName(),
                volume=node.GetName(),
            )
        )
    node.HardenTransform()


def source_of(node: Any) -> str:
    """The file a node was read from, or its name."""
    storage = node.GetStorageNode()
    return (storage.GetFileName() if storage is not None else None) or node.GetName()


def segments_on(segmentation: Any, segment_id: str | None, volume: Any) -> NDArray[np.bool_]:
    """A segment (None: all of them together) on the grid of a volume node: bool [k, j, i]."""
    wanted = [segment_id] if segment_id is not None else list(segmentation.GetSegmentation().GetSegmentIDs())
    found = np.zeros(shape_of(volume)[::-1], dtype=bool)
    for each in wanted:
        if _add_as_it_is(found, segmentation, each, volume):
            continue
        # A segment with nothing in it has no labelmap that could be brought to another grid.
        with suppress(RuntimeError):
            array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, each, volume)
            if array is not None:
                found |= array > 0
    return found


def _add_as_it_is(found: NDArray[np.bool_], segmentation: Any, segment_id: str, volume: Any) -> bool:
    """Adds a segment that is a part of the volume's grid, as the module writes them; False where it is another grid."""
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    image = labelmap_of(segment) if segment is not None else None
    if image is None or segmentation.GetParentTransformNode() is not None:
        return False
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    begin, end = np.reshape(image.GetExtent(), (3, 2)).T
    inside = (begin >= 0).all() and (end < shape_of(volume)).all() and (begin <= end).all()
    if not inside or not np.allclose(slicer.util.arrayFromVTKMatrix(matrix), affine_of(volume), rtol=0, atol=1e-6):
        return False
    box = tuple(slice(first, last + 1) for first, last in zip(begin[::-1], end[::-1], strict=True))
    found[box] |= labels_in(image) == segment.GetLabelValue()
    return True


def labelmap_of(segment: Any) -> Any:
    """The oriented image that holds a segment, and perhaps others; None where it has no voxels."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    image = segment.GetRepresentation(name)
    return image if image is not None and image.GetPointData().GetScalars() is not None else None


def labels_in(image: Any) -> NDArray[Any]:
    """The labels of an oriented image, [k, j, i]; a view."""
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def brain_mask_on(node: Any, volume: Any) -> NDArray[np.uint8]:
    """A brain mask on the grid of a volume, from a label map, a volume of 0 and 1, or all segments of a segmentation.

    Raises `UserError` where it is empty.
    """
    is_segmentation = node.IsA("vtkMRMLSegmentationNode")
    array = segments_on(node, None, volume) if is_segmentation else voxels_of(node) > 0
    if not array.any():
        raise UserError(
            _("The brain mask {name} is empty; draw the brain or choose another mask.", name=node.GetName())
        )
    return array.view(np.uint8)


def grid_between(model_node: Any, input_node: Any) -> GridTransform:
    """The way between the grid of a model and that of an input. Raises `UserError` where one was turned since."""
    return GridTransform.between(
        affine_of(model_node), shape_of(model_node), affine_of(input_node), shape_of(input_node)
    )
