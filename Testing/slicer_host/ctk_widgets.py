"""Stand-ins for the CTK's buttons, its paths and its boxes, and the module `ctk`."""

from __future__ import annotations

import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.slicer_host import ctk_sliders
from Testing.slicer_host.properties import row_of, stand_in, stored

Signal = QtCore.Signal
_HEADER = 24
_UNLIMITED = 16777215


@stand_in
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    contentsCollapsed = Signal(bool)
    collapsed = QtCore.Property(bool, lambda self: self._closed, lambda self, value: self.setChecked(not value))

    def __init__(self, *arguments: Any) -> None:
        titles = [item for item in arguments if isinstance(item, str)]
        super().__init__(*[item for item in arguments if not isinstance(item, str)])
        self._closed = False
        self.setContentsMargins(6, _HEADER, 2, 2)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._toggled)
        self.setText(titles[0] if titles else "")

    def _toggled(self, checked: bool) -> None:
        self._closed = not checked
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            if checked and child.property("hostHidden"):
                child.setProperty("hostHidden", False)
                child.setVisible(True)
            elif not checked and not child.isHidden():
                child.setProperty("hostHidden", True)
                child.setVisible(False)
        self.setMaximumHeight(_UNLIMITED if checked else _HEADER)
        self.contentsCollapsed.emit(self._closed)

    def sizeHint(self) -> QtCore.QSize:
        inside = self.layout().totalSizeHint() if self.layout() is not None and not self._closed else QtCore.QSize()
        return inside.expandedTo(QtCore.QSize(0, _HEADER))

    def hitButton(self, place: QtCore.QPoint) -> bool:
        return bool(place.y() < _HEADER)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, _HEADER - 3)
        painter = QtGui.QPainter(self)
        self.style().drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        place = QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.AlignmentFlag.AlignLeft
        painter.drawText(option.rect.adjusted(22, 0, 0, 0), place, self.text)
        arrows = QtWidgets.QStyle.PrimitiveElement
        arrow = arrows.PE_IndicatorArrowRight if self._closed else arrows.PE_IndicatorArrowDown
        option.rect = QtCore.QRect(7, 5, 11, 11)
        self.style().drawPrimitive(arrow, option, painter, self)


@stand_in
class ctkPathLineEdit(QtWidgets.QWidget):
    currentPathChanged = Signal(str)
    currentPath = stored(str, "currentPath", "")
    filters = stored(int, "filters", 0)
    nameFilters = stored("QStringList", "nameFilters", [])
    settingKey = stored(str, "settingKey", "")
    label = stored(str, "label", "")
    showBrowseButton = stored(bool, "showBrowseButton", True)
    showHistoryButton = stored(bool, "showHistoryButton", True)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._edit, self._browse = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        self._browse.setText("…")
        self.setLayout(row_of(self._edit, self._browse))
        self._edit.textEdited.connect(self.setCurrentPath)

    def _changed_currentPath(self, value: str) -> None:
        self._edit.setText(value)
        self.currentPathChanged.emit(value)

    def addCurrentPathToHistory(self) -> None:
        """The stand-in keeps no history."""


@stand_in
class ctkDirectoryButton(QtWidgets.QWidget):
    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    directory = stored(str, "directory", "")
    caption = stored(str, "caption", "")
    text = stored(str, "text", "")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._button, self._told = QtWidgets.QPushButton(), ""
        self.setLayout(row_of(self._button))

    def _changed_directory(self, value: str) -> None:
        self._changed_text(self.text)
        self.directorySelected.emit(value)
        if value != self._told:
            self._told = value
            self.directoryChanged.emit(value)

    def _changed_text(self, value: str) -> None:
        self._button.setText(value or self.directory)


@stand_in
class ctkCheckablePushButton(QtWidgets.QPushButton):
    checkBoxToggled = Signal(bool)
    checkBoxControlsButtonToggleState = stored(bool, "checkBoxControlsButtonToggleState", True)


@stand_in
class ctkColorPickerButton(QtWidgets.QPushButton):
    colorChanged = Signal(QtGui.QColor)
    color = stored(QtGui.QColor, "color", QtGui.QColor())


@stand_in
class ctkCheckBox(QtWidgets.QCheckBox):
    pass


@stand_in
class ctkComboBox(QtWidgets.QComboBox):
    pass


WIDGETS = (
    *ctk_sliders.WIDGETS,
    ctkCollapsibleButton,
    ctkPathLineEdit,
    ctkDirectoryButton,
    ctkCheckablePushButton,
    ctkColorPickerButton,
    ctkCheckBox,
    ctkComboBox,
)


def make_ctk() -> types.ModuleType:
    """The module `ctk`."""
    module = types.ModuleType("ctk")
    for cls in WIDGETS:
        setattr(module, cls.__name__, cls)
    return module
