"""Stand-ins for the CTK's widgets of one number and of a range."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from Testing.slicer_host.properties import row_of, stand_in, stored

Signal = QtCore.Signal


@stand_in
class ctkSliderWidget(QtWidgets.QWidget):
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    decimalsChanged = Signal(int)
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

    def _changed_decimals(self, value: int) -> None:
        self._changed_value(self.value)
        self.decimalsChanged.emit(value)

    def _changed_minimum(self, _: float) -> None:
        self._changed_value(self.value)

    _changed_maximum = _changed_singleStep = _changed_suffix = _changed_minimum

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


@stand_in
class ctkRangeWidget(QtWidgets.QWidget):
    valuesChanged = Signal(float, float)
    rangeChanged = Signal(float, float)
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
        changed = (low, high) != (self.minimum, self.maximum)
        self.minimum, self.maximum = low, high
        self.setValues(max(self.minimumValue, low), min(self.maximumValue, high))
        if changed:
            self.rangeChanged.emit(low, high)

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


class _Number(QtWidgets.QWidget):
    """What a widget of one number keeps; nothing is drawn."""

    valueChanged = Signal(float)
    minimum = stored(float, "minimum", 0.0)
    maximum = stored(float, "maximum", 99.0)
    value = stored(float, "value", 0.0)
    singleStep = stored(float, "singleStep", 1.0)

    def _changed_value(self, value: float) -> None:
        self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:
        self.value = value


@stand_in
class ctkDoubleSlider(_Number):
    pass


@stand_in
class ctkDoubleSpinBox(_Number):
    decimals = stored(int, "decimals", 2)
    suffix = stored(str, "suffix", "")
    prefix = stored(str, "prefix", "")


@stand_in
class ctkDoubleRangeSlider(QtWidgets.QWidget):
    valuesChanged = Signal(float, float)
    minimum = stored(float, "minimum", 0.0)
    maximum = stored(float, "maximum", 99.0)
    minimumValue = stored(float, "minimumValue", 0.0)
    maximumValue = stored(float, "maximumValue", 99.0)

    def setValues(self, low: float, high: float) -> None:
        self.minimumValue, self.maximumValue = low, high
        self.valuesChanged.emit(low, high)


WIDGETS = (ctkSliderWidget, ctkRangeWidget, ctkDoubleSlider, ctkDoubleSpinBox, ctkDoubleRangeSlider)
