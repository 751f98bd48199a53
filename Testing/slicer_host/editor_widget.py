"""Stand-in for Slicer's segment editor widget: the nodes it edits, and undo on the real vtkSegmentationHistory."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from Testing.slicer_host.mrml_base import qMRMLWidget
from Testing.slicer_host.properties import row_of, stand_in, stored
from Testing.slicer_host.watch import Watch

Signal = QtCore.Signal
_EFFECTS = (
    "Threshold",
    "Paint",
    "Draw",
    "Erase",
    "Level tracing",
    "Grow from seeds",
    "Islands",
    "Smoothing",
    "Scissors",
)


@stand_in
class qMRMLSegmentEditorWidget(qMRMLWidget):
    currentSegmentIDChanged = Signal(str)
    sourceVolumeNodeChanged = Signal(object)
    segmentationNodeChanged = Signal(object)
    _SIGNALS = ("sourceVolumeNodeChanged(vtkMRMLVolumeNode*)", "segmentationNodeChanged(vtkMRMLSegmentationNode*)")
    segmentationNodeSelectorVisible = stored(bool, "segmentationNodeSelectorVisible", True)
    sourceVolumeNodeSelectorVisible = stored(bool, "sourceVolumeNodeSelectorVisible", True)
    switchToSegmentationsButtonVisible = stored(bool, "switchToSegmentationsButtonVisible", True)
    maximumNumberOfUndoStates = stored(int, "maximumNumberOfUndoStates", 10)
    unorderedEffectsVisible = stored(bool, "unorderedEffectsVisible", True)
    effectColumnCount = stored(int, "effectColumnCount", 1)
    show3DButtonVisible = stored(bool, "show3DButtonVisible", True)
    autoShowSourceVolumeNode = stored(bool, "autoShowSourceVolumeNode", True)
    maskingSectionVisible = stored(bool, "maskingSectionVisible", True)
    readOnly = stored(bool, "readOnly", False)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._editor: Any = None
        self._segmentation: Any = None
        self._source: Any = None
        self._effect = ""
        self._shortcuts = False
        self._observed = False
        self._history: Any = None
        self._watch = Watch(self)
        self._build()

    def _build(self) -> None:
        self._segments = QtWidgets.QListWidget()
        self._segments.setMaximumHeight(58)
        self._buttons = [QtWidgets.QPushButton(name) for name in _EFFECTS]
        self._undo, self._redo = QtWidgets.QPushButton("Undo"), QtWidgets.QPushButton("Redo")
        layout = QtWidgets.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._segments, 0, 0, 1, 3)
        for index, button in enumerate(self._buttons):
            layout.addWidget(button, 1 + index // 3, index % 3)
            button.clicked.connect(lambda _=False, name=button.text: self.setActiveEffectByName(name))
        layout.addLayout(row_of(self._undo, self._redo), 5, 0, 1, 3)
        self._undo.clicked.connect(lambda _=False: self.undo())
        self._redo.clicked.connect(lambda _=False: self.redo())
        self._show()

    def mrmlSegmentEditorNode(self) -> Any:
        return self._editor

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._editor = node

    def segmentationNode(self) -> Any:
        return self._segmentation

    def sourceVolumeNode(self) -> Any:
        return self._source

    def currentSegmentID(self) -> str:
        return str(self._editor.GetSelectedSegmentID() or "")

    def setCurrentSegmentID(self, identity: str) -> None:
        self._editor.SetSelectedSegmentID(identity)
        self.currentSegmentIDChanged.emit(identity)

    def setSegmentationNode(self, node: Any) -> None:
        self._needs_editor_node()
        if node is self._segmentation:
            return
        self._segmentation = node
        self._editor.SetAndObserveSegmentationNode(node)
        self._watch.clear()
        self._history = None
        if node is not None:
            self._history = slicer.vtkSegmentationHistory()
            self._history.SetSegmentation(node.GetSegmentation())
            self._history.SetMaximumNumberOfStates(self.maximumNumberOfUndoStates)
            self._watch.on(node.GetSegmentation(), ("AnyEvent",), "_show")
            if node.GetSegmentation().GetNumberOfSegments():
                self.setCurrentSegmentID(node.GetSegmentation().GetNthSegmentID(0))
        self._show()
        self.segmentationNodeChanged.emit(node)

    def setSourceVolumeNode(self, node: Any) -> None:
        self._needs_editor_node()
        if node is not None and self._segmentation is None:
            raise RuntimeError("set the segmentation before the source volume")
        self._source = node
        self._editor.SetAndObserveSourceVolumeNode(node)
        self.sourceVolumeNodeChanged.emit(node)

    def saveStateForUndo(self) -> None:
        if self._history is None:
            raise RuntimeError("there is no segmentation to keep a state of")
        self._history.SaveState()

    def undo(self) -> None:
        self._history.RestorePreviousState()

    def redo(self) -> None:
        self._history.RestoreNextState()

    def setActiveEffectByName(self, name: str) -> None:
        if name and name not in self.availableEffectNames():
            raise ValueError(f"there is no effect {name}")
        self._effect = name

    def setActiveEffect(self, effect: Any) -> None:
        if effect is not None:
            raise TypeError("the stand-in has no effect objects; set effects by name")
        self._effect = ""

    def activeEffect(self) -> Any:
        return self._effect or None

    def availableEffectNames(self) -> list[str]:
        return list(_EFFECTS)

    def setEffectNameOrder(self, names: list[str]) -> None:
        self._order = list(names)

    def installKeyboardShortcuts(self, parent: Any = None) -> None:
        self._shortcuts = True

    def uninstallKeyboardShortcuts(self) -> None:
        self._shortcuts = False

    def setupViewObservations(self) -> None:
        self._observed = True

    def removeViewObservations(self) -> None:
        self._observed = False

    def updateWidgetFromMRML(self) -> None:
        self._show()

    def _needs_editor_node(self) -> None:
        if self._scene is None or self._editor is None:
            raise RuntimeError("the editor needs its scene and its editor node first")

    def _show(self) -> None:
        self._segments.clear()
        if self._segmentation is not None and self._segmentation.GetSegmentation() is not None:
            segmentation = self._segmentation.GetSegmentation()
            for index in range(segmentation.GetNumberOfSegments()):
                self._segments.addItem(segmentation.GetNthSegment(index).GetName())
        for button in (*self._buttons, self._undo, self._redo):
            button.setEnabled(self._segmentation is not None)
