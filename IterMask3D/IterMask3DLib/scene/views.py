"""What the slice views show: layers, legend, comparison and plot, and the user's layout, which comes back."""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util

from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.scene.volumes import legendOf

COMPARE_LAYOUT = 7301
"""Number of the comparison's layout; those below 1000 are Slicer's and other extensions' own."""

COMPARE_VIEWS = ("IterMask3DOriginal", "IterMask3DReconstruction", "IterMask3DError")
_TITLES = ("Original", "Reconstruction", "Error")
_VIEW = (
    '<item><view class="vtkMRMLSliceNode" singletontag="{tag}"><property name="orientation" action="default">Axial</property>'
    '<property name="viewlabel" action="default">{label}</property><property name="viewcolor" action="default">{color}</property></view></item>'
)
_COLORS = ("#4A90D9", "#7F9F3F", "#D9622B")


class Layouts:
    """Switches to a layout of the module's and back to the one the user had."""

    def __init__(self) -> None:
        self._users: int | None = None
        self._own: int | None = None

    def compare(self, nodes: ResultNodes) -> bool:
        """Original, reconstruction and error beside each other, linked. False where there is no layout to switch."""
        layout = layoutNode()
        if layout is None or nodes.reconstruction is None or nodes.heatmap is None:
            return False
        if not layout.IsLayoutDescription(COMPARE_LAYOUT):
            layout.AddLayoutDescription(COMPARE_LAYOUT, _compareXml())
        self._remember(layout)
        layout.SetViewArrangement(COMPARE_LAYOUT)
        self._own = COMPARE_LAYOUT
        shown = ((nodes.input, None), (nodes.reconstruction, None), (nodes.input, nodes.heatmap))
        for name, (background, foreground) in zip(COMPARE_VIEWS, shown, strict=True):
            logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)
            if logic is None:
                continue
            composite = logic.GetSliceCompositeNode()
            composite.SetLinkedControl(True)
            composite.SetBackgroundVolumeID(background.GetID())
            composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
            composite.SetForegroundOpacity(0.7 if foreground is not None else 0.0)
            logic.FitSliceToAll()
        return True

    def showPlot(self, nodes: ResultNodes) -> bool:
        """The threshold curve in a layout with a plot. False where there is no layout to switch."""
        layout = layoutNode()
        if layout is None or nodes.curveChart is None:
            return False
        self._remember(layout)
        slicer.modules.plots.logic().ShowChartInLayout(nodes.curveChart)
        self._own = layout.GetViewArrangement()
        return True

    def back(self) -> None:
        """The user's layout again, unless the user has chosen another one meanwhile."""
        layout = layoutNode()
        if layout is not None and self._users is not None and layout.GetViewArrangement() == self._own:
            layout.SetViewArrangement(self._users)
        self.forget()

    def forget(self) -> None:
        self._users = self._own = None

    def _remember(self, layout: Any) -> None:
        if layout.GetViewArrangement() != self._own:
            self._users = layout.GetViewArrangement()


def layoutNode() -> Any:
    """The scene's layout, None where nothing is shown."""
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def showForeground(node: Any, opacity: float) -> None:
    """Lays a volume over the one that is shown."""
    slicer.util.setSliceViewerLayers(foreground=node, foregroundOpacity=opacity)


def hideForeground(nodes: ResultNodes) -> None:
    """Takes this result's volumes off the foreground, and leaves any other there."""
    own = {node.GetID() for node in (nodes.heatmap, nodes.errorProxy, nodes.reconstructionProxy, nodes.reconstruction) if node is not None}
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        if composite.GetForegroundVolumeID() in own:
            composite.SetForegroundVolumeID(None)


def showLabel(node: Any, opacity: float) -> None:
    """Shows a mask as the label layer."""
    slicer.util.setSliceViewerLayers(label=node, labelOpacity=opacity)


def hideLabel(nodes: ResultNodes) -> None:
    """Takes this result's mask off the label layer."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        if nodes.maskProxy is not None and composite.GetLabelVolumeID() == nodes.maskProxy.GetID():
            composite.SetLabelVolumeID(None)


def showLegend(node: Any, visible: bool) -> None:
    """The colour legend of an error."""
    legendOf(node).SetVisibility(visible)


def _compareXml() -> str:
    views = "".join(
        _VIEW.format(tag=tag, label=label, color=color) for tag, label, color in zip(COMPARE_VIEWS, _TITLES, _COLORS, strict=True)
    )
    return f'<layout type="horizontal">{views}</layout>'
