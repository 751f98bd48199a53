"""Volume nodes for tests, in every position in space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
from numpy.typing import NDArray

from Testing.brains import phantom

BRAIN = Path(__file__).resolve().parents[2] / "IterMask3D" / "Resources" / "SampleData" / "open_ms_patient19_T1.nii.gz"


def volumeNode(array: NDArray[Any], affine: NDArray[np.float64], name: str = "brain") -> Any:
    """A volume node of an array [i, j, k] and its RAS affine."""
    return slicer.util.addVolumeFromArray(np.ascontiguousarray(array.T), ijkToRAS=affine, name=name)


def phantomNode(name: str = "brain") -> Any:
    """The phantom of `Testing.brains` as a node."""
    return volumeNode(*phantom(), name)


def brainNode() -> Any:
    """The bundled brain."""
    return slicer.util.loadVolume(str(BRAIN), {})


def oblique(degrees: float) -> NDArray[np.float64]:
    """A turn about an axis that is none of the scanner's."""
    axis = np.array([1.0, 2.0, 0.5]) / np.linalg.norm([1.0, 2.0, 0.5])
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turn
