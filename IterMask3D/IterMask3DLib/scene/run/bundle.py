"""Writes the scene as a bundle (.mrb) in small portions: Slicer's own writer keeps the application busy to the end.

What is written is what Slicer writes: the file of each node by a storage node of the class that it has, and a .mrml
file that refers to them. Files are compressed by the archive instead of by themselves, a piece at a time, and a long
sequence of volumes goes into it volume by volume. The nodes' own storage nodes name the files that they named before.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray

from IterMask3DLib.core.errors import UserError
from IterMask3DLib.core.files import staged_folder, whole_file
from IterMask3DLib.scene.nodes.volumes import voxels_of
from IterMask3DLib.scene.translation import tr as _

_PIECE_BYTES = 1 << 20
"""How much is compressed at a time."""
_LARGE_BYTES = 1 << 30
"""From where on the archive needs its form for large files; its own limit is twice that."""
_LEVEL = 1
"""Of the compression; Slicer's own is the same."""
_NAME_LENGTH = 50


def write_bundle(path: Path) -> Iterator[float]:
    """Writes the scene; gives the share that is done after each portion of the work.

    What is changed in the meantime is written again in the end.

    Raises:
        OSError: the place cannot be written. UserError: a node cannot.
    """
    with staged_folder(path) as folder, whole_file(path) as part:
        archive = zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        with archive, _Bundle(archive, folder, path.stem) as bundle:
            nodes = bundle.changed()
            total, done = sum(map(_weight, nodes)), 0
            for node in nodes:
                for _piece in bundle.add(node):
                    yield done / total
                done += _weight(node)
            for node in bundle.changed():
                for _piece in bundle.add(node):
                    yield 1.0
            # One portion: what the scene says of its nodes and what was changed since belong together.
            for node in bundle.changed():
                for _piece in bundle.add(node):
                    pass
            bundle.add_scene()


class _Bundle:
    """An archive that is being filled; a context that stops watching the nodes at its end."""

    def __init__(self, archive: zipfile.ZipFile, folder: Path, name: str) -> None:
        self._archive, self._name = archive, name
        self._root = folder / name
        self._data = self._root / "Data"
        self._data.mkdir(parents=True)
        self._files: dict[str, str] = {}
        self._stale: set[str] = set()
        self._watched: list[tuple[Any, int]] = []

    def __enter__(self) -> _Bundle:
        return self

    def __exit__(self, *_error: object) -> None:
        for node, tag in self._watched:
            node.RemoveObserver(tag)

    def changed(self) -> list[Any]:
        """The nodes whose content is not in the archive as it is now."""
        nodes = slicer.util.getNodesByClass("vtkMRMLStorableNode")
        return [node for node in nodes if _is_stored(node) and not self._is_there(node)]

    def _is_there(self, node: Any) -> bool:
        return node.GetID() in self._files and node.GetID() not in self._stale

    def add(self, node: Any) -> Iterator[None]:
        """Puts the content of a node into the archive, piece by piece."""
        if not slicer.mrmlScene.IsNodePresent(node):
            return
        storage = node.GetStorageNode()
        path = self._data / self._free_name(node, storage)
        frames = _frames(node, storage)
        _store(node if frames is None else _outline(node), storage.GetClassName(), path)
        self._watch(node)
        self._files[node.GetID()] = path.name
        yield
        if frames is not None:
            yield from self._append(f"{self._data.name}/{path.name}", [_header(path, frames), *frames])
            path.unlink()
        yield from self._take_files()

    def add_scene(self) -> None:
        """Puts the .mrml file into the archive, and what Slicer writes beside it: from 5.12 on, hidden nodes again."""
        path = self._root / f"{self._name}.mrml"
        with _stored_in(self._data, self._files), _at(path):
            if not slicer.mrmlScene.Commit(str(path)):
                raise UserError(_("The scene could not be written; Slicer's error log says why."))
        for _piece in self._take_files():
            pass

    def _take_files(self) -> Iterator[None]:
        """Moves every file of the folder into the archive: a node may have more than one."""
        for path in sorted(path for path in self._root.rglob("*") if path.is_file()):
            content = np.fromfile(path, dtype=np.uint8)
            yield from self._append(path.relative_to(self._root).as_posix(), [content])
            path.unlink()

    def _append(self, name: str, arrays: Iterable[NDArray[Any]]) -> Iterator[None]:
        arrays = list(arrays)
        large = sum(array.nbytes for array in arrays) > _LARGE_BYTES
        with self._archive.open(f"{self._name}/{name}", "w", force_zip64=large) as file:
            for array in arrays:
                whole = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
                for start in range(0, len(whole), _PIECE_BYTES):
                    file.write(whole[start : start + _PIECE_BYTES])
                    yield

    def _free_name(self, node: Any, storage: Any) -> str:
        stem = re.sub(r"[^\w.+-]+", "_", node.GetName() or "", flags=re.ASCII)[:_NAME_LENGTH].strip("._") or "node"
        ending = storage.GetDefaultWriteFileExtension()
        taken, number, name = set(self._archive.namelist()), 1, f"{stem}.{ending}"
        while f"{self._name}/Data/{name}" in taken:
            number += 1
            name = f"{stem}_{number}.{ending}"
        return name

    def _watch(self, node: Any) -> None:
        key = node.GetID()
        if key in self._files:
            self._stale.discard(key)
            return
        events = node.GetContentModifiedEvents()
        for index in range(events.GetNumberOfValues()):
            tag = node.AddObserver(events.GetValue(index), lambda *_: self._stale.add(key))
            self._watched.append((node, tag))


def _is_stored(node: Any) -> bool:
    """Whether a node has a file of its own in a bundle; it gets a storage node, as when Slicer writes one."""
    if not node.GetSaveWithScene():
        return False
    if node.GetStorageNode() is None:
        node.AddDefaultStorageNode()
    return node.GetStorageNode() is not None


def _weight(node: Any) -> int:
    return int(max(1, node.GetNumberOfDataNodes())) if node.IsA("vtkMRMLSequenceNode") else 1


def _store(node: Any, kind: str, path: Path) -> None:
    """Writes a node, not compressed, by a storage node that is none of the scene's."""
    storage = slicer.mrmlScene.CreateNodeByClass(kind)
    storage.UnRegister(None)
    storage.SetScene(slicer.mrmlScene)
    storage.SetFileName(str(path))
    storage.SetUseCompression(False)
    if not storage.WriteData(node):
        raise UserError(_("{name} could not be written; free space, or remove it from the scene.", name=node.GetName()))


def _frames(node: Any, storage: Any) -> list[NDArray[Any]] | None:
    """The volumes of a sequence that is one file of them, [k, j, i]; None for every other node."""
    if storage.GetClassName() != "vtkMRMLVolumeSequenceStorageNode":
        return None
    items = [node.GetNthDataNode(number) for number in range(node.GetNumberOfDataNodes())]
    if not items or not all(item.IsA("vtkMRMLVolumeNode") and item.GetImageData() is not None for item in items):
        return None
    frames = [voxels_of(item) for item in items]
    alike = len({(frame.shape, frame.dtype) for frame in frames}) == 1
    return frames if alike and frames[0].ndim == 3 else None


def _outline(sequence: Any) -> Any:
    """The same sequence with a single voxel in each volume: its file begins as that of the whole one."""
    outline = slicer.vtkMRMLSequenceNode()
    outline.SetName(sequence.GetName())
    outline.SetIndexName(sequence.GetIndexName())
    outline.SetIndexUnit(sequence.GetIndexUnit())
    outline.SetIndexType(sequence.GetIndexType())
    for name in sequence.GetAttributeNames():
        outline.SetAttribute(name, sequence.GetAttribute(name))
    for number in range(sequence.GetNumberOfDataNodes()):
        frame = sequence.GetNthDataNode(number)
        voxel = getattr(slicer, frame.GetClassName())()
        image, matrix = vtk.vtkImageData(), vtk.vtkMatrix4x4()
        image.SetDimensions(1, 1, 1)
        image.AllocateScalars(frame.GetImageData().GetScalarType(), 1)
        frame.GetIJKToRASMatrix(matrix)
        voxel.SetIJKToRASMatrix(matrix)
        voxel.SetAndObserveImageData(image)
        for name in frame.GetAttributeNames():
            voxel.SetAttribute(name, frame.GetAttribute(name))
        outline.SetDataNodeAtValue(voxel, sequence.GetNthIndexValue(number))
    return outline


def _header(path: Path, frames: list[NDArray[Any]]) -> NDArray[np.uint8]:
    """The header of the file of an outline, with the sizes of the whole."""
    header, end, _voxels = path.read_bytes().partition(b"\n\n")
    sizes = b"sizes: %d %d %d %d" % (*frames[0].shape[::-1], len(frames))
    return np.frombuffer(re.sub(rb"(?m)^sizes: .*$", sizes, header, count=1) + end, dtype=np.uint8)


@contextmanager
def _stored_in(folder: Path, files: dict[str, str]) -> Iterator[None]:
    """Lets storage nodes name the files of the bundle, by the ids of their nodes, while the scene is written."""
    storages = slicer.util.getNodesByClass("vtkMRMLStorageNode")
    before = [(storage, storage.GetFileName(), _more_files(storage)) for storage in storages]
    try:
        for key, name in files.items():
            node = slicer.mrmlScene.GetNodeByID(key)
            if node is not None and node.GetStorageNode() is not None:
                node.GetStorageNode().ResetFileNameList()
                node.GetStorageNode().SetFileName(str(folder / name))
        yield
    finally:
        for storage, name, more in before:
            storage.ResetFileNameList()
            storage.SetFileName(name)
            for other in more:
                storage.AddFileName(other)


def _more_files(storage: Any) -> list[str]:
    return [storage.GetNthFileName(number) for number in range(storage.GetNumberOfFileNames())]


@contextmanager
def _at(path: Path) -> Iterator[None]:
    """Lets the scene lie at a path, to which the names of files are relative."""
    scene = slicer.mrmlScene
    url, root = scene.GetURL(), scene.GetRootDirectory()
    try:
        scene.SetURL(str(path))
        scene.SetRootDirectory(str(path.parent))
        yield
    finally:
        scene.SetURL(url)
        scene.SetRootDirectory(root)
