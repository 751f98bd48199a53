"""Slicer's segment editor inside the panel."""

from __future__ import annotations

from typing import Any

import slicer

_EFFECTS = ("Threshold", "Paint", "Draw", "Erase", "Level tracing", "Islands", "Smoothing", "Scissors")
_UNDO_STATES = 10


class Editor:
    """The editor widget and the node that keeps its settings; the order in which its nodes are set matters."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._widget = slicer.qMRMLSegmentEditorWidget()
        self._widget.segmentationNodeSelectorVisible = False
        self._widget.sourceVolumeNodeSelectorVisible = False
        self._widget.switchToSegmentationsButtonVisible = False
        self._widget.maximumNumberOfUndoStates = _UNDO_STATES
        self._widget.setEffectNameOrder(list(_EFFECTS))
        self._widget.unorderedEffectsVisible = False
        self._widget.setMRMLScene(slicer.mrmlScene)
        frame.layout().addWidget(self._widget)

    @property
    def segmentation(self) -> Any:
        return self._widget.segmentationNode()

    def edit(self, segmentation: Any, source: Any) -> None:
        """Shows a segmentation (None: nothing) with the volume whose intensities the effects use."""
        if segmentation is None and self._widget.mrmlSegmentEditorNode() is None:
            return
        self._ensure_node()
        if segmentation is None:
            self._widget.setSourceVolumeNode(None)
            self._widget.setSegmentationNode(None)
            return
        if self._widget.segmentationNode() is not segmentation:
            self._widget.setActiveEffect(None)
            self._widget.setSegmentationNode(segmentation)
        if self._widget.sourceVolumeNode() is not source:
            self._widget.setSourceVolumeNode(source)

    def start(self, segment_id: str) -> None:
        """Takes up the pen for a segment, where the editor has one."""
        self._widget.setCurrentSegmentID(segment_id)
        self._widget.setActiveEffectByName("Paint")

    def set_enabled(self, enabled: bool) -> None:
        """Whether the user may edit now."""
        if not enabled:
            self._widget.setActiveEffect(None)
        self._frame.enabled = enabled

    def checkpoint(self, segmentation: Any) -> None:
        """Before the module writes: Undo brings back what the user has now."""
        if segmentation is not None and self.segmentation is segmentation:
            self._widget.saveStateForUndo()

    def enter(self) -> None:
        self._widget.installKeyboardShortcuts()
        self._widget.setupViewObservations()

    def leave(self) -> None:
        """Effects, shortcuts and observers of the views must not stay when another module is shown."""
        self._widget.setActiveEffect(None)
        self._widget.uninstallKeyboardShortcuts()
        self._widget.removeViewObservations()

    def close(self) -> None:
        """The scene or the panel goes away; the node of the editor goes with it."""
        node = self._widget.mrmlSegmentEditorNode()
        self.leave()
        self.edit(None, None)
        self._widget.setMRMLSegmentEditorNode(None)
        if node is not None and node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(node)

    def _ensure_node(self) -> None:
        known = self._widget.mrmlSegmentEditorNode()
        if known is not None and known.GetScene() is not None:
            return
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
        node.UnRegister(None)
        node.SetSingletonTag("IterMask3D")
        self._widget.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNode(node))
