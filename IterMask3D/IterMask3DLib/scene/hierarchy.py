"""Where results stand in the subject hierarchy: the segmentation beside its volume, under the same study, the rest in a folder there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
import vtk

from IterMask3DLib.scene import names

if TYPE_CHECKING:
    from IterMask3DLib.scene.nodes import ResultNodes

_IN_FOLDER = (
    "editedMask",
    "heatmap",
    "reconstruction",
    "brain",
    "browser",
    "maskSequence",
    "errorSequence",
    "reconstructionSequence",
    "iterationTable",
    "curveTable",
    "chosenTable",
    "lesionTable",
    "curveChart",
    "thresholdSeries",
    "fitSeries",
    "chosenSeries",
)
_FOLDER = "IterMask3D.Folder"


def placeResults(nodes: ResultNodes) -> None:
    """Puts every node of a result in its place. DICOM export asks for the segmentation under the volume's study."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.GetItemParent(_item(hierarchy, nodes.input, hierarchy.GetSceneItemID()))
    if nodes.segmentation is not None:
        hierarchy.SetItemParent(_item(hierarchy, nodes.segmentation, study), study)
    folder = folderOf(nodes) or _newFolder(hierarchy, nodes, study)
    members = [getattr(nodes, role) for role in _IN_FOLDER] + [nodes.maskProxy, nodes.errorProxy, nodes.reconstructionProxy]
    for node in members:
        if node is not None:
            hierarchy.SetItemParent(_item(hierarchy, node, folder), folder)


def folderOf(nodes: ResultNodes) -> int:
    """The item of the folder of a result, 0 where there is none."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    found = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), found, True)
    items = (found.GetId(i) for i in range(found.GetNumberOfIds()))
    return next((item for item in items if hierarchy.GetItemAttribute(item, _FOLDER) == _key(nodes)), 0)


def removeItem(item: int) -> None:
    """Takes an item away and nothing else; 0 is none. The application does so for nodes by itself, other hosts of MRML do not."""
    if item:
        slicer.mrmlScene.GetSubjectHierarchyNode().RemoveItem(item, False, False)


def itemOf(node: Any) -> int:
    """The item of a node, 0 where there is none."""
    return int(slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(node))


def _newFolder(hierarchy: Any, nodes: ResultNodes, study: int) -> int:
    item = int(hierarchy.CreateFolderItem(study, f"{nodes.input.GetName()} IterMask3D"))
    hierarchy.SetItemAttribute(item, _FOLDER, _key(nodes))
    return item


def _key(nodes: ResultNodes) -> str:
    # The stamp changes with every run and node ids with every import; the folder must be found after both.
    key = nodes.root.GetParameter(names.FOLDER)
    if not key:
        key = nodes.stamp
        nodes.root.SetParameter(names.FOLDER, key)
    return str(key)


def _item(hierarchy: Any, node: Any, parent: int) -> int:
    """The item of a node; the application makes them by itself, other hosts of MRML do not."""
    item = hierarchy.GetItemByDataNode(node)
    return int(item if item != hierarchy.GetInvalidItemID() else hierarchy.CreateItem(parent, node))
