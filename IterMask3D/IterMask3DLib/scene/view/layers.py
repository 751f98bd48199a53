"""What the slice views show over the volume: heatmap, mask and legend. Views of the comparison are left alone."""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util

from IterMask3DLib.core.result import ERROR_MAP, MASK, RECONSTRUCTION
from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.view.displays import LARGE_ERROR, legend_of, show_from
from IterMask3DLib.scene.view.layouts import COMPARE_VIEWS


def show_heatmap(nodes: ResultNodes, visible: bool, opacity: float = 0.6, live: bool = False) -> None:
    """The heatmap over the volume; `live`: the error map of the shown iteration instead."""
    node = nodes.proxy(ERROR_MAP) if live else nodes.heatmap
    if visible and node is not None:
        for composite in _composites():
            composite.SetForegroundVolumeID(node.GetID())
            composite.SetForegroundOpacity(opacity)
        return
    own = (nodes.heatmap, nodes.proxy(ERROR_MAP), nodes.reconstruction, nodes.proxy(RECONSTRUCTION))
    ids = {node.GetID() for node in own if node is not None}
    for composite in _composites():
        if composite.GetForegroundVolumeID() in ids:
            composite.SetForegroundVolumeID(None)


def show_mask(nodes: ResultNodes, visible: bool, opacity: float = 0.5) -> None:
    """The mask of the shown iteration as the label layer."""
    node = nodes.proxy(MASK)
    for composite in _composites():
        if visible and node is not None:
            composite.SetLabelVolumeID(node.GetID())
            composite.SetLabelOpacity(opacity)
        elif node is not None and composite.GetLabelVolumeID() == node.GetID():
            composite.SetLabelVolumeID(None)


def show_legend(nodes: ResultNodes, visible: bool) -> None:
    """The colour legend of the heatmap."""
    if nodes.heatmap is not None:
        legend_of(nodes.heatmap, nodes.unit).SetVisibility(visible)


def set_heatmap_range(nodes: ResultNodes, low: float, high: float) -> None:
    """The scores that get the first and the last colour."""
    for node in _scores(nodes):
        node.GetDisplayNode().SetWindowLevelMinMax(low, high)


def set_heatmap_threshold(nodes: ResultNodes, low: float | None) -> None:
    """Makes smaller scores transparent; None shows all."""
    for node in _scores(nodes):
        show_from(node, low)


def heatmap_range(nodes: ResultNodes) -> tuple[float, float]:
    """0 and the largest score."""
    if nodes.heatmap is None:
        return 0.0, LARGE_ERROR
    # Of the array, which keeps it until it changes; that of the image is found anew each time.
    return 0.0, float(nodes.heatmap.GetImageData().GetPointData().GetScalars().GetRange()[1])


def _scores(nodes: ResultNodes) -> list[Any]:
    """The nodes that share range and threshold."""
    return [n for n in (nodes.heatmap, nodes.proxy(ERROR_MAP)) if n is not None and n.GetDisplayNode() is not None]


def _composites() -> list[Any]:
    every = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return [composite for composite in every if composite.GetLayoutName() not in COMPARE_VIEWS]
