"""Volume nodes as the engine's volumes: arrays [i, j, k] with their RAS affine, and back."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.image import Affine, Image
from IterMask3DLib.scene.words import tr as _


def affineOf(node: Any) -> Affine:
    """Voxel index (i, j, k) to RAS mm of a volume node, 4x4 float64, without its parent transform."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def setAffine(node: Any, affine: Affine) -> None:
    """Places a volume node in space."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(affine, dtype=float).ravel())
    node.SetIJKToRASMatrix(matrix)


def parentTransform(node: Any) -> Any:
    """The transform a node hangs under, or None; one that does nothing counts as none."""
    transform = node.GetParentTransformNode()
    if transform is None:
        return None
    world = vtk.vtkMatrix4x4()
    if transform.IsTransformToWorldLinear() and transform.GetMatrixTransformToWorld(world) and world.IsIdentity():
        return None
    return transform


def shapeOf(node: Any) -> tuple[int, int, int]:
    """Voxels along i, j, k; zeros where the node holds no image."""
    image = node.GetImageData()
    i, j, k = image.GetDimensions() if image is not None else (0, 0, 0)
    return i, j, k


def volumeOf(node: Any) -> Image:
    """The engine's volume of a scalar volume node: a copy, so that what the user does to the node does not reach a run.

    Raises `UserError` for anything but one finite, varying 3D volume in its own place.
    """
    name = node.GetName()
    if parentTransform(node) is not None:
        raise UserError(
            _("{name} hangs under the transform {transform}; harden the transform first.").format(
                name=name, transform=parentTransform(node).GetName()
            )
        )
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLTensorVolumeNode"):
        raise UserError(_("{name} is not a scalar volume; choose one with a single number a voxel.").format(name=name))
    if node.GetImageData() is None or min(shapeOf(node)) < 2:
        raise UserError(_("{name} holds no 3D image; load the volume again.").format(name=name))
    if node.GetImageData().GetNumberOfScalarComponents() != 1:
        raise UserError(
            _("{name} holds {count} numbers a voxel; one is needed.").format(
                name=name, count=node.GetImageData().GetNumberOfScalarComponents()
            )
        )
    array, affine = np.array(slicer.util.arrayFromVolume(node).T), affineOf(node)
    if abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise UserError(_("{name} has a singular orientation matrix; mend its spacing and directions.").format(name=name))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(_("{name} holds NaN or infinite voxels; replace them by numbers.").format(name=name))
    if array.min() == array.max():
        raise UserError(_("{name} is constant: every voxel is {value}.").format(name=name, value=array.flat[0]))
    return Image(array, affine, name, sourceOf(node))


def sameVolume(one: Image, other: Image) -> bool:
    """Whether two volumes hold the same voxels in the same place."""
    return bool(np.array_equal(one.affine, other.affine) and np.array_equal(one.array, other.array))


def sourceOf(node: Any) -> str:
    """The file a node was read from, or its name."""
    storage = node.GetStorageNode()
    return (storage.GetFileName() if storage is not None else None) or node.GetName()


def brainMaskOf(node: Any, volumeNode: Any) -> Image:
    """A brain mask on the grid of `volumeNode`, from a label map, a volume of 0 and 1, or all segments of a segmentation.

    Raises `UserError` where it hangs under another transform than the volume or is empty.
    """
    name = node.GetName()
    if parentTransform(node) is not None:
        raise UserError(_("The brain mask {name} hangs under a transform; harden the transform first.").format(name=name))
    if node.IsA("vtkMRMLSegmentationNode"):
        array = segmentsOn(node, None, volumeNode)
        affine = affineOf(volumeNode)
    else:
        if node.GetImageData() is None:
            raise UserError(_("The brain mask {name} holds no image; load it again.").format(name=name))
        array, affine = np.array(slicer.util.arrayFromVolume(node).T > 0), affineOf(node)
    if not array.any():
        raise UserError(_("The brain mask {name} is empty; draw the brain or choose another mask.").format(name=name))
    return Image(array.astype(np.uint8), affine, name, name)


def segmentsOn(segmentation: Any, segmentId: str | None, volumeNode: Any) -> NDArray[np.bool_]:
    """A segment (None: all of them together) on the grid of a volume node: bool [i, j, k]."""
    wanted = [segmentId] if segmentId is not None else list(segmentation.GetSegmentation().GetSegmentIDs())
    found = np.zeros(shapeOf(volumeNode), dtype=bool)
    for each in wanted:
        # A segment with nothing in it has no labelmap that could be brought to another grid.
        with suppress(RuntimeError):
            found |= slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, each, volumeNode).T > 0
    return found


def setVoxels(node: Any, array: NDArray[Any], affine: Affine) -> None:
    """Puts an array that is already in VTK's order [k, j, i] into a volume node and places it."""
    slicer.util.updateVolumeFromArray(node, array)
    setAffine(node, affine)


def vtkOrder(array: NDArray[Any]) -> NDArray[Any]:
    """[i, j, k] as contiguous [k, j, i], the order VTK keeps; made in the worker, because it costs a copy."""
    return np.ascontiguousarray(array.T)
