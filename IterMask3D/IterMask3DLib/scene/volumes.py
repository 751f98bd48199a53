"""The heatmap, the reconstruction and the brain as volume nodes, on the grid of the input."""

from __future__ import annotations

from typing import Any

import slicer

from IterMask3DLib.scene.colors import heatColors, maskColors
from IterMask3DLib.scene.geometry import setVoxels
from IterMask3DLib.scene.messages import OutcomeMessage
from IterMask3DLib.scene.nodes import ResultNodes

LARGE_ERROR = 9.0
"""Upper end of the window of an error map before its largest value is known: three standard deviations, squared."""

_DARKEST = 1e-6


def writeHeatmap(nodes: ResultNodes, message: OutcomeMessage, threshold: float) -> None:
    """The heatmap, shown from the chosen threshold on."""
    node = nodes.own("heatmap", "heatmap")
    if node.GetDisplayNode() is None:
        # Before the voxels: a display that still chooses its own window counts them all.
        node.CreateDefaultDisplayNodes()
        showAsError(node)
    node.GetDisplayNode().SetWindowLevelMinMax(0.0, message.peak or 1.0)
    setShownFrom(node, threshold)
    setVoxels(node, message.heatmap, message.affine)


def writeReconstruction(nodes: ResultNodes, message: OutcomeMessage) -> None:
    """The reconstruction, in the window of the input."""
    node = nodes.own("reconstruction", "reconstruction")
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        showLike(node, nodes.input)
    setVoxels(node, message.reconstruction, message.affine)


def writeBrain(nodes: ResultNodes, message: OutcomeMessage) -> None:
    """The brain mask the run used, so that it can be looked at and the run can be gone on with."""
    node = nodes.own("brain", "brain mask")
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetAndObserveColorNodeID(maskColors().GetID())
    setVoxels(node, message.brain, message.affine)


def showAsError(node: Any) -> None:
    """The colours of an error, with its zeros transparent."""
    display = node.GetDisplayNode()
    was = display.StartModify()
    display.SetAndObserveColorNodeID(heatColors().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, LARGE_ERROR)
    display.SetInterpolate(True)
    # Where the error is 0, the volume below must stay as it is.
    display.AutoThresholdOff()
    display.SetThreshold(_DARKEST, 1e9)
    display.SetApplyThreshold(True)
    display.EndModify(was)


def setShownFrom(node: Any, low: float | None) -> None:
    """Makes errors below `low` transparent; None: only zeros."""
    display = node.GetDisplayNode()
    was = display.StartModify()
    display.AutoThresholdOff()
    display.SetThreshold(_DARKEST if low is None else max(low, _DARKEST), 1e9)
    display.SetApplyThreshold(True)
    display.EndModify(was)


def showLike(node: Any, other: Any) -> None:
    """The grey window of another volume."""
    display, given = node.GetDisplayNode(), other.GetDisplayNode()
    if display is None or given is None:
        return
    was = display.StartModify()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(given.GetWindow(), given.GetLevel())
    display.SetAndObserveColorNodeID(given.GetColorNodeID())
    display.EndModify(was)


def valueRange(node: Any) -> tuple[float, float]:
    """Least and largest value of a volume node."""
    low, high = node.GetImageData().GetScalarRange()
    return float(low), float(high)


def legendOf(node: Any) -> Any:
    """The colour legend of a volume, made if it is not there."""
    logic = slicer.modules.colors.logic()
    legend = logic.GetColorLegendDisplayNode(node)
    if legend is None:
        legend = logic.AddDefaultColorLegendDisplayNode(node)
        legend.SetTitleText("Error")
        # Small and at the edge: it must not cover the brain.
        legend.GetTitleTextProperty().SetFontSize(13)
        legend.GetLabelTextProperty().SetFontSize(12)
        legend.SetLabelFormat("%.1f")
        legend.SetSize(0.1, 0.4)
        legend.SetPosition(0.98, 0.5)
    return legend
