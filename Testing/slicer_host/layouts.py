"""The layout of the application: its node, the logic that makes its views, and a slice logic for each slice view."""

from __future__ import annotations

from typing import Any

import slicer

FOUR_UP = 3


class Layouts:
    """What the layout manager does with nodes, without its widgets. `close` takes it away again."""

    def __init__(self) -> None:
        self._slices: dict[str, Any] = {}
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self._logic.SetMRMLScene(slicer.mrmlScene)
        self.node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        self._tag = self.node.AddObserver("ModifiedEvent", lambda *_: self._followSlices())
        self.node.SetViewArrangement(FOUR_UP)

    def visible(self) -> list[str]:
        """The names of the views that the layout shows."""
        nodes = self._logic.GetViewNodes()
        shown = (nodes.GetItemAsObject(i) for i in range(nodes.GetNumberOfItems()))
        return sorted(node.GetLayoutName() for node in shown if node.GetLayoutName())

    def composite(self, name: str) -> Any:
        """What a slice view shows."""
        return self._slices[name].GetSliceCompositeNode()

    def close(self) -> None:
        self.node.RemoveObserver(self._tag)
        logics = slicer.app.applicationLogic().GetSliceLogics()
        for logic in self._slices.values():
            logics.RemoveItem(logic)
            logic.SetMRMLScene(None)
        self._slices.clear()
        self._logic.SetMRMLScene(None)
        slicer.mrmlScene.RemoveNode(self.node)

    def _followSlices(self) -> None:
        nodes = slicer.mrmlScene.GetNodesByClass("vtkMRMLSliceNode")
        for index in range(nodes.GetNumberOfItems()):
            node = nodes.GetItemAsObject(index)
            if node.GetLayoutName() not in self._slices:
                logic = slicer.vtkMRMLSliceLogic()
                logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
                logic.SetMRMLScene(slicer.mrmlScene)
                logic.SetSliceNode(node)
                slicer.app.applicationLogic().GetSliceLogics().AddItem(logic)
                self._slices[node.GetLayoutName()] = logic
        nodes.UnRegister(None)
