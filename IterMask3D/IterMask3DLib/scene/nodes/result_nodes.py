"""The nodes a run makes for one input, found again through one node that refers to all of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import slicer
import slicer.util

from IterMask3DLib.core.artifacts import ThresholdCurve, artifact_from
from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.request import Request
from IterMask3DLib.core.result import HEATMAP, RECONSTRUCTION, LayerKind, Step
from IterMask3DLib.core.settings import changed
from IterMask3DLib.scene.nodes import names
from IterMask3DLib.scene.nodes.hierarchy import folder_of, item_of, place, remove_item
from IterMask3DLib.scene.nodes.tables import read_steps
from IterMask3DLib.scene.nodes.upgrade import upgrade
from IterMask3DLib.scene.translation import tr as _

_LAYER_CLASSES = {
    LayerKind.MASK: "vtkMRMLLabelMapVolumeNode",
    LayerKind.SCORE: "vtkMRMLScalarVolumeNode",
    LayerKind.INTENSITY: "vtkMRMLScalarVolumeNode",
}


def is_ours(node: Any) -> bool:
    """Whether the module made a node; selectors of inputs leave such ones out."""
    return node.GetAttribute(names.ROLE) is not None


def layer_class(kind: LayerKind) -> str:
    """The class of the nodes that hold layers of a kind."""
    return _LAYER_CLASSES[kind]


class ResultNodes:
    """Everything that belongs to the result of one input: a thin handle on its root node, made anew when needed."""

    def __init__(self, root: Any) -> None:
        self.root = root

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResultNodes) and other.root is self.root

    def __hash__(self) -> int:
        return id(self.root)

    @classmethod
    def all(cls) -> list[ResultNodes]:
        """Every result of the scene; those that an earlier version made are upgraded."""
        roots = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        roots = [root for root in roots if root.GetAttribute(names.ROLE) == names.RESULT]
        for root in roots:
            upgrade(root)
        return [cls(root) for root in roots]

    @classmethod
    def find(cls, volume: Any) -> ResultNodes | None:
        """The result of a volume; None where there is none."""
        if volume is None:
            return None
        return next(
            (nodes for nodes in cls.all() if nodes.root.GetNodeReferenceID(names.INPUT) == volume.GetID()), None
        )

    @classmethod
    def create(cls, channels: Mapping[str, Any]) -> ResultNodes:
        """A root for the result of some volumes; the nodes themselves come when there is something to put into them."""
        first = next(iter(channels.values()))
        root = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", f"{first.GetName()} IterMask3D")
        root.SetAttribute(names.ROLE, names.RESULT)
        root.SetParameter(names.FORMAT, names.PRESENT_FORMAT)
        root.SetParameter(names.FOLDER, uuid.uuid4().hex)
        nodes = cls(root)
        nodes._refer_to(channels)
        return nodes

    def __getattr__(self, role: str) -> Any:
        # The roles of OWNED read as attributes: nodes.browser is the node or None.
        if role not in names.OWNED:
            raise AttributeError(role)
        return self.node(role)

    def node(self, role: str) -> Any:
        """The node of a role, or None."""
        return self.root.GetNodeReference(names.reference(role))

    def own(self, role: str, name: str, kind: str = "") -> Any:
        """The node of a role, made if it is not there, of the class `kind` where it has changed.

        Args:
            name: follows the input's name.
            kind: class of the node; that of `names.OWNED` where it is not given.
        """
        kind, node = kind or names.OWNED[role], self.node(role)
        if node is not None and node.GetClassName() != kind:
            self.discard(role)
            node = None
        if node is None:
            node = slicer.mrmlScene.AddNewNodeByClass(kind, f"{self.input.GetName()} {name}")
            node.SetAttribute(names.ROLE, role)
            self.refer(role, node)
        return node

    def refer(self, role: str, node: Any) -> None:
        """Lets a role be that of a node, which may be the user's."""
        self.root.SetNodeReferenceID(names.reference(role), node.GetID())

    def release(self, role: str) -> None:
        """Leaves the node of a role to the user."""
        node = self.node(role)
        if node is not None:
            node.RemoveAttribute(names.ROLE)
        self.root.SetNodeReferenceID(names.reference(role), None)

    # What the user gave

    @property
    def input(self) -> Any:
        """The volume whose grid the result lies on."""
        return self.root.GetNodeReference(names.INPUT)

    @property
    def channels(self) -> dict[str, Any]:
        """The volumes by the names of the model's inputs, the reference first; None for one that is gone."""
        given = self._json(names.CHANNELS) or [""]
        return {name: self.root.GetNthNodeReference(names.INPUT, n) for n, name in enumerate(given)}

    @property
    def brain_mask(self) -> Any:
        return self.root.GetNodeReference(names.BRAIN_MASK)

    def _refer_to(self, channels: Mapping[str, Any]) -> None:
        self.set_json(names.CHANNELS, list(channels))
        self.root.RemoveNodeReferenceIDs(names.INPUT)
        for node in channels.values():
            self.root.AddNodeReferenceID(names.INPUT, node.GetID())

    # Layers

    def layer(self, name: str) -> Any:
        """The volume of a layer of the result, None where there is none."""
        return self.node(f"{names.LAYER}{name}")

    @property
    def heatmap(self) -> Any:
        return self.layer(HEATMAP)

    @property
    def reconstruction(self) -> Any:
        return self.layer(RECONSTRUCTION)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the result's layers that are volumes."""
        return self._roles(names.LAYER)

    @property
    def unit(self) -> str:
        """What one unit of the heatmap is, "" where it has no name."""
        return str(self.outcome.get("layers", {}).get(HEATMAP, {}).get("unit", ""))

    # Steps

    def sequence(self, layer: str) -> Any:
        """The sequence of a layer of the steps, None where there is none."""
        return self.node(f"{names.STEP}{layer}")

    def proxy(self, layer: str) -> Any:
        """What the browser shows of a layer of the steps, None where it shows none."""
        sequence = self.sequence(layer)
        return self.browser.GetProxyNode(sequence) if self.browser is not None and sequence is not None else None

    @property
    def step_layers(self) -> dict[str, LayerKind]:
        """The layers of the steps, and what their voxels are."""
        return {name: LayerKind(self.sequence(name).GetAttribute(names.KIND)) for name in self._roles(names.STEP)}

    @property
    def steps(self) -> list[Step]:
        """The numbers of every iteration, in the order of the sequence browser."""
        return read_steps(self.iteration_table)

    def _roles(self, beginning: str) -> tuple[str, ...]:
        start = names.reference(beginning)
        count = self.root.GetNumberOfNodeReferenceRoles()
        every = (str(self.root.GetNthNodeReferenceRole(n)) for n in range(count))
        return tuple(
            role.removeprefix(start)
            for role in every
            if role.startswith(start) and self.root.GetNodeReference(role) is not None
        )

    # Records

    @property
    def segment_id(self) -> str:
        """The segment of the anomaly, "" before there is one or after the user removed it."""
        wanted = self.root.GetParameter(names.SEGMENT)
        if not wanted or self.segmentation is None or self.segmentation.GetSegmentation().GetSegment(wanted) is None:
            return ""
        return str(wanted)

    @property
    def run_id(self) -> str:
        """Names the run that can be gone on with."""
        return str(self.root.GetParameter(names.RUN_ID))

    def begin(self, run_id: str, request: Request, channels: Mapping[str, Any], brain_mask: Any) -> None:
        """A new run writes here from now on: what the last one left of records is forgotten."""
        for key in (names.ARTIFACTS, names.OUTCOME):
            self.root.UnsetParameter(key)
        self.root.SetParameter(names.RUN_ID, run_id)
        self.set_request(request)
        self._refer_to(channels)
        self.root.SetNodeReferenceID(names.BRAIN_MASK, brain_mask.GetID() if brain_mask is not None else None)

    @property
    def request(self) -> Request:
        """The choices that the result was made with."""
        fields = self._json(names.REQUEST)
        return changed(Request(settings=fields.pop("settings", {})), fields, "scene")

    def set_request(self, request: Request) -> None:
        self.set_json(names.REQUEST, asdict(request))

    @property
    def outcome(self) -> dict[str, Any]:
        """What the engine said beside volumes and lesions (fields of its message `result`); {} before a run ended."""
        return dict(self._json(names.OUTCOME))

    @property
    def brain_ml(self) -> float:
        """Millilitres of the brain, as the engine measured it; 0 before it did."""
        return float(self.root.GetParameter(names.BRAIN_ML) or 0)

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the result."""
        return dict(self.outcome.get("provenance", {}))

    @property
    def curve(self) -> ThresholdCurve | None:
        """The threshold curve, None where there is none (yet)."""
        record = self._json(names.ARTIFACTS).get(ThresholdCurve.kind)
        return ThresholdCurve.from_record(record) if record is not None else None

    @property
    def least_shown(self) -> float | None:
        """The score from which on the heatmap is of interest, as the method chose it; None where it chose none."""
        found = (artifact_from(kind, record) for kind, record in self._json(names.ARTIFACTS).items())
        levels = (getattr(each, name, None) for each in found for name in ("extent", "threshold"))
        return next((level for level in levels if level is not None), None)

    @property
    def artifacts(self) -> list[dict[str, Any]]:
        """Kind and record of everything that was found beside layers and scores."""
        return [{"kind": kind, "record": record} for kind, record in self._json(names.ARTIFACTS).items()]

    def set_artifact(self, kind: str, record: Mapping[str, Any]) -> None:
        self.set_json(names.ARTIFACTS, {**self._json(names.ARTIFACTS), kind: record})

    def set_json(self, key: str, value: Any) -> None:
        self.root.SetParameter(key, json.dumps(value))

    def _json(self, key: str) -> Any:
        text = self.root.GetParameter(key)
        return json.loads(text) if text else {}

    # Place and end

    def place(self) -> None:
        """Puts every node in its place in the subject hierarchy."""
        others = [self.node(role) for role in names.OWNED if role != "segmentation"]
        others += [self.layer(name) for name in self.layers]
        others += [find(name) for name in self.step_layers for find in (self.sequence, self.proxy)]
        place(self.input, self.segmentation, others, self.root.GetParameter(names.FOLDER))

    def discard(self, role: str) -> None:
        """Takes the node of a role out of the scene, if it is there and the module made it."""
        node = self.node(role)
        if node is not None and is_ours(node):
            _remove_with_parts(node)

    def remove(self) -> None:
        """Takes the result out of the scene; of a segmentation of the user's the anomaly alone."""
        proxies = [self.proxy(layer) for layer in self.step_layers]
        if self.segmentation is not None and not is_ours(self.segmentation):
            self.segmentation.GetSegmentation().RemoveSegment(self.segment_id)
        # The browser before its proxies: it would make new ones.
        layers = [f"{names.LAYER}{name}" for name in self.layers] + [f"{names.STEP}{name}" for name in self.step_layers]
        for role in ["browser", *names.OWNED, *layers]:
            self.discard(role)
        for proxy in proxies:
            if proxy is not None and slicer.mrmlScene.IsNodePresent(proxy):
                _remove_with_parts(proxy)
        remove_item(folder_of(self.root.GetParameter(names.FOLDER)))
        slicer.mrmlScene.RemoveNode(self.root)


def need_input(nodes: ResultNodes) -> None:
    """Raises `UserError` where a volume of a result is gone."""
    if None in nodes.channels.values():
        raise UserError(_("The volume of this result is no longer in the scene; load it and run Segment again."))


def _remove_with_parts(node: Any) -> None:
    """Removes a node with its displays, storage and place in the subject hierarchy, which a scene would keep."""
    remove_item(item_of(node))
    parts = []
    if node.IsA("vtkMRMLDisplayableNode"):
        parts += [node.GetNthDisplayNode(i) for i in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        parts += [node.GetNthStorageNode(i) for i in range(node.GetNumberOfStorageNodes())]
    slicer.mrmlScene.RemoveNode(node)
    for part in parts:
        if part is not None:
            slicer.mrmlScene.RemoveNode(part)
