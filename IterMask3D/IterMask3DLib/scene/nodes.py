"""The nodes a run makes for one input, found again through one node that refers to all of them."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import Any

import slicer
import slicer.util

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.scene import names
from IterMask3DLib.scene.hierarchy import folderOf, itemOf, removeItem
from IterMask3DLib.scene.outcomes import curveFrom, curveText
from IterMask3DLib.scene.records import CurveInfo, RunOptions, StepInfo
from IterMask3DLib.scene.tables import readSteps
from IterMask3DLib.scene.words import tr as _


class ResultNodes:
    """Everything that belongs to the result of one input; a thin handle on its root node, made anew whenever it is needed."""

    def __init__(self, root: Any) -> None:
        self.root = root

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultNodes) and other.root is self.root

    def __hash__(self) -> int:
        return id(self.root)

    @classmethod
    def all(cls) -> list[ResultNodes]:
        """Every result of the scene."""
        roots = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [cls(root) for root in roots if root.GetAttribute(names.ROLE) == names.RESULT]

    @classmethod
    def find(cls, inputNode: Any) -> ResultNodes | None:
        """The result of a volume, also in a scene that was loaded; None where there is none."""
        if inputNode is None:
            return None
        return next((nodes for nodes in cls.all() if nodes.root.GetNodeReferenceID(names.INPUT) == inputNode.GetID()), None)

    @classmethod
    def create(cls, inputNode: Any) -> ResultNodes:
        """A root for the result of a volume; the nodes themselves come when there is something to put into them."""
        root = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", f"{inputNode.GetName()} IterMask3D")
        root.SetAttribute(names.ROLE, names.RESULT)
        root.SetNodeReferenceID(names.INPUT, inputNode.GetID())
        return cls(root)

    def __getattr__(self, role: str) -> Any:
        # The roles of OWNED read as attributes: nodes.heatmap is the node or None.
        if role not in names.OWNED:
            raise AttributeError(role)
        return self.root.GetNodeReference(names.reference(role))

    def own(self, role: str, name: str) -> Any:
        """The node of a role, made if it is not there. `name` follows the input's name."""
        node = getattr(self, role)
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass(names.OWNED[role], f"{self.input.GetName()} {name}")
            node.SetAttribute(names.ROLE, role)
            self.root.SetNodeReferenceID(names.reference(role), node.GetID())
        return node

    def adopt(self, role: str, node: Any) -> None:
        """Takes a node of the user's for a role."""
        node.SetAttribute(names.ROLE, role)
        self.root.SetNodeReferenceID(names.reference(role), node.GetID())

    @property
    def input(self) -> Any:
        return self.root.GetNodeReference(names.INPUT)

    @property
    def brainMask(self) -> Any:
        return self.root.GetNodeReference(names.BRAIN_MASK)

    @property
    def maskProxy(self) -> Any:
        return self._proxy(self.maskSequence)

    @property
    def errorProxy(self) -> Any:
        return self._proxy(self.errorSequence)

    @property
    def reconstructionProxy(self) -> Any:
        return self._proxy(self.reconstructionSequence)

    def _proxy(self, sequence: Any) -> Any:
        return self.browser.GetProxyNode(sequence) if self.browser is not None and sequence is not None else None

    @property
    def segmentId(self) -> str:
        """The segment of the anomaly, "" before there is one or after the user removed it."""
        wanted = self.root.GetParameter(names.SEGMENT)
        if not wanted or self.segmentation is None or self.segmentation.GetSegmentation().GetSegment(wanted) is None:
            return ""
        return str(wanted)

    @property
    def stamp(self) -> str:
        """Names the run that made the sweep."""
        return str(self.root.GetParameter(names.STAMP))

    def begin(self, stamp: str, options: RunOptions, brainMask: Any) -> None:
        """A new run writes here from now on: what the last one left of curve, record and provenance is forgotten."""
        for key in (names.CURVE, names.RECORD, names.PROVENANCE):
            self.root.UnsetParameter(key)
        self.root.SetParameter(names.STAMP, stamp)
        self.setOptions(options)
        self.root.SetNodeReferenceID(names.BRAIN_MASK, brainMask.GetID() if brainMask is not None else None)

    @property
    def options(self) -> RunOptions:
        return RunOptions(**self._json(names.OPTIONS))

    def setOptions(self, options: RunOptions) -> None:
        self.setJson(names.OPTIONS, asdict(options))

    @property
    def provenance(self) -> dict[str, Any]:
        return self._json(names.PROVENANCE)

    @property
    def record(self) -> dict[str, Any]:
        """What the outcome says beside its volumes; see `outcomes.outcomeMessage`. Empty before a run ended."""
        return self._json(names.RECORD)

    def setJson(self, key: str, value: Any) -> None:
        self.root.SetParameter(key, json.dumps(value))

    def _json(self, key: str) -> dict[str, Any]:
        text = self.root.GetParameter(key)
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    @property
    def curve(self) -> CurveInfo | None:
        text = self.root.GetParameter(names.CURVE)
        return curveFrom(text) if text else None

    def setCurve(self, curve: CurveInfo) -> None:
        self.root.SetParameter(names.CURVE, curveText(curve))

    @property
    def steps(self) -> list[StepInfo]:
        """Every iteration, in the order of the sequence browser."""
        return readSteps(self.iterationTable)

    def discard(self, role: str) -> None:
        """Takes the node of a role out of the scene, if it is there."""
        node = getattr(self, role)
        if node is not None:
            _removeWithParts(node)

    def remove(self) -> None:
        """Takes the result out of the scene, the segmentation too."""
        scene = slicer.mrmlScene
        proxies = [self.maskProxy, self.errorProxy, self.reconstructionProxy]
        # The browser before its proxies: it would make new ones.
        for node in [self.browser, *(getattr(self, role) for role in names.OWNED), *proxies]:
            if node is not None and scene.IsNodePresent(node):
                _removeWithParts(node)
        removeItem(folderOf(self))
        scene.RemoveNode(self.root)


def needInput(nodes: ResultNodes) -> None:
    """Raises `UserError` where the volume of a result is gone."""
    if nodes.input is None:
        raise UserError(_("The volume of this result is no longer in the scene; load it and run Segment again."))


def newStamp() -> str:
    """A name no other run has."""
    return uuid.uuid4().hex


def _removeWithParts(node: Any) -> None:
    """Removes a node with its displays, its storage and its place in the subject hierarchy, which a scene would keep."""
    removeItem(itemOf(node))
    parts = []
    if node.IsA("vtkMRMLDisplayableNode"):
        parts += [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        parts += [node.GetNthStorageNode(i) for i in range(node.GetNumberOfStorageNodes())]
    slicer.mrmlScene.RemoveNode(node)
    for part in parts:
        if part is not None:
            slicer.mrmlScene.RemoveNode(part)
