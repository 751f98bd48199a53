"""Volume nodes for tests, in every position in space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray

from Testing.brains import phantom

BRAIN = Path(__file__).resolve().parents[2] / "IterMask3D" / "Resources" / "SampleData" / "open_ms_patient19_T1.nii.gz"


def volume_node(array: NDArray[Any], affine: NDArray[np.float64], name: str = "brain") -> Any:
    """A volume node of an array [i, j, k] and its RAS affine."""
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(array.T), ijkToRAS=affine, name=name)


def phantom_node(name: str = "brain") -> Any:
    """The phantom of `Testing.brains` as a node."""
    return volume_node(*phantom(), name)


def brain_node() -> Any:
    """The bundled brain."""
    return slicer.util.loadVolume(str(BRAIN), {})


SPOT_RAS, SPOT_MM = (26.0, 22.0, 8.0), 15.0
"""Centre and radius of the bright spot in `head_node`."""


def head_node(affine: NDArray[np.float64], shape: tuple[int, int, int], name: str = "brain") -> Any:
    """A stripped brain with a bright spot that stands still in space, wherever the grid lies."""
    places = (
        np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    )
    x, y, z = (places[..., axis] for axis in range(3))
    brain = (x / 64) ** 2 + (y / 80) ** 2 + (z / 60) ** 2 <= 1
    values = 300 + 12 * np.sin(x / 9) * np.cos(y / 11) + 8 * np.sin(z / 13)
    values[((places - SPOT_RAS) ** 2).sum(axis=-1) <= SPOT_MM**2] += 250
    return volume_node(np.where(brain, values, 0).astype(np.int16), affine, name)


def centred(directions: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """The affine of a grid with these axes (columns, mm per voxel) and the brain's middle in its own."""
    affine = np.eye(4)
    affine[:3, :3] = directions
    affine[:3, 3] = -directions @ ((np.array(shape) - 1) / 2)
    return affine


def anomaly_of(nodes: Any) -> NDArray[np.bool_]:
    """The segment on the grid of the input: bool [i, j, k]."""
    return np.asarray(
        slicer.util.arrayFromSegmentBinaryLabelmap(nodes.segmentation, nodes.segment_id, nodes.input).T > 0
    )


def affine_of(node: Any) -> NDArray[np.float64]:
    """Voxel to RAS mm."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def voxels(node: Any) -> NDArray[Any]:
    """A copy of a volume node's voxels [i, j, k]."""
    return np.array(slicer.util.arrayFromVolume(node).T)


def reopened(path: Path, own: bool = False) -> Any:
    """Saves the scene, closes it, opens it again, and gives its one result. `own`: as the panel saves it."""
    from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
    from IterMask3DLib.scene.run.bundle import write_bundle

    assert list(write_bundle(path)) if own else slicer.util.saveScene(str(path), {})
    slicer.mrmlScene.Clear(False)
    assert not ResultNodes.all()
    slicer.util.loadScene(str(path), {})
    (nodes,) = ResultNodes.all()
    return nodes


def oblique(degrees: float) -> NDArray[np.float64]:
    """A turn about an axis that is none of the scanner's."""
    axis = np.array([1.0, 2.0, 0.5]) / np.linalg.norm([1.0, 2.0, 0.5])
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turn
