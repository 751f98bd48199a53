"""Selectors of nodes that do not offer what the module made, and those for a model with several inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from IterMask3DLib.scene.nodes.result_nodes import is_ours

_CLASSES = ("vtkMRMLScalarVolumeNode", "vtkMRMLLabelMapVolumeNode", "vtkMRMLSegmentationNode")
_ROLE = "IterMask3D.channel."
"""Beginning of the reference roles, from the parameter node, to the volumes of the other inputs."""


def hide_own_nodes(selectors: Sequence[Any], but: Collection[Any] = ()) -> None:
    """Selectors offer no node that the module made, except for some."""
    nodes = (node for name in _CLASSES for node in slicer.util.getNodesByClass(name))
    hidden = sorted({node.GetID() for node in nodes if is_ours(node) and node not in but})
    for selector in selectors:
        model = selector.sortFilterProxyModel()
        if list(model.hiddenNodeIDs) != hidden:
            model.hiddenNodeIDs = hidden


def other_channels(names: Sequence[str], parameter_node: Any) -> dict[str, Any]:
    """The volume chosen for each input after the first, None where none is."""
    return {name: parameter_node.GetNodeReference(_ROLE + name) for name in names}


class ChannelSelectors:
    """A selector for each input of a model after the first; the scene keeps what was chosen, by the input's name."""

    def __init__(self, frame: Any, on_changed: Callable[[], None]) -> None:
        self._frame, self._on_changed = frame, on_changed
        self._layout = qt.QFormLayout(frame)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._selectors: dict[str, Any] = {}
        self._parameter_node: Any = None
        self._showing = False

    @property
    def all(self) -> list[Any]:
        return list(self._selectors.values())

    def of(self, name: str) -> Any:
        """The selector of an input, None where the model has none of that name."""
        return self._selectors.get(name)

    def forget(self) -> None:
        """The scene that keeps the choices goes away."""
        self._parameter_node = None

    def show(self, names: Sequence[str], parameter_node: Any, enabled: bool) -> None:
        """Shows the inputs of the model that is chosen, and what is chosen for each."""
        self._parameter_node = parameter_node
        if list(names) != list(self._selectors):
            self._build(names)
        self._frame.visible = bool(names)
        self._showing = True
        for name, selector in self._selectors.items():
            selector.enabled = enabled
            selector.setCurrentNode(parameter_node.GetNodeReference(_ROLE + name))
        self._showing = False

    def _build(self, names: Sequence[str]) -> None:
        while self._layout.rowCount():
            self._layout.removeRow(0)
        self._selectors = {}
        for name in names:
            selector = slicer.qMRMLNodeComboBox()
            selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
            selector.showChildNodeTypes = selector.addEnabled = selector.removeEnabled = False
            selector.noneEnabled = True
            selector.noneDisplay = _("Select a volume")
            selector.toolTip = _("The volume of this contrast, of the same person")
            selector.setMRMLScene(slicer.mrmlScene)
            selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node, name=name: self._chosen(name, node))
            self._layout.addRow(f"{name}:", selector)
            self._selectors[name] = selector

    def _chosen(self, name: str, node: Any) -> None:
        if not self._showing and self._parameter_node is not None:
            self._parameter_node.SetNodeReferenceID(_ROLE + name, node.GetID() if node is not None else None)
            self._on_changed()
