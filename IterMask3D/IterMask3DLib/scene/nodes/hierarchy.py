"""Where results stand in the subject hierarchy: the segmentation beside its volume, the rest in a folder there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
import vtk

from IterMask3DLib.scene.nodes import names

if TYPE_CHECKING:
    from IterMask3DLib.scene.nodes.result_nodes import ResultNodes

_FOLDER = "IterMask3D.Folder"


def place_results(nodes: ResultNodes) -> None:
    """Puts every node of a result in its place. DICOM export asks for the segmentation under the volume's study."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.GetItemParent(_item(hierarchy, nodes.input, hierarchy.GetSceneItemID()))
    if nodes.segmentation is not None:
        hierarchy.SetItemParent(_item(hierarchy, nodes.segmentation, study), study)
    folder = folder_of(nodes) or _new_folder(hierarchy, nodes, study)
    members = [nodes.node(role) for role in names.OWNED if role != "segmentation"]
    members += [nodes.layer(name) for name in nodes.layers]
    for name in nodes.step_layers:
        members += [nodes.sequence(name), nodes.proxy(name)]
    for node in members:
        if node is not None:
            hierarchy.SetItemParent(_item(hierarchy, node, folder), folder)


def folder_of(nodes: ResultNodes) -> int:
    """The item of the folder of a result, 0 where there is none."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    found = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), found, True)
    items = (found.GetId(i) for i in range(found.GetNumberOfIds()))
    return next((item for item in items if hierarchy.GetItemAttribute(item, _FOLDER) == _key(nodes)), 0)


def remove_item(item: int) -> None:
    """Takes an item away, 0 is none. The application does so for nodes by itself, other hosts of MRML do not."""
    if item:
        slicer.mrmlScene.GetSubjectHierarchyNode().RemoveItem(item, False, False)


def item_of(node: Any) -> int:
    """The item of a node, 0 where there is none."""
    return int(slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(node))


def _new_folder(hierarchy: Any, nodes: ResultNodes, study: int) -> int:
    item = int(hierarchy.CreateFolderItem(study, f"{nodes.input.GetName()} IterMask3D"))
    hierarchy.SetItemAttribute(item, _FOLDER, _key(nodes))
    return item


def _key(nodes: ResultNodes) -> str:
    # Node ids change with every import; the folder must be found after it.
    return str(nodes.root.GetParameter(names.FOLDER))


def _item(hierarchy: Any, node: Any, parent: int) -> int:
    """The item of a node; the application makes them by itself, other hosts of MRML do not."""
    item = hierarchy.GetItemByDataNode(node)
    return int(item if item != hierarchy.GetInvalidItemID() else hierarchy.CreateItem(parent, node))
