"""Colour tables of the module's own: the ones that ship as files with the application are not everywhere MRML is."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import slicer.util

from IterMask3DLib.scene.nodes import names

_HEAT, _MASK = "IterMask3D heat", "IterMask3D mask"
_HEAT_STOPS = np.array([(0, 0, 0), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])
"""Dark to bright with growing lightness: it also reads in grey and to the colour-blind (in the manner of inferno)."""

_MASK_RGB = (0.25, 0.75, 1.0)


def heat_colors() -> Any:
    """Black over purple and orange to pale yellow, 256 colours; made once a scene."""
    node = _present(_HEAT)
    if node is None:
        node = _new(_HEAT, 256)
        stops = np.linspace(0, 255, len(_HEAT_STOPS))
        rgb = np.column_stack([np.interp(np.arange(256), stops, channel) for channel in _HEAT_STOPS.T / 255])
        for index, color in enumerate(rgb.tolist()):
            node.SetColor(index, f"{index}", *color, 1.0)
    return node


def mask_colors() -> Any:
    """Nothing for 0 and light blue for 1."""
    node = _present(_MASK)
    if node is None:
        node = _new(_MASK, 2)
        node.SetColor(0, "visible", 0.0, 0.0, 0.0, 0.0)
        node.SetColor(1, "masked", *_MASK_RGB, 1.0)
    return node


def _present(role: str) -> Any:
    every = slicer.util.getNodesByClass("vtkMRMLColorTableNode")
    return next((node for node in every if node.GetAttribute(names.ROLE) == role), None)


def _new(role: str, count: int) -> Any:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", role)
    node.SetTypeToUser()
    node.SetNumberOfColors(count)
    node.SetAttribute(names.ROLE, role)
    node.SetHideFromEditors(False)
    return node
