"""Colour tables of the module's own: the ones that ship as files with the application are not everywhere MRML is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import slicer

from IterMask3DLib.scene import names

HEAT, MASK = "IterMask3D heat", "IterMask3D mask"

_HEAT_STOPS = ((0.0, (0, 0, 0)), (0.25, (87, 16, 110)), (0.5, (188, 55, 84)), (0.75, (249, 142, 9)), (1.0, (252, 255, 164)))
"""Dark to bright with steadily growing lightness, so that it also reads in grey and to the colour-blind (in the manner of matplotlib's inferno)."""

_MASK_RGB = (0.25, 0.75, 1.0)


def heatColors() -> Any:
    """Black over purple and orange to pale yellow, 256 colours; made once a scene."""
    found = _present(HEAT)
    if found is not None:
        return found
    node = _new(HEAT, 256)
    for index in range(256):
        node.SetColor(index, f"{index}", *(channel / 255 for channel in _between(index / 255)), 1.0)
    return node


def maskColors() -> Any:
    """Nothing for 0 and light blue for 1."""
    found = _present(MASK)
    if found is not None:
        return found
    node = _new(MASK, 2)
    node.SetColor(0, "visible", 0.0, 0.0, 0.0, 0.0)
    node.SetColor(1, "masked", *_MASK_RGB, 1.0)
    return node


def _present(role: str) -> Any:
    nodes = slicer.mrmlScene.GetNodesByClass("vtkMRMLColorTableNode")
    nodes.UnRegister(None)
    every = (nodes.GetItemAsObject(i) for i in range(nodes.GetNumberOfItems()))
    return next((node for node in every if node.GetAttribute(names.ROLE) == role), None)


def _new(role: str, count: int) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", role)
    node.SetTypeToUser()
    node.SetNumberOfColors(count)
    node.SetAttribute(names.ROLE, role)
    node.SetHideFromEditors(False)
    return node


def _between(place: float) -> tuple[float, float, float]:
    for (low, a), (high, b) in pairwise(_HEAT_STOPS):
        if place <= high:
            share = (place - low) / (high - low)
            red, green, blue = (x + share * (y - x) for x, y in zip(a, b, strict=True))
            return red, green, blue
    return tuple(float(x) for x in _HEAT_STOPS[-1][1])  # type: ignore[return-value]
