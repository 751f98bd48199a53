"""The layout that compares, and the user's layout, which comes back."""

from __future__ import annotations

from typing import Any

import slicer
import slicer.util

from IterMask3DLib.scene.nodes.result_nodes import ResultNodes

COMPARE_LAYOUT = 7301
"""Number of the comparison's layout; those below 1000 are Slicer's and other extensions' own."""

COMPARE_VIEWS = ("IterMask3DOriginal", "IterMask3DReconstruction", "IterMask3DError")
_TITLES, _COLORS = ("Original", "Reconstruction", "Error"), ("#4A90D9", "#7F9F3F", "#D9622B")
_VIEW = (
    '<item><view class="vtkMRMLSliceNode" singletontag="{tag}">'
    '<property name="orientation" action="default">Axial</property>'
    '<property name="viewlabel" action="default">{label}</property>'
    '<property name="viewcolor" action="default">{color}</property></view></item>'
)
_OPACITY = 0.7


class Layouts:
    """Switches to the layout that compares and back to the one the user had."""

    def __init__(self) -> None:
        self._users: int | None = None

    @property
    def comparing(self) -> bool:
        """Whether the comparison is shown."""
        layout = _layout_node()
        return layout is not None and layout.GetViewArrangement() == COMPARE_LAYOUT

    def compare(self, nodes: ResultNodes) -> bool:
        """Original, reconstruction and error beside each other, linked. False where there is no layout to switch."""
        layout = _layout_node()
        if layout is None or nodes.reconstruction is None or nodes.heatmap is None:
            return False
        if not layout.IsLayoutDescription(COMPARE_LAYOUT):
            layout.AddLayoutDescription(COMPARE_LAYOUT, _compare_xml())
        if not self.comparing:
            self._users = layout.GetViewArrangement()
        layout.SetViewArrangement(COMPARE_LAYOUT)
        shown = ((nodes.input, None), (nodes.reconstruction, None), (nodes.input, nodes.heatmap))
        for name, (background, foreground) in zip(COMPARE_VIEWS, shown, strict=True):
            logic = slicer.app.applicationLogic().GetSliceLogicByLayoutName(name)
            if logic is None:
                continue
            composite = logic.GetSliceCompositeNode()
            composite.SetLinkedControl(True)
            composite.SetBackgroundVolumeID(background.GetID())
            composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
            composite.SetForegroundOpacity(_OPACITY if foreground is not None else 0.0)
            composite.SetLabelVolumeID(None)
            logic.FitSliceToAll()
        return True

    def leave(self) -> None:
        """The user's layout again, unless the user has chosen another one meanwhile."""
        if self.comparing and self._users is not None:
            _layout_node().SetViewArrangement(self._users)
        self._users = None


def _layout_node() -> Any:
    """The scene's layout, None where nothing is shown."""
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _compare_xml() -> str:
    views = "".join(
        _VIEW.format(tag=tag, label=label, color=color)
        for tag, label, color in zip(COMPARE_VIEWS, _TITLES, _COLORS, strict=True)
    )
    return f'<layout type="horizontal">{views}</layout>'
