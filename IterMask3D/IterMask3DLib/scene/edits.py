"""Notices when the user edits an anomaly, and tells it from what the module writes itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import slicer
import vtk

from IterMask3DLib.scene.nodes import ResultNodes
from IterMask3DLib.scene.segmentations import tagEdited


class EditWatch:
    """Observes the segmentations of results. `onEdited` hears of every edit, after the segment was tagged."""

    def __init__(self, onEdited: Callable[[ResultNodes], None]) -> None:
        self._onEdited = onEdited
        self._observed: dict[str, tuple[Any, int]] = {}
        self._own = 0

    def watch(self, nodes: ResultNodes) -> None:
        """Begins to observe a result's segmentation; again is no harm."""
        if nodes.segmentation is None:
            return
        key, segmentation = nodes.root.GetID(), nodes.segmentation.GetSegmentation()
        known = self._observed.get(key)
        if known is not None and known[0] is segmentation:
            return
        self._drop(key)

        @vtk.calldata_type(vtk.VTK_STRING)
        def heard(_caller: Any, _event: str, segmentId: str = "") -> None:
            # Without a segment it is the representation of all that changed, as when a scene is closed.
            if segmentId and segmentId == nodes.segmentId:
                self._edited(nodes)

        tag = segmentation.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, heard)
        self._observed[key] = (segmentation, tag)

    def unwatch(self) -> None:
        """Leaves every segmentation alone."""
        for key in list(self._observed):
            self._drop(key)

    @contextmanager
    def ownWriting(self) -> Iterator[None]:
        """What is written meanwhile is no edit."""
        self._own += 1
        try:
            yield
        finally:
            self._own -= 1

    def _drop(self, key: str) -> None:
        known = self._observed.pop(key, None)
        if known is not None:
            known[0].RemoveObserver(known[1])

    def _edited(self, nodes: ResultNodes) -> None:
        if self._own:
            return
        tagEdited(nodes)
        self._onEdited(nodes)
