"""Stand-ins for Slicer's qMRML widgets, on the real scene, with the properties, slots and signals of Slicer's headers and no others."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore, QtWidgets

from Testing.slicer_host.ctk_widgets import ctkDoubleSpinBox, ctkRangeWidget, ctkSliderWidget, row_of, stored, with_setters
from Testing.slicer_host.pythonqt import conform

Signal = QtCore.Signal


class Watch:
    """Observers that a widget holds on MRML objects: they never keep the widget alive and go when it goes."""

    def __init__(self, widget: QtWidgets.QWidget) -> None:
        self._widget = weakref.ref(widget)
        self._held: list[tuple[Any, int]] = []
        held = self._held
        widget.destroyed.connect(lambda *_: _release(held))

    def on(self, target: Any, events: tuple[Any, ...], method: str) -> None:
        """Calls the method of that name whenever one of the events is invoked."""
        known = self._widget

        def call(caller: Any, event: Any) -> None:
            widget = known()
            if widget is not None and shiboken6.isValid(widget):
                getattr(widget, method)()

        if target is not None:
            self._held.extend((target, target.AddObserver(event, call)) for event in events)

    def clear(self) -> None:
        _release(self._held)


def _release(held: list[tuple[Any, int]]) -> None:
    for target, tag in held:
        target.RemoveObserver(tag)
    held.clear()


@with_setters
class qMRMLWidget(QtWidgets.QWidget):
    mrmlSceneChanged = Signal(object)
    SIGNALS = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


@with_setters
class qSlicerWidget(qMRMLWidget):
    pass


@with_setters
class qMRMLNodeComboBox(QtWidgets.QWidget):
    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    SIGNALS = (
        "currentNodeChanged(vtkMRMLNode*)",
        "currentNodeChanged(bool)",
        "currentNodeIDChanged(QString)",
        "nodeActivated(vtkMRMLNode*)",
        "nodeAdded(vtkMRMLNode*)",
        "nodeAddedByUser(vtkMRMLNode*)",
    )
    nodeTypes = stored("QStringList", "nodeTypes", [])
    showHidden = stored(bool, "showHidden", False)
    showChildNodeTypes = stored(bool, "showChildNodeTypes", True)
    noneEnabled = stored(bool, "noneEnabled", False)
    addEnabled = stored(bool, "addEnabled", True)
    removeEnabled = stored(bool, "removeEnabled", True)
    editEnabled = stored(bool, "editEnabled", False)
    renameEnabled = stored(bool, "renameEnabled", False)
    selectNodeUponCreation = stored(bool, "selectNodeUponCreation", True)
    noneDisplay = stored(str, "noneDisplay", "None")
    baseName = stored(str, "baseName", "")
    currentNodeID = QtCore.Property(str, lambda self: self._node.GetID() if self._node else "", lambda self, i: self.setCurrentNodeID(i))

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._box = QtWidgets.QComboBox()
        self._box.setMinimumContentsLength(8)
        self.setLayout(row_of(self._box))
        self._scene: Any = None
        self._node: Any = None
        self._watch = Watch(self)
        self._box.activated.connect(self._chosen)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        self._watch.clear()
        self._scene = scene
        if scene is not None:
            changes = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent, scene.EndBatchProcessEvent)
            self._watch.on(scene, changes, "_refresh")
        self._refresh()

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        return self._nodes()[index]

    def currentNode(self) -> Any:
        return self._node

    def setCurrentNode(self, node: Any) -> None:
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node)
        self._select(node if node in self._nodes() else None)

    def setCurrentNodeID(self, identity: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(identity) if identity else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self._nodes()[index])

    def addNode(self, kind: str = "") -> Any:
        kind = kind or self.nodeTypes[0]
        name = self.baseName or kind.removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(kind, self._scene.GenerateUniqueName(name))
        self.nodeAddedByUser.emit(node)
        self._select(node)
        return node

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        nodes = [self._scene.GetNthNode(index) for index in range(self._scene.GetNumberOfNodes())]
        return [node for node in nodes if self._fits(node)]

    def _fits(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        return any(node.IsA(kind) if self.showChildNodeTypes else node.GetClassName() == kind for kind in self.nodeTypes)

    def _refresh(self) -> None:
        if self._scene is not None and self._scene.IsBatchProcessing():
            return
        nodes = self._nodes()
        node = self._node if self._node in nodes else None
        if node is None and nodes and not self.noneEnabled:
            node = nodes[0]
        self._select(node)

    def _select(self, node: Any) -> None:
        self._box.clear()
        if self.noneEnabled:
            self._box.addItem(self.noneDisplay, "")
        for each in self._nodes():
            self._box.addItem(each.GetName(), each.GetID())
        if self.addEnabled and self.nodeTypes:
            self._box.addItem(f"Create new {self.nodeTypes[0].removeprefix('vtkMRML').removesuffix('Node')}", "+")
        self._box.setCurrentIndex(self._box.findData(node.GetID() if node is not None else ""))
        if node is not self._node:
            self._node = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node is not None else "")

    def _chosen(self, index: int) -> None:
        identity = self._box.itemData(index)
        if identity == "+":
            self.addNode()
        else:
            self.setCurrentNodeID(identity)
        self.nodeActivated.emit(self._node)

    def _changed_nodeTypes(self, _: Any) -> None:
        self._refresh()

    _changed_noneEnabled = _changed_addEnabled = _changed_showHidden = _changed_showChildNodeTypes = _changed_noneDisplay = (
        _changed_nodeTypes
    )


class BrowserWidget(qMRMLWidget):
    """What both widgets of a sequence browser share."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._browser: Any = None
        self._watch = Watch(self)

    def setMRMLSequenceBrowserNode(self, browser: Any) -> None:
        self._watch.clear()
        self._browser = browser
        if browser is not None:
            self._watch.on(browser, ("ModifiedEvent",), "_show")
        self._show()

    def _show(self) -> None:
        raise RuntimeError("each of the two widgets shows the browser in its own way")


@with_setters
class qMRMLSequenceBrowserSeekWidget(BrowserWidget):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._bar, self._label = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal), QtWidgets.QLabel()
        self.setLayout(row_of(self._label, self._bar))
        self._bar.valueChanged.connect(self.setSelectedItemNumber)
        self._show()

    def slider(self) -> QtWidgets.QSlider:
        return self._bar

    def setSelectedItemNumber(self, number: int) -> None:
        if self._browser is not None and number != self._browser.GetSelectedItemNumber() and number >= 0:
            self._browser.SetSelectedItemNumber(number)

    def _show(self) -> None:
        count = self._browser.GetNumberOfItems() if self._browser is not None else 0
        self._bar.setEnabled(count > 0)
        self._bar.blockSignals(True)
        self._bar.setRange(0, max(count - 1, 0))
        if count:
            self._bar.setValue(self._browser.GetSelectedItemNumber())
            self._label.setText(self._browser.GetFormattedIndexValue(self._browser.GetSelectedItemNumber()))
        else:
            self._label.setText("")
        self._bar.blockSignals(False)


@with_setters
class qMRMLSequenceBrowserPlayWidget(BrowserWidget):
    RecordingControlsVisible = stored(bool, "RecordingControlsVisible", True)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        icon = QtWidgets.QStyle.StandardPixmap
        shown = (
            (icon.SP_MediaSkipBackward, "onVcrFirst"),
            (icon.SP_MediaSeekBackward, "onVcrPrevious"),
            (icon.SP_MediaPlay, "onVcrPlayPause"),
            (icon.SP_MediaSeekForward, "onVcrNext"),
            (icon.SP_MediaSkipForward, "onVcrLast"),
        )
        self._buttons = [self._button(*each) for each in shown]
        self.setLayout(row_of(*self._buttons))
        self.layout().addStretch(1)
        self._clock = QtCore.QTimer(self)
        self._clock.timeout.connect(self.onVcrNext)
        self._show()

    def _button(self, icon: Any, slot: str) -> QtWidgets.QToolButton:
        button = QtWidgets.QToolButton()
        button.setIcon(self.style().standardIcon(icon))
        button.clicked.connect(lambda _=False: getattr(self, slot)())
        return button

    def onVcrFirst(self) -> None:
        self._browser.SelectFirstItem()

    def onVcrLast(self) -> None:
        self._browser.SelectLastItem()

    def onVcrPrevious(self) -> None:
        self._browser.SelectNextItem(-1)

    def onVcrNext(self) -> None:
        self._browser.SelectNextItem(1)

    def onVcrPlayPause(self) -> None:
        self.setPlaybackEnabled(not self._browser.GetPlaybackActive())

    def setPlaybackEnabled(self, play: bool) -> None:
        self._browser.SetPlaybackActive(play)

    def _show(self) -> None:
        there = self._browser is not None and self._browser.GetNumberOfItems() > 0
        for button in self._buttons:
            button.setEnabled(there)
        if there and self._browser.GetPlaybackActive():
            self._clock.start(round(1000 / self._browser.GetPlaybackRateFps()))
        else:
            self._clock.stop()


@with_setters
class qMRMLSegmentationShow3DButton(QtWidgets.QPushButton):
    locked = stored(bool, "locked", False)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setText("Show 3D")
        self.setCheckable(True)
        self._segmentation: Any = None
        self.toggled.connect(self._toggled)

    def segmentationNode(self) -> Any:
        return self._segmentation

    def setSegmentationNode(self, node: Any) -> None:
        self._segmentation = node
        self.setEnabled(node is not None)

    def _toggled(self, shown: bool) -> None:
        if self._segmentation is not None:
            action: Callable[[], Any] = (
                self._segmentation.CreateClosedSurfaceRepresentation if shown else self._segmentation.RemoveClosedSurfaceRepresentation
            )
            action()


@with_setters
class qMRMLSliderWidget(ctkSliderWidget):
    def setMRMLScene(self, scene: Any) -> None:
        """Slicer's widget takes its units from the scene; the stand-in has none."""


@with_setters
class qMRMLRangeWidget(ctkRangeWidget):
    def setMRMLScene(self, scene: Any) -> None:
        """Slicer's widget takes its units from the scene; the stand-in has none."""


@conform
class qMRMLSpinBox(ctkDoubleSpinBox):
    def setMRMLScene(self, scene: Any) -> None:
        """Slicer's widget takes its units from the scene; the stand-in has none."""


WIDGETS = (
    qMRMLWidget,
    qSlicerWidget,
    qMRMLNodeComboBox,
    qMRMLSequenceBrowserSeekWidget,
    qMRMLSequenceBrowserPlayWidget,
    qMRMLSegmentationShow3DButton,
    qMRMLSliderWidget,
    qMRMLRangeWidget,
    qMRMLSpinBox,
)
