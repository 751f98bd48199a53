"""Notices when the user edits an anomaly, and tells it from what the module writes itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import slicer

from IterMask3DLib.scene.nodes.result_nodes import ResultNodes
from IterMask3DLib.scene.nodes.segmentations import fingerprint, tag_edited


class EditWatch:
    """Observes the segmentations of results. `on_edited` hears of every edit, after the segment was tagged."""

    def __init__(self, on_edited: Callable[[ResultNodes], None]) -> None:
        self._on_edited = on_edited
        self._observed: dict[str, tuple[Any, list[int]]] = {}
        self._prints: dict[str, tuple[int, ...]] = {}
        self._writing = 0

    def watch(self, nodes: ResultNodes) -> None:
        """Begins to observe a result's segmentation; again is no harm."""
        if nodes.segmentation is None:
            return
        key, segmentation = nodes.root.GetID(), nodes.segmentation.GetSegmentation()
        self._prints[key] = fingerprint(nodes)
        known = self._observed.get(key)
        if known is not None and known[0] is segmentation:
            return
        self._drop(key)
        # After a scene was read, an edit fires the second of these events alone.
        events = (slicer.vtkSegmentation.SourceRepresentationModified, slicer.vtkSegmentation.SegmentModified)
        tags = [segmentation.AddObserver(event, lambda *_: self._edited(nodes)) for event in events]
        self._observed[key] = (segmentation, tags)

    def unwatch(self) -> None:
        """Leaves every segmentation alone."""
        for key in list(self._observed):
            self._drop(key)

    @contextmanager
    def own_writing(self, nodes: ResultNodes) -> Iterator[None]:
        """What is written meanwhile is no edit; what the segmentation is afterwards is observed."""
        self._writing += 1
        try:
            yield
        finally:
            self._writing -= 1
        self.watch(nodes)

    def _drop(self, key: str) -> None:
        known = self._observed.pop(key, None)
        if known is not None:
            for tag in known[1]:
                known[0].RemoveObserver(tag)

    def _edited(self, nodes: ResultNodes) -> None:
        if self._writing:
            return
        # The events also come for other segments, for names and colours, and when the scene is closed.
        key, found = nodes.root.GetID(), fingerprint(nodes)
        if not found or found == self._prints.get(key):
            return
        self._prints[key] = found
        tag_edited(nodes)
        self._on_edited(nodes)
