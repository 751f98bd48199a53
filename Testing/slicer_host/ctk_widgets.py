"""Stand-ins for the widgets of CTK that the panel uses, with the properties, slots and signals of CTK's headers and no others."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from Testing.slicer_host.pythonqt import conform

Signal = QtCore.Signal
_HEADER = 24
_UNLIMITED = 16777215


def stored(kind: Any, name: str, default: Any) -> QtCore.Property:
    """A Qt property kept in the widget; a method `_changed_<name>`, where there is one, hears of new values."""

    def read(self: Any) -> Any:
        return self.__dict__.get(f"_stored_{name}", default)

    def write(self: Any, value: Any) -> None:
        self.__dict__[f"_stored_{name}"] = value
        changed: Callable[[Any], None] | None = getattr(self, f"_changed_{name}", None)
        if changed is not None:
            changed(value)

    return QtCore.Property(kind, read, write)


def with_setters(cls: type) -> type:
    """Adds the setter of every stored property (`setText` for `text`) and makes the class strict."""
    for name, value in list(vars(cls).items()):
        setter = f"set{name[0].upper()}{name[1:]}"
        if isinstance(value, QtCore.Property) and setter not in vars(cls):
            setattr(cls, setter, _setter(name))
    return conform(cls)


def _setter(name: str) -> Callable[[Any, Any], None]:
    def set_value(self: Any, value: Any) -> None:
        setattr(self, name, value)

    return set_value


def row_of(*widgets: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    layout = QtWidgets.QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


@with_setters
class ctkCollapsibleButton(QtWidgets.QWidget):
    toggled = Signal(bool)
    clicked = Signal(bool)
    contentsCollapsed = Signal(bool)
    text = stored(str, "text", "")
    collapsed = stored(bool, "collapsed", False)
    checked = QtCore.Property(bool, lambda self: not self.collapsed, lambda self, value: setattr(self, "collapsed", not value))

    def __init__(self, *arguments: Any) -> None:
        titles = [item for item in arguments if isinstance(item, str)]
        super().__init__(*[item for item in arguments if not isinstance(item, str)])
        self.setContentsMargins(6, _HEADER, 2, 2)
        if titles:
            self.text = titles[0]

    def _changed_text(self, _: str) -> None:
        self.update()

    def _changed_collapsed(self, value: bool) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindChildOption.FindDirectChildrenOnly):
            if not value and child.property("hostHidden"):
                child.setProperty("hostHidden", False)
                child.setVisible(True)
            elif value and not child.isHidden():
                child.setProperty("hostHidden", True)
                child.setVisible(False)
        self.setMaximumHeight(_HEADER if value else _UNLIMITED)
        self.contentsCollapsed.emit(value)
        self.toggled.emit(not value)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, _HEADER - 3)
        painter = QtGui.QPainter(self)
        self.style().drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        painter.drawText(
            option.rect.adjusted(22, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter | QtCore.Qt.AlignmentFlag.AlignLeft, self.text
        )
        arrow = QtWidgets.QStyle.PrimitiveElement
        option.rect = QtCore.QRect(7, 5, 11, 11)
        self.style().drawPrimitive(arrow.PE_IndicatorArrowRight if self.collapsed else arrow.PE_IndicatorArrowDown, option, painter, self)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() < _HEADER:
            self.collapsed = not self.collapsed
            self.clicked.emit(not self.collapsed)


@with_setters
class ctkSliderWidget(QtWidgets.QWidget):
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    minimum = stored(float, "minimum", 0.0)
    maximum = stored(float, "maximum", 99.0)
    value = stored(float, "value", 0.0)
    singleStep = stored(float, "singleStep", 1.0)
    pageStep = stored(float, "pageStep", 10.0)
    decimals = stored(int, "decimals", 2)
    suffix = stored(str, "suffix", "")
    prefix = stored(str, "prefix", "")
    tracking = stored(bool, "tracking", True)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._slider, self._box = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal), QtWidgets.QDoubleSpinBox()
        self.setLayout(row_of(self._slider, self._box))
        self._showing, self._told = False, self.value
        self._slider.valueChanged.connect(lambda position: self._moved(self.minimum + position * self.singleStep))
        self._box.valueChanged.connect(self._moved)
        self._show()

    def setRange(self, low: float, high: float) -> None:
        self.minimum, self.maximum = low, high

    def _moved(self, value: float) -> None:
        if not self._showing:
            self.value = value

    def _changed_value(self, value: float) -> None:
        inside = min(max(value, self.minimum), self.maximum)
        self._stored_value = inside
        self._show()
        if inside != self._told:
            self._told = inside
            self.valueChanged.emit(inside)

    def _show(self) -> None:
        self._showing = True
        self._slider.setRange(0, round((self.maximum - self.minimum) / self.singleStep))
        self._slider.setValue(round((self.value - self.minimum) / self.singleStep))
        self._box.setDecimals(self.decimals)
        self._box.setRange(self.minimum, self.maximum)
        self._box.setSingleStep(self.singleStep)
        self._box.setSuffix(self.suffix)
        self._box.setValue(self.value)
        self._showing = False

    def _changed_minimum(self, _: float) -> None:
        self._changed_value(self.value)

    _changed_maximum = _changed_singleStep = _changed_decimals = _changed_suffix = _changed_minimum


@with_setters
class ctkRangeWidget(QtWidgets.QWidget):
    valuesChanged = Signal(float, float)
    minimum = stored(float, "minimum", 0.0)
    maximum = stored(float, "maximum", 99.0)
    minimumValue = stored(float, "minimumValue", 0.0)
    maximumValue = stored(float, "maximumValue", 99.0)
    singleStep = stored(float, "singleStep", 1.0)
    decimals = stored(int, "decimals", 2)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._low, self._high = QtWidgets.QDoubleSpinBox(), QtWidgets.QDoubleSpinBox()
        self._bar = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._bar.setEnabled(False)
        self.setLayout(row_of(self._low, self._bar, self._high))
        self._showing = False
        for box in (self._low, self._high):
            box.valueChanged.connect(self._typed)
        self._show()

    def setValues(self, low: float, high: float) -> None:
        low, high = max(low, self.minimum), min(high, self.maximum)
        changed = (low, high) != (self.minimumValue, self.maximumValue)
        self._stored_minimumValue, self._stored_maximumValue = low, high
        self._show()
        if changed:
            self.valuesChanged.emit(low, high)

    def setRange(self, low: float, high: float) -> None:
        self.minimum, self.maximum = low, high
        self.setValues(max(self.minimumValue, low), min(self.maximumValue, high))

    def _typed(self, _: float) -> None:
        if not self._showing:
            self.setValues(self._low.value, self._high.value)

    def _changed_minimumValue(self, _: float) -> None:
        self._show()
        self.valuesChanged.emit(self.minimumValue, self.maximumValue)

    _changed_maximumValue = _changed_minimumValue

    def _changed_decimals(self, _: Any) -> None:
        self._show()

    _changed_minimum = _changed_maximum = _changed_singleStep = _changed_decimals

    def _show(self) -> None:
        self._showing = True
        for box, value in ((self._low, self.minimumValue), (self._high, self.maximumValue)):
            box.setDecimals(self.decimals)
            box.setRange(self.minimum, self.maximum)
            box.setSingleStep(self.singleStep)
            box.setValue(value)
        self._showing = False


@with_setters
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


@with_setters
class ctkDirectoryButton(QtWidgets.QPushButton):
    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    directory = stored(str, "directory", "")
    caption = stored(str, "caption", "")

    def _changed_directory(self, value: str) -> None:
        self.setText(value)
        self.directoryChanged.emit(value)


@with_setters
class ctkCheckablePushButton(QtWidgets.QPushButton):
    checkBoxToggled = Signal(bool)
    checkBoxControlsButtonToggleState = stored(bool, "checkBoxControlsButtonToggleState", True)


@with_setters
class ctkColorPickerButton(QtWidgets.QPushButton):
    colorChanged = Signal(QtGui.QColor)
    color = stored(QtGui.QColor, "color", QtGui.QColor())


class ctkDoubleSlider(ctkSliderWidget):
    pass


class ctkDoubleRangeSlider(ctkRangeWidget):
    pass


class ctkDoubleSpinBox(QtWidgets.QDoubleSpinBox):
    pass


class ctkCheckBox(QtWidgets.QCheckBox):
    pass


class ctkComboBox(QtWidgets.QComboBox):
    pass


WIDGETS = (
    ctkCollapsibleButton,
    ctkSliderWidget,
    ctkRangeWidget,
    ctkPathLineEdit,
    ctkDirectoryButton,
    ctkCheckablePushButton,
    ctkColorPickerButton,
    ctkDoubleSlider,
    ctkDoubleRangeSlider,
    ctkDoubleSpinBox,
    ctkCheckBox,
    ctkComboBox,
)


def make_ctk() -> types.ModuleType:
    """The module `ctk`."""
    module = types.ModuleType("ctk")
    for cls in WIDGETS:
        setattr(module, cls.__name__, cls)
    return module
