"""Awkward grids for tests."""

from __future__ import annotations

import numpy as np


def rotation() -> np.ndarray:
    """A turn about two axes and a shift (mm): 4x4."""
    a, b = np.radians([20, -12])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ tilt
    matrix[:3, 3] = [-11, 23, 5]
    return matrix


def oblique() -> np.ndarray:
    """An affine with three different spacings, turned about two axes."""
    return rotation() @ np.diag([1.0, 1.5, 3.0, 1.0])
