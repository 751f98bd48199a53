"""Where results stand in the subject hierarchy: the segmentation beside its volume, the rest in a folder there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer
import vtk

_FOLDER = "IterMask3D.Folder"


def place(volume: Any, segmentation: Any, others: Iterable[Any], key: str) -> None:
    """Puts the nodes of a result in their place. DICOM export asks for the segmentation under the volume's study.

    Args:
        key: names the folder of the others, made if it is not there; None among the nodes is nothing.
    """
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.GetItemParent(_item(hierarchy, volume, hierarchy.GetSceneItemID()))
    if segmentation is not None:
        hierarchy.SetItemParent(_item(hierarchy, segmentation, study), study)
    folder = folder_of(key)
    if not folder:
        folder = int(hierarchy.CreateFolderItem(study, f"{volume.GetName()} IterMask3D"))
        hierarchy.SetItemAttribute(folder, _FOLDER, key)
    for node in others:
        if node is not None:
            hierarchy.SetItemParent(_item(hierarchy, node, folder), folder)


def folder_of(key: str) -> int:
    """The item of the folder of a result, 0 where there is none. Node ids would change with every import."""
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    found = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), found, True)
    items = (found.GetId(i) for i in range(found.GetNumberOfIds()))
    return next((item for item in items if hierarchy.GetItemAttribute(item, _FOLDER) == key), 0)


def remove_item(item: int) -> None:
    """Takes an item away, 0 is none. The application does so for nodes by itself, other hosts of MRML do not."""
    if item:
        slicer.mrmlScene.GetSubjectHierarchyNode().RemoveItem(item, False, False)


def item_of(node: Any) -> int:
    """The item of a node, 0 where there is none."""
    return int(slicer.mrmlScene.GetSubjectHierarchyNode().GetItemByDataNode(node))


def _item(hierarchy: Any, node: Any, parent: int) -> int:
    """The item of a node; the application makes them by itself, other hosts of MRML do not."""
    item = hierarchy.GetItemByDataNode(node)
    return int(item if item != hierarchy.GetInvalidItemID() else hierarchy.CreateItem(parent, node))
