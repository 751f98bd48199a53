"""Stand-in for Slicer's selector of nodes, on the real scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from Testing.slicer_host.properties import row_of, stand_in, stored
from Testing.slicer_host.watch import Watch

Signal = QtCore.Signal


@stand_in
class qMRMLSortFilterProxyModel(QtCore.QSortFilterProxyModel):
    """What decides which nodes a selector offers, beside its types."""

    hiddenNodeIDs = stored("QStringList", "hiddenNodeIDs", [])

    def __init__(self, selector: Any) -> None:
        super().__init__()
        self._selector = selector

    def _changed_hiddenNodeIDs(self, _: Any) -> None:
        self._selector._refresh()


@stand_in
class qMRMLNodeComboBox(QtWidgets.QWidget):
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    _SIGNALS = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "currentNodeIDChanged(QString)",
        "nodeActivated(vtkMRMLNode*)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
    )
    nodeTypes = stored("QStringList", "nodeTypes", [])
    showHidden = stored(bool, "showHidden", False)
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True)
    noneEnabled = stored(bool, "noneEnabled", False)
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    noneDisplay = stored(str, "noneDisplay", "None")
    baseName = stored(str, "baseName", "")
    currentNodeID = QtCore.Property(
        str,
        lambda self: self._node.GetID() if self._node else "",
        lambda self, identity: self.setCurrentNodeID(identity),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._box = QtWidgets.QComboBox()
        self._box.setMinimumContentsLength(8)
        self.setLayout(row_of(self._box))
        self._scene: Any = None
        self._node: Any = None
        self._watch = Watch(self)
        self._filter = qMRMLSortFilterProxyModel(self)
        self._box.activated.connect(self._chosen)

    def sortFilterProxyModel(self) -> Any:
        return self._filter

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._watch.clear()
        self._scene = scene
        if scene is not None:
            ends = (scene.EndCloseEvent, scene.EndImportEvent, scene.EndBatchProcessEvent)
            self._watch.on(scene, (scene.NodeAddedEvent, scene.NodeRemovedEvent, *ends), "_refresh")
        self._refresh()

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes()[index]

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node)
        self._select(node if node in self._nodes() else None)

    def setCurrentNodeID(self, identity: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(identity) if identity else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self._nodes()[index])

    def addNode(self, kind: str = "") -> Any:
        kind = kind or self.nodeTypes[0]
        name = self.baseName or kind.removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        self.nodeAddedByUser.emit(node)
        self._select(node)
        return node

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        nodes = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        return [node for node in nodes if self._fits(node)]

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if node.GetID() in self._filter.hiddenNodeIDs:
            return False
        return any(
            node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind for kind in self.nodeTypes
        )

    def _refresh(self) -> None:
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        node = self._node if self._node in nodes else None
        if node is None and nodes and not self.noneEnabled:
            node = nodes[0]
        self._select(node)

    def _select(self, node: Any) -> None:
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for each in self._nodes():
            self._box.addItem(each.GetName(), each.GetID())
        if self.addEnabled and self.nodeTypes:
            self._box.addItem(f"Create new {self.nodeTypes[0].removeprefix('vtkMRML').removesuffix('Node')}", "+")
        self._box.setCurrentIndex(self._box.findData(node.GetID() if node is not None else ""))
        if node is not self._node:
            self._node = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _chosen(self, index: int) -> None:
        identity = self._box.itemData(index)
        if identity == "+":
            self.addNode()
        else:
            self.setCurrentNodeID(identity)
        self.nodeActivated.emit(self._node)

    def _changed_nodeTypes(self, _: Any) -> None:
        self._refresh()

    _changed_noneEnabled = _changed_addEnabled = _changed_noneDisplay = _changed_nodeTypes
    _changed_showHidden = _changed_showChildNodeTypes = _changed_nodeTypes
