"""Loading and saving by storage nodes, behind the names that `slicer.util` calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from Testing.slicer_host.stand_ins import stands_for

READERS = {
    "VolumeFile": ("vtkMRMLScalarVolumeNode", (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha")),
    "SegmentationFile": ("vtkMRMLSegmentationNode", (".seg.nrrd",)),
    "SequenceFile": ("vtkMRMLSequenceNode", (".seq.nrrd",)),
    "TableFile": ("vtkMRMLTableNode", (".csv", ".tsv")),
    "SceneFile": ("", (".mrb", ".mrml")),
}
"""Kind of file: class of its node, and endings."""


@stands_for("qSlicerCoreIOManager")
class CoreIOManager:
    """The members of qSlicerCoreIOManager that `slicer.util` calls."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

    def fileType(self, filename: str) -> str:
        name = str(filename).lower()
        kinds = [(len(end), kind) for kind, (_, endings) in READERS.items() for end in endings if name.endswith(end)]
        return max(kinds)[1] if kinds else "NoFile"

    def fileWriterFileType(self, node: Any) -> str:
        return next((kind for kind, (name, _) in READERS.items() if name and node.IsA(name)), "NoFile")

    def loadNodes(self, fileType: str, properties: dict[str, Any], loaded: Any, messages: Any = None) -> bool:
        path = properties["fileName"]
        if not Path(path).is_file() or fileType not in READERS:
            return False
        if fileType == "SceneFile":
            return self._loadScene(path, bool(properties.get("clear", False)), messages)
        kind = "vtkMRMLLabelMapVolumeNode" if properties.get("labelmap") else READERS[fileType][0]
        stem = properties.get("name") or Path(path).name.split(".")[0]
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(stem))
        node.AddDefaultStorageNode(path)
        if not node.GetStorageNode().ReadData(node):
            self._scene.RemoveNode(node)
            return False
        if node.IsA("vtkMRMLDisplayableNode"):
            node.CreateDefaultDisplayNodes()
        loaded.AddItem(node)
        return True

    def _loadScene(self, path: str, clear: bool, messages: Any) -> bool:
        if path.endswith(".mrb"):
            return bool(self._scene.ReadFromMRB(path, clear, messages))
        self._scene.SetURL(path)
        return bool(self._scene.Connect() if clear else self._scene.Import())

    def saveNodes(self, fileType: str, properties: dict[str, Any], messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if fileType == "SceneFile":
            if path.endswith(".mrb"):
                return bool(self._scene.WriteToMRB(path, None, messages))
            self._scene.SetURL(path)
            return bool(self._scene.Commit())
        node = self._scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))

    def extractKnownExtension(self, filename: str, node: Any) -> str:
        storage = node.CreateDefaultStorageNode()
        extension = storage.GetSupportedFileExtension(str(filename), False, True)
        storage.UnRegister(None)
        return str(extension)

    def fileWriterExtensions(self, node: Any) -> tuple[str, ...]:
        storage = node.CreateDefaultStorageNode()
        types = storage.GetSupportedWriteFileTypes()
        found = tuple(types.GetValue(i) for i in range(types.GetNumberOfValues()))
        storage.UnRegister(None)
        return found

    def exportNodes(
        self,
        nodeIDs: Sequence[str],
        fileNames: Sequence[str],
        properties: dict[str, Any],
        hardenTransform: bool,
        messages: Any = None,
    ) -> bool:
        """Writes through a storage node of its own, so that the node's stays as it is."""
        done = []
        for nodeID, name in zip(nodeIDs, fileNames, strict=True):
            node = self._scene.GetNodeByID(nodeID)
            storage = node.CreateDefaultStorageNode()
            self._scene.AddNode(storage)
            storage.SetFileName(str(name))
            done.append(bool(storage.WriteData(node)))
            self._scene.RemoveNode(storage)
            storage.UnRegister(None)
        return all(done)
